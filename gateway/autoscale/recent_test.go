package autoscale_test

import (
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/autoscale"
)

func TestRecent(t *testing.T) {
	var r autoscale.Recent
	for i, step := range []struct{ at, n, most, falls int }{
		{0, 1, 1, 0}, {10, 5, 5, 0}, {20, 2, 5, 80}, {30, 2, 5, 80}, {40, 3, 5, 100}, {70, 0, 5, 100}, {99, 0, 5, 100}, {100, 0, 3, 130},
		{120, 3, 3, 0}, {121, 0, 3, 181}, {180, 0, 3, 181}, {181, 0, 0, 0}, {500, 0, 0, 0},
	} {
		most, falls := r.Note(began.Add(time.Duration(step.at)*time.Second), step.n, time.Minute)
		want := time.Time{}
		if step.falls > 0 {
			want = began.Add(time.Duration(step.falls) * time.Second)
		}
		if most != step.most || !falls.Equal(want) {
			t.Errorf("step %d: at most %d, which falls at %s; want %d, %s", i, most, falls, step.most, want)
		}
	}
}
