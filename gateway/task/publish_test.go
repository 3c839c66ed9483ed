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
	r.offer(old, 0, 1)
	if b := r.start(1)[0]; b.spec.Function != &newest {
		t.Errorf("version %d was started", b.spec.Function.Version)
	}
}
