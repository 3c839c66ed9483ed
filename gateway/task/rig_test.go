package task_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// clock is time in the test's hands.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	timers  []*timer
	planned chan time.Duration // hears of each AfterFunc, as far as there is room
}

type timer struct {
	c  *clock
	at time.Time
	f  func()
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), planned: make(chan time.Duration, 1000)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) AfterFunc(d time.Duration, f func()) task.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{c, c.now.Add(d), f}
	c.timers = append(c.timers, t)
	select {
	case c.planned <- d:
	default:
	}
	return t
}

func (t *timer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	for i, o := range t.c.timers {
		if o == t {
			t.c.timers = append(t.c.timers[:i], t.c.timers[i+1:]...)
			return true
		}
	}
	return false
}

// advance moves time and calls what is due, in this goroutine and in order.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	end := c.now.Add(d)
	c.mu.Unlock()
	for {
		c.mu.Lock()
		var due *timer
		for _, t := range c.timers {
			if !t.at.After(end) && (due == nil || t.at.Before(due.at)) {
				due = t
			}
		}
		if due == nil {
			c.now = end
			c.mu.Unlock()
			return
		}
		if due.at.After(c.now) {
			c.now = due.at
		}
		c.mu.Unlock()
		if due.Stop() {
			due.f()
		}
	}
}

// rig is a Scheduler with stores, a sink, a worker and a clock that the test holds.
type rig struct {
	t     *testing.T
	s     *task.Scheduler
	clock *clock
	fleet *fleet.Fleet
	// began gets each container that is started on a worker.
	began chan *box
	// finished gets each outcome.
	finished chan task.Outcome
	notices  chan string

	looked func() // called when a function has been looked up

	mu       sync.Mutex
	known    map[string]*function.Function
	imageErr error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{
		t: t, clock: newClock(), fleet: fleet.New(), began: make(chan *box, 1000), finished: make(chan task.Outcome, 10000),
		notices: make(chan string, 100), looked: func() {}, known: map[string]*function.Function{},
	}
	r.s = task.New(task.Deps{
		Functions: r, Images: r, Secrets: r, Fleet: r.fleet, Notices: r, Clock: r.clock, Log: slog.New(slog.DiscardHandler),
	})
	r.s.SetSink(r)
	return r
}

// Items implements task.Sink.
func (r *rig) Items(string, *task.Input, uint64, []*payload.Payload) {}

func (r *rig) Finished(_ string, outcomes []task.Outcome) {
	for _, o := range outcomes {
		r.finished <- o
	}
}

func (r *rig) Notice(_ *function.Function, _, text string) { r.notices <- text }

func (r *rig) Function(_ context.Context, id string) (*function.Function, error) {
	defer r.looked() // after the mutex
	r.mu.Lock()
	defer r.mu.Unlock()
	if fn, ok := r.known[id]; ok {
		return fn, nil
	}
	return nil, fault.New(fault.NotFound, "function %q: not there", id)
}

func (r *rig) AppFunctions(_ context.Context, appID string) ([]*function.Function, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*function.Function
	for _, fn := range r.known {
		if fn.AppID == appID {
			list = append(list, fn)
		}
	}
	return list, nil
}

func (r *rig) ContainerImage(context.Context, string) (task.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return task.Image{Workdir: "/w"}, r.imageErr
}

func (r *rig) SecretEnv(context.Context, []string) (map[string]string, error) {
	return map[string]string{"SECRET": "s"}, nil
}

// join adds a worker with room for n containers of the rig's functions.
func (r *rig) join(n uint32) (leave func()) {
	r.t.Helper()
	leave, err := r.s.Join(fleet.Worker{ID: ident.New(ident.Worker), Capacity: placement.Needs{CPUMilli: 100 * n, MemoryMiB: 100 * n}}, r)
	if err != nil {
		r.t.Fatal(err)
	}
	return leave
}

