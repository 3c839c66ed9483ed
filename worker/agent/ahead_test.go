package agent

import (
	"slices"
	"testing"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// TestEndsWithSeveral has an input end a runner that was given others with it: none of those is blamed, and none is forgotten.
func TestEndsWithSeveral(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.spec(`
import os, skerry
def f():
    if skerry.current_input_id().endswith("-110"): os._exit(3)
`))
	l.awaitReady(t)
	for i := range uint32(20) {
		l.submit(i)
		l.awaitOutput(t)
	}
	left := map[uint32]bool{}
	var indexes []uint32
	for i := uint32(100); i < 120; i++ {
		left[i] = true
		indexes = append(indexes, i)
	}
	l.submit(indexes...)
	exit := l.awaitExit(t)
	if exit.Reason != container.RunnerExited {
		t.Errorf("exit %+v", exit)
	}
	settle := func(what string, k payload.Key) {
		if !left[k.Index] {
			t.Errorf("%s of %v, which has ended before", what, k)
		}
		delete(left, k.Index)
	}
	for len(l.outputs) > 0 {
		o := <-l.outputs
		settle("output", o.Key)
		if (o.Result.Status == payload.Success) != (o.Key.Index != 110) {
			t.Errorf("output %+v", o)
		}
	}
	for _, k := range slices.Concat(l.returned, exit.Lost) {
		settle("loss or return", k)
	}
	if len(left) > 0 {
		t.Errorf("nothing is heard of %v", left)
	}
	if len(exit.Lost) == 1 {
		t.Errorf("the only input that can have run was not blamed: %+v", exit)
	}
	t.Logf("lost %v, returned %v", exit.Lost, l.returned)
}
