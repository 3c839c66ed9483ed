package call_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/payload"
)

// delays that nothing else in the core has.
const (
	firstDelay  = 1507 * time.Millisecond
	secondDelay = 2 * firstDelay
	mostDelay   = 3511 * time.Millisecond
)

func retries(n int) func(*function.Definition) {
	return func(d *function.Definition) {
		d.Retries = &function.Retries{Max: n, InitialDelay: firstDelay, MaxDelay: mostDelay, Backoff: 2}
	}
}

// failing answers the first n runs of each input with failures that count from 1, then as echo.
func failing(n int, status payload.Status) func(*box, *task.Input) *payload.Result {
	return func(b *box, in *task.Input) *payload.Result {
		b.w.mu.Lock()
		run := b.w.runs[in.Key]
		b.w.mu.Unlock()
		if run > n {
			return echo(b, in)
		}
		r := payload.Failed(status, "run "+strconv.Itoa(run))
		return &r
	}
}

func TestRetry(t *testing.T) {
	for name, kind := range map[string]call.Kind{"sync": call.Sync, "spawn": call.Spawn} {
		for _, status := range []payload.Status{payload.Failure, payload.TimedOut, payload.OutOfMemory} {
			t.Run(name+" "+strconv.Itoa(int(status)), func(t *testing.T) {
				c := newClock()
				r := newRigAt(t, c)
				w := newWorker(failing(3, status))
				r.join(t, w, 1)
				u := r.client(t, r.define(retries(3)), kind)
				u.submit(0, 2)
				if kind == call.Spawn {
					u.accepted(2)
					u.session.Watch(t.Context(), call.Watch{CallID: u.id})
				}
				for _, d := range []time.Duration{firstDelay, secondDelay, mostDelay} {
					c.planned(t, d, 2)
					c.advance(d)
				}
				u.collect(2)
				u.echoed()
				if n := w.total(); n != 8 {
					t.Errorf("%d runs, want 8", n)
				}
			})
		}
	}
}

// TestRetriesEnd stores the last of the failures.
func TestRetriesEnd(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	w := newWorker(failing(10, payload.Failure))
	r.join(t, w, 1)
	u := r.client(t, r.define(retries(1)), call.Sync)
	u.submit(0, 1)
	c.planned(t, firstDelay, 1)
	c.advance(firstDelay)
	u.collect(1)
	if res := u.results[0]; res.Status != payload.Failure || res.Error.Message != "run 2" {
		t.Errorf("%+v", res)
	}
}

// TestNoRetry has outcomes that are not run again: there is no policy, or it is none of user code's failures.
func TestNoRetry(t *testing.T) {
	r := newRig(t)
	w := newWorker(failing(10, payload.Failure))
	r.join(t, w, 4)
	plain := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	generator := r.client(t, r.define(func(d *function.Definition) {
		retries(3)(d)
		d.Generator = true
	}), call.Sync)
	for _, u := range []*client{plain, generator} {
		u.submit(0, 1)
		u.collect(1)
		if res := u.results[0]; res.Status != payload.Failure || res.Error.Message != "run 1" {
			t.Errorf("%+v", res)
		}
	}
}

// TestLossesAreNoRetries loses an input with its container more often than it may fail.
func TestLossesAreNoRetries(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	var lost atomic.Int32
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		if lost.Add(1) <= 3 {
			b.end(task.Exit{Reason: task.Lost, Message: "gone", Lost: []payload.Key{in.Key}})
			return nil
		}
		return failing(4, payload.Failure)(b, in)
	})
	r.join(t, w, 1)
	u := r.client(t, r.define(retries(1)), call.Sync)
	u.submit(0, 1)
	c.planned(t, firstDelay, 1)
	c.advance(firstDelay)
	u.collect(1)
	u.echoed()
}

// TestStartRetried has a container that user code keeps from starting, and the next try start.
func TestStartRetried(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	w := newWorker(echo)
	w.startFailures = 1
	r.join(t, w, 1)
	u := r.client(t, r.define(retries(1)), call.Sync)
	u.submit(0, 1) // of several, those that come after the failure would find a container that starts
	c.planned(t, firstDelay, 1)
	c.advance(firstDelay)
	u.collect(1)
	u.echoed()
}

func TestCancelWhileWaitingForRetry(t *testing.T) {
	for name, kind := range map[string]call.Kind{"sync": call.Sync, "spawn": call.Spawn} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			r := newRigAt(t, c)
			w := newWorker(failing(10, payload.Failure))
			r.join(t, w, 1)
			u := r.client(t, r.define(retries(5)), kind)
			u.submit(0, 20)
			if kind == call.Spawn {
				u.accepted(20)
				u.session.Watch(t.Context(), call.Watch{CallID: u.id})
			}
			c.planned(t, firstDelay, 20)
			wantBusy(t, r, u.fn.AppID, true)
			if err := r.calls.Cancel(t.Context(), u.id, false); err != nil {
				t.Fatal(err)
			}
			u.collect(20)
			cancelledAll(t, u)
			wantBusy(t, r, u.fn.AppID, false)
			c.advance(time.Hour)
			if n := w.total(); n != 20 {
				t.Errorf("%d runs, want 20", n)
			}
			if n := r.calls.Retained(); n.Hand != 0 || n.Retrying != 0 {
				t.Errorf("left behind: %+v", n)
			}
		})
	}
}

// wantBusy checks whether an app has unfinished inputs, those that wait for a retry included: no container knows of them.
func wantBusy(t *testing.T, r *rig, appID string, want bool) {
	t.Helper()
	if busy, err := r.calls.Busy(t.Context(), appID); err != nil || busy != want {
		t.Errorf("busy: %t, %v; want %t", busy, err, want)
	}
}

func cancelledAll(t *testing.T, u *client) {
	t.Helper()
	for i, res := range u.results {
		if res.Status != payload.Cancelled {
			t.Fatalf("input %d: %+v", i, res)
		}
	}
}

func TestStopAppWhileWaitingForRetry(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	w := newWorker(failing(10, payload.Failure))
	r.join(t, w, 1)
	fn := r.define(retries(5))
	u, v := r.client(t, fn, call.Sync), r.client(t, fn, call.Spawn)
	u.submit(0, 5)
	v.submit(0, 5)
	v.accepted(5)
	v.session.Watch(t.Context(), call.Watch{CallID: v.id})
	c.planned(t, firstDelay, 10)
	r.functions.remove(fn.ID)
	if err := r.calls.StopApp(t.Context(), fn.AppID); err != nil {
		t.Fatal(err)
	}
	u.collect(5)
	v.collect(5)
	cancelledAll(t, u)
	cancelledAll(t, v)
}

// TestRestartWhileWaitingForRetry ends the core while inputs wait; they are run again after it, and have one output each.
func TestRestartWhileWaitingForRetry(t *testing.T) {
	for name, kind := range map[string]call.Kind{"sync": call.Sync, "spawn": call.Spawn} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			r := newRigAt(t, c)
			r.join(t, newWorker(failing(10, payload.Failure)), 1)
			u := r.client(t, r.define(retries(1)), kind)
			u.submit(0, 5)
			if kind == call.Spawn {
				u.accepted(5)
			}
			c.planned(t, firstDelay, 5)
			r.stop(t)
			r.start(t)
			r.join(t, newWorker(echo), 1)
			if kind == call.Sync {
				u.reconnect()
			} else {
				u.session.Close()
				u.session = r.calls.NewSession()
				u.session.Watch(t.Context(), call.Watch{CallID: u.id})
			}
			u.collect(5)
			u.echoed()
		})
	}
}
