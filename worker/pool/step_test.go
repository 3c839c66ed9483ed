package pool

import (
	"testing"
	"time"

	"github.com/skerry-dev/skerry/worker/box"
)

// TestNeediest has boxes be made for the class that lacks most, and while others come first only for one that has less than half of its own.
func TestNeediest(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	burst := demand{peak: 40, peakAt: now} // 50 wanted
	for range 40 {
		burst.starts = append(burst.starts, now)
	}
	few := demand{starts: []time.Time{now}, peak: 1, peakAt: now}
	for _, c := range []struct {
		name    string
		ready   int // of the burst's
		booting int
		max     int
		busy    bool
		want    string
	}{
		{"nothing waits", 0, 0, MaxBoxes, false, "burst"},
		{"nothing waits and others come first", 0, 0, MaxBoxes, true, "burst"},
		{"half waits", 25, 0, MaxBoxes, false, "burst"},
		{"half waits and others come first", 25, 0, MaxBoxes, true, "few"},
		{"half is on its way and others come first", 0, 25, MaxBoxes, true, "few"},
		{"all wait", 50, 0, MaxBoxes, false, "few"},
		{"there is no room for more", 10, 0, 10, false, ""},
	} {
		p := New(Config{MaxBoxes: c.max})
		p.classes[class{digest: "burst"}] = &shelf{demand: burst, ready: make([]*box.Box, c.ready), booting: c.booting}
		p.classes[class{digest: "few"}] = &shelf{demand: few}
		if got, _ := p.neediest(now, c.busy); got.digest != c.want {
			t.Errorf("%s: %q, want %q", c.name, got.digest, c.want)
		}
	}
}