func (r *rig) function(a function.Autoscaler) *function.Function {
	if a.ScaledownWindow == 0 {
		a.ScaledownWindow = time.Minute
	}
	fn := &function.Function{
		ID: ident.New(ident.Function), AppID: ident.New(ident.App), AppName: "app", Environment: "main", Version: 1,
		Definition: function.Definition{Name: "f", SecretIDs: []string{"st-1"}, Resources: function.Resources{CPUMilli: 100, MemoryMiB: 100}, Autoscaler: a},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[fn.ID] = fn
	return fn
}

// offer hands n inputs over, with indexes from first.
func (r *rig) offer(fn *function.Function, first, n int) []*task.Input {
	r.t.Helper()
	inputs := make([]*task.Input, n)
	for i := range inputs {
		inputs[i] = &task.Input{Key: payload.Key{CallID: "fc-1", Index: uint32(first + i)}, QueuedAt: r.clock.Now()}
		if err := r.s.Offer(r.t.Context(), fn.ID, inputs[i]); err != nil {
			r.t.Fatal(err)
		}
	}
	return inputs
}

// start waits for n containers to be started and has them ready.
func (r *rig) start(n int) []*box {
	boxes := make([]*box, n)
	for i := range boxes {
		boxes[i] = <-r.began
	}
	for _, b := range boxes {
		b.events.Ready(nil)
	}
	return boxes
}

// none fails if there is a container or an outcome more than were looked at. It is exact only where all that happens happens in the
// test's goroutine.
func (r *rig) none() {
	r.t.Helper()
	select {
	case b := <-r.began:
		r.t.Errorf("container %s was started", b.spec.ContainerID)
	case o := <-r.finished:
		r.t.Errorf("input %d ended: %+v", o.Input.Key.Index, o.Result)
	default:
	}
}

// outcomes takes n outcomes, by index.
func (r *rig) outcomes(n int) map[uint32]payload.Result {
	r.t.Helper()
	got := map[uint32]payload.Result{}
	for range n {
		o := <-r.finished
		if _, twice := got[o.Input.Key.Index]; twice {
			r.t.Errorf("input %d ended twice", o.Input.Key.Index)
		}
		got[o.Input.Key.Index] = o.Result
	}
	return got
}

// Start implements task.Worker.
func (r *rig) Start(spec *task.Spec, events task.Events) task.Handle {
	b := &box{r: r, spec: spec, events: events}
	r.began <- b
	return b
}

// box is a container whose every move is the test's.
type box struct {
	r      *rig
	spec   *task.Spec
	events task.Events

	mu       sync.Mutex
	heard    chan struct{} // gets each Stop
	inputs   []*task.Input // sent and not taken
	cancels  []payload.Key
	stops    int
	graceful bool
}

func (b *box) Send(in []*task.Input) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inputs = append(b.inputs, in...)
}

func (b *box) Cancel(keys []payload.Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancels = append(b.cancels, keys...)
}

func (b *box) Stop(graceful bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stops++
	b.graceful = graceful
	if b.heard != nil {
		b.heard <- struct{}{}
	}
}

// take returns the indexes that were sent since the last take.
func (b *box) take() []uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var got []uint32
	for _, in := range b.inputs {
		got = append(got, in.Key.Index)
	}
	b.inputs = nil
	return got
}

// stops returns a channel that gets each Stop of the boxes.
func (r *rig) stops(boxes []*box) <-chan struct{} {
	heard := make(chan struct{}, len(boxes))
	for _, b := range boxes {
		b.mu.Lock()
		b.heard = heard
		b.mu.Unlock()
	}
	return heard
}

func (b *box) stopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stops > 0
}

// answer ends inputs that took a time each.
func (b *box) answer(elapsed time.Duration, indexes ...uint32) {
	var outputs []task.Output
	for _, i := range indexes {
		outputs = append(outputs, task.Output{Key: payload.Key{CallID: "fc-1", Index: i}, Result: success, Elapsed: elapsed})
	}
	b.events.Outputs(outputs)
}

var success = payload.Result{Status: payload.Success, Value: &payload.Payload{Format: payload.Pickle}}

func (b *box) exit(reason task.Reason, message string) {
	b.events.Exited(task.Exit{Reason: reason, Message: message, Everything: reason == task.Lost})
}

var errAway = errors.New("store is away")
