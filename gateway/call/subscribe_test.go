package call_test

import (
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/payload"
)

// tick lets an interval of the reconciler pass.
func (r *rig) tick(t *testing.T, c *clock) {
	t.Helper()
	c.planned(t, call.ReconcileInterval, 1)
	c.advance(call.ReconcileInterval)
	<-r.expired
}

// TestIdleFunctionsAreForgotten once nobody has used them for a while, and found again.
func TestIdleFunctionsAreForgotten(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	began := make(chan payload.Key, 1)
	w := newWorker(stuck(began))
	r.join(t, w, 2)
	busy := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	busy.submit(0, 1)
	<-began
	w.work = echo // the others end
	fn := r.function(function.Autoscaler{})
	for round := range 3 {
		u := r.client(t, fn, call.Sync)
		u.submit(0, 10)
		u.collect(10)
		u.echoed()
		if n := r.calls.Subscriptions(); n != 2 {
			t.Fatalf("round %d: %d functions", round, n)
		}
		u.session.Release([]string{u.id})
		for r.calls.Subscriptions() > 1 { // the second time, or later where the flow has not yet removed the last input
			r.tick(t, c)
		}
	}
	if n := r.calls.Subscriptions(); n != 1 {
		t.Errorf("%d functions, though one has work", n)
	}
}

// TestFunctionsAreUsedWhileTheyAreForgotten again and again: every input is run, and once.
func TestFunctionsAreUsedWhileTheyAreForgotten(t *testing.T) {
	const rounds = 300
	c := newClock()
	r := newRigAt(t, c)
	w := newWorker(echo)
	r.join(t, w, 1)
	fn := r.function(function.Autoscaler{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range rounds {
			kind := call.Sync
			if i%2 == 1 {
				kind = call.Spawn
			}
			u := r.client(t, fn, kind)
			u.submit(0, 2)
			if kind == call.Spawn {
				u.accepted(2)
				u.session.Watch(t.Context(), call.Watch{CallID: u.id})
			}
			u.collect(2)
			u.session.Release([]string{u.id})
			u.session.Close()
		}
	}()
	for going := true; going; {
		select {
		case <-ended:
			going = false
		default:
			r.tick(t, c)
		}
	}
	if n := w.total(); n != 2*rounds {
		t.Errorf("%d runs of %d inputs", n, 2*rounds)
	}
}
