package task_test

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
)

// TestAppStopsWhileAFunctionIsLookedUp starts no container of it.
func TestAppStopsWhileAFunctionIsLookedUp(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MinContainers: 1})
	r.looked = func() {
		r.looked = func() {}
		r.mu.Lock()
		delete(r.known, fn.ID)
		r.mu.Unlock()
		r.s.StopApp(fn.AppID)
	}
	if err := r.s.Offer(t.Context(), fn.ID, &task.Input{QueuedAt: r.clock.Now()}); !errors.Is(err, fault.NotFound) {
		t.Errorf("offered to a stopped app: %v", err)
	}
	r.none()
}

// TestPublicationsOutOfOrder keeps the newest version, also where the one before is said to be there after it.
func TestPublicationsOutOfOrder(t *testing.T) {
	r := newRig(t)
	r.join(1)
	old := r.function(function.Autoscaler{})
	newest := *old
	newest.Version = 2
	publish(t, r, &newest)
	publish(t, r, old)
	r.s.Removed([]*function.Function{old}, false)
	r.offer(old, 0, 1)
	if b := r.start(1)[0]; b.spec.Function != &newest {
		t.Errorf("version %d was started", b.spec.Function.Version)
	}
}

// TestForgetIdle looks a function up again that has had nothing to do, and no other.
func TestForgetIdle(t *testing.T) {
	for name, c := range map[string]struct {
		bounds  function.Autoscaler
		inputs  int
		keep    bool
		asked   bool // between the two times
		forgets bool
	}{
		"idle":           {forgets: true},
		"asked for":      {asked: true},
		"kept":           {keep: true},
		"min_containers": {bounds: function.Autoscaler{MinContainers: 1}},
		"has work":       {inputs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t) // without workers: what is to run waits
			old := r.function(c.bounds)
			publish(t, r, old)
			r.offer(old, 0, c.inputs)
			r.s.ForgetIdle(nil)
			if c.asked {
				if _, err := r.s.Function(t.Context(), old.ID); err != nil {
					t.Fatal(err)
				}
			}
			r.s.ForgetIdle(map[string]bool{old.ID: c.keep})
			newest := *old
			r.mu.Lock()
			r.known[old.ID] = &newest
			r.mu.Unlock()
			fn, err := r.s.Function(t.Context(), old.ID)
			if err != nil || (fn == &newest) != c.forgets {
				t.Errorf("forgotten: %t (error %v), want %t", fn == &newest, err, c.forgets)
			}
		})
	}
}
