package netdump

import (
	"errors"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestWhole(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		interrupted int   // attempts that are
		then        error // of the next
		want        error
		calls       int
	}{
		"at once":              {0, nil, nil, 1},
		"others change it":     {3, nil, nil, 4},
		"at the last attempt":  {attempts - 1, nil, nil, attempts},
		"others don't stop":    {attempts, nil, netlink.ErrDumpInterrupted, attempts},
		"fails":                {0, broken, broken, 1},
		"fails after a change": {1, broken, broken, 2},
		"fails at last":        {attempts - 1, broken, broken, attempts},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			got, err := Whole(func() ([]int, error) {
				if calls++; calls <= c.interrupted {
					return []int{1}, netlink.ErrDumpInterrupted
				}
				if c.then != nil {
					return nil, c.then
				}
				return []int{1, 2}, nil
			})
			if !errors.Is(err, c.want) || calls != c.calls {
				t.Errorf("error %v after %d calls, want %v after %d", err, calls, c.want, c.calls)
			}
			if want := []int{1, 2}; err == nil && !slices.Equal(got, want) || err != nil && got != nil {
				t.Errorf("got %v", got)
			}
		})
	}
}
