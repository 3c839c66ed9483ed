package call_test

import (
	"context"
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestCancelOfWhatWaitsForRoom cancels a spawned call whose input is on its way to a queue that is full, and stays so.
func TestCancelOfWhatWaitsForRoom(t *testing.T) {
	r := newRig(t)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	busy, late := r.client(t, fn, call.Sync), r.client(t, fn, call.Spawn)
	waits := make(chan struct{})
	r.offering = func(k payload.Key) {
		if k.CallID == late.id {
			close(waits)
		}
	}
	r.join(t, newWorker(func(_ *box, in *task.Input) *payload.Result {
		if in.Key.CallID == late.id {
			t.Error("an input of a cancelled call has run")
		}
		return nil
	}), 1)
	busy.submit(0, task.QueueLimit+1) // one runs, the others fill the queue
	late.submit(0, 1)
	late.accepted(1)
	<-waits
	if err := r.calls.Cancel(t.Context(), late.id, false); err != nil {
		t.Fatal(err)
	}
	late.session.Watch(t.Context(), call.Watch{CallID: late.id})
	late.collect(1)
	cancelledAll(t, late)
}

// TestRefusalOfAnotherSession leaves a call alone that a session names which has no part in it.
func TestRefusalOfAnotherSession(t *testing.T) {
	r := newRig(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		close(began)
		<-goOn
		return echo(b, in)
	}), 1)
	u := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	u.submit(0, 1)
	<-began
	other := r.calls.NewSession()
	defer other.Close()
	other.Submit(t.Context(), call.Submit{CallID: u.id, FunctionID: ident.New(ident.Function), Kind: call.Sync, Inputs: []call.Item{input(1)}})
	if f, err := other.Next(t.Context()); err != nil || len(f.Refused) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	close(goOn)
	u.collect(1)
	u.echoed()
}

// TestWaitingForTheEndIsNoClient has somebody wait for the end of a call that its client has released: when they go, it goes on.
func TestWaitingForTheEndIsNoClient(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	began, goOn := make(chan struct{}), make(chan struct{})
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		close(began)
		<-goOn
		return echo(b, in)
	})
	r.join(t, w, 1)
	u := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	u.submit(0, 1)
	<-began
	u.session.Release([]string{u.id})
	u.session.Close()
	away, leave := context.WithCancel(t.Context())
	leave()
	if err := r.calls.AwaitEnd(away, u.id); !errors.Is(err, context.Canceled) {
		t.Errorf("waited: %v", err)
	}
	ended := make(chan error, 2)
	for range 2 {
		go func() { ended <- r.calls.AwaitEnd(t.Context(), u.id) }()
	}
	c.advance(10 * call.VanishedAfter)
	if len(w.cancels) != 0 {
		t.Error("cancelled")
	}
	close(goOn)
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := r.calls.AwaitEnd(t.Context(), u.id); err != nil {
		t.Errorf("after the end: %v", err)
	}
}
