package pool

import (
	"testing"
	"time"
)

// TestDemand follows how many boxes are wanted over a day.
func TestDemand(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var d demand
	for _, step := range []struct {
		after  time.Duration // the step before
		starts int           // at once
		want   int
	}{
		{0, 0, 0},
		{0, 1, few},
		{time.Second, 3, 5},           // four in a span, and a fourth more
		{time.Minute, 0, 5},           // what was the most still counts
		{time.Minute, 100, 125},       // a burst
		{time.Minute, 1, 125},         // one more changes nothing
		{kept - 30*time.Second, 1, 2}, // the burst was long ago
		{kept + time.Second, 0, 1},
		{forgotten, 0, 0},
		{0, 1, few},
	} {
		now = now.Add(step.after)
		for range step.starts {
			d.note(now)
		}
		got, next := d.wanted(now)
		if got != step.want {
			t.Errorf("%s: %d, want %d", now, got, step.want)
		}
		if got > 0 && !next.After(now) {
			t.Errorf("%s: changes at %s", now, next)
		}
	}
}
