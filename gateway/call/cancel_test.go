package call_test

import (
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestCancelledIsOnDisk when Cancel returns, but for what is in hand: a crash right after it brings the rest of a call not back.
func TestCancelledIsOnDisk(t *testing.T) {
	r := newRig(t)
	u := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	other := r.client(t, u.fn, call.Spawn)
	for i := uint32(0); i < 5000; i += 1000 {
		u.submit(i, i+1000)
		u.accepted(1000)
	}
	other.submit(0, 1)
	other.accepted(1)
	if err := r.calls.Cancel(t.Context(), u.id, false); err != nil {
		t.Fatal(err)
	}
	r.crash(t)
	r.start(t)
	w := newWorker(echo)
	r.join(t, w, 1)
	for _, c := range []*client{other, u} {
		c.session = r.calls.NewSession()
		c.session.Watch(t.Context(), call.Watch{CallID: c.id})
	}
	other.collect(1)
	u.collect(5000)
	for i, res := range u.results {
		if res.Status != payload.Cancelled && i > task.QueueLimit { // the first were in hand, and are cancelled by whoever had them
			t.Fatalf("input %d: %+v", i, res)
		}
	}
}
