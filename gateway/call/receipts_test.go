package call

import "testing"

// TestReceipts forgets what the client must have, a step later, and nothing that it may lack.
func TestReceipts(t *testing.T) {
	const sent = MaxUnfinished + forgetStep
	for name, c := range map[string]struct {
		given func(i int) uint64 // place of the i-th output
		more  int                // outputs given beyond those that the client must have
		want  uint64             // after two steps
	}{
		"nothing on its way": {func(i int) uint64 { return uint64(i) + 1 }, 0, forgetStep + 1},
		"some on their way":  {func(i int) uint64 { return uint64(i) + 1 }, 500, forgetStep + 1},
		"out of order": {func(i int) uint64 {
			if i == forgetStep+3 {
				return 100
			}
			return uint64(i) + 1000
		}, 500, 100},
		"not stored": {func(int) uint64 { return 0 }, 500, 1},
	} {
		var r receipts
		n := 0
		give := func(until int) {
			for ; n < until; n++ {
				r.given = append(r.given, c.given(n))
			}
		}
		give(forgetStep + c.more)
		if before := r.sent(sent - 1); before != 0 {
			t.Errorf("%s: before %d, with too few", name, before)
		}
		if before := r.sent(1); before != 0 {
			t.Errorf("%s: before %d at the first step", name, before)
		}
		give(2*forgetStep + c.more)
		if before := r.sent(forgetStep); before != c.want {
			t.Errorf("%s: before %d, want %d", name, before, c.want)
		}
		if len(r.given) != c.more {
			t.Errorf("%s: %d places are kept, want %d", name, len(r.given), c.more)
		}
	}
}
