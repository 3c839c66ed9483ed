package task_test

import (
	"slices"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/payload"
)

// define is function with a definition that is changed before it is used.
func (r *rig) define(a function.Autoscaler, change func(*function.Definition)) *function.Function {
	fn := r.function(a)
	change(&fn.Definition)
	return fn
}

// batches returns what was sent since the last take, by batch.
func (b *box) batches() [][]uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list [][]uint32
	last := uint32(0)
	for _, in := range b.inputs {
		if len(list) == 0 || in.Batch != last {
			list = append(list, nil)
		}
		last = in.Batch
		list[len(list)-1] = append(list[len(list)-1], in.Key.Index)
	}
	b.inputs = nil
	return list
}

func upTo(from, to uint32) (all []uint32) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func wantBatches(t *testing.T, b *box, want ...[]uint32) {
	t.Helper()
	if got := b.batches(); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("batches %v, want %v", got, want)
	}
}

// TestBatchesAreFilled gives out full batches at once and others once their first input has waited for wait_ms.
func TestBatchesAreFilled(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.define(function.Autoscaler{MaxContainers: 1}, func(d *function.Definition) {
		d.Batching = &function.Batching{Size: 4, Wait: 100 * time.Millisecond}
	})
	r.offer(fn, 0, 6)
	b := r.start(1)[0]
	wantBatches(t, b, upTo(0, 4)) // a container runs a batch at a time
	b.answer(time.Second, upTo(0, 4)...)
	wantBatches(t, b) // two wait for others
	r.clock.advance(99 * time.Millisecond)
	r.offer(fn, 6, 1)
	wantBatches(t, b)
	r.clock.advance(time.Millisecond)
	wantBatches(t, b, upTo(4, 7))
	r.offer(fn, 7, 4)
	b.answer(time.Second, upTo(4, 7)...)
	wantBatches(t, b, upTo(7, 11))
	r.clock.advance(time.Second)
	r.offer(fn, 11, 1)
	b.answer(time.Second, upTo(7, 11)...)
	wantBatches(t, b) // it has not waited yet, though there was no room
	r.clock.advance(100 * time.Millisecond)
	wantBatches(t, b, []uint32{11})
	r.outcomes(11)
}

// TestBatchesAtATime runs as many batches in a container at a time as it may have inputs.
func TestBatchesAtATime(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.define(function.Autoscaler{MaxContainers: 1}, func(d *function.Definition) {
		d.Batching, d.Concurrency = &function.Batching{Size: 3}, function.Concurrency{Max: 2, Target: 2}
	})
	r.offer(fn, 0, 10)
	b := r.start(1)[0]
	wantBatches(t, b, upTo(0, 3), upTo(3, 6))
	b.answer(time.Second, 0, 1)
	wantBatches(t, b) // the batch is not over
	b.answer(time.Second, 2)
	wantBatches(t, b, upTo(6, 9))
	b.answer(time.Second, upTo(3, 9)...)
	wantBatches(t, b, []uint32{9})
	r.outcomes(9)
}

// TestLostBatch runs the inputs of a batch that was lost one by one: one of them may be what brings containers down.
func TestLostBatch(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.define(function.Autoscaler{MaxContainers: 1}, func(d *function.Definition) { d.Batching = &function.Batching{Size: 3} })
	r.offer(fn, 0, 3)
	b := r.start(1)[0]
	wantBatches(t, b, upTo(0, 3))
	b.exit(task.Lost, "host died")
	b = r.start(1)[0]
	for i := range uint32(3) {
		wantBatches(t, b, []uint32{i})
		b.answer(time.Second, i)
	}
	r.outcomes(3)
}

// TestConcurrency fills a container up to its maximum while no other can be had, and the emptiest first when there are others.
func TestConcurrency(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.define(function.Autoscaler{MaxContainers: 2}, func(d *function.Definition) { d.Concurrency = function.Concurrency{Max: 4, Target: 2} })
	r.offer(fn, 0, 6)
	first := r.start(1)[0] // there is no room for another
	if got := first.take(); !slices.Equal(got, upTo(0, 4)) {
		t.Errorf("given %v", got)
	}
	r.join(1)
	second := r.start(1)[0]
	if got := second.take(); !slices.Equal(got, upTo(4, 6)) {
		t.Errorf("the second container was given %v", got)
	}
	r.offer(fn, 6, 2)
	if got := second.take(); !slices.Equal(got, upTo(6, 8)) {
		t.Errorf("the emptier container was given %v", got)
	}
	if n := r.s.CountByFunction(fn.ID); n.Running != 8 || n.Headroom != 0 || n.Backlog != 0 || n.Containers != 2 {
		t.Errorf("counts %+v", n)
	}
	first.events.Slots(1) // the code in it wants fewer
	first.answer(time.Second, 0, 1, 2)
	r.offer(fn, 8, 1)
	if got := first.take(); len(got) != 0 {
		t.Errorf("a container that takes one at a time was given %v", got)
	}
	first.answer(time.Second, 3)
	if got := first.take(); !slices.Equal(got, []uint32{8}) {
		t.Errorf("then given %v", got)
	}
	first.events.Slots(0)
	if !first.stopped() || !first.graceful {
		t.Error("a container that wants no more does not end")
	}
	r.outcomes(4)
}

func TestSingleUse(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.define(function.Autoscaler{}, func(d *function.Definition) { d.SingleUse = true })
	r.offer(fn, 0, 3)
	for _, b := range r.start(3) {
		if got := b.take(); len(got) != 1 || !b.stopped() || !b.graceful {
			t.Errorf("given %v; stopped: %t", got, b.stopped())
		} else {
			b.answer(time.Microsecond, got...)
			b.exit(task.Stopped, "")
		}
	}
	r.outcomes(3)
	r.none()
}

// TestBufferContainers has containers ready beside those that work, for as long as there is work every now and then.
func TestBufferContainers(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{BufferContainers: 2})
	r.offer(fn, 0, 1)
	boxes := r.start(3)
	for i := range uint32(10) {
		for _, b := range boxes {
			b.answer(time.Second, b.take()...)
		}
		r.clock.advance(50 * time.Second)
		r.offer(fn, int(i)+1, 1)
	}
	for _, b := range boxes {
		if b.stopped() {
			t.Fatal("a container was given up in a lull shorter than the window")
		}
		b.answer(time.Second, b.take()...)
	}
	r.outcomes(11)
	r.clock.advance(time.Minute - time.Nanosecond)
	if slices.ContainsFunc(boxes, (*box).stopped) {
		t.Error("a container was stopped before its window was over")
	}
	r.clock.advance(time.Nanosecond)
	for _, b := range boxes {
		if !b.stopped() {
			t.Error("a container of an idle function was kept")
		}
	}
	r.none()
}

// TestIdleBesideWork does not look again and again at a container that is idle and wanted.
func TestIdleBesideWork(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{BufferContainers: 1})
	r.offer(fn, 0, 1)
	r.start(2)
	before := len(r.clock.planned)
	r.clock.advance(time.Hour)
	if n := len(r.clock.planned) - before; n > 3 {
		t.Errorf("%d timers in an hour without an event", n)
	}
}

// TestUpdatedBounds takes new bounds at once, without new containers for old ones.
func TestUpdatedBounds(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{})
	publish(t, r, fn)
	next := *fn
	next.Definition.Autoscaler.MinContainers = 2
	publish(t, r, &next)
	boxes := r.start(2)
	publish(t, r, fn)
	r.clock.advance(2 * time.Minute)
	for _, b := range boxes {
		if !b.stopped() {
			t.Error("a container that is not wanted any more was kept")
		}
	}
	r.none()
}

func TestRecreate(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{})
	r.offer(fn, 0, 1)
	old := r.start(1)[0]
	old.take()
	next := *fn
	next.Version = 2
	if err := r.s.Published(t.Context(), []*function.Function{&next}, true); err != nil {
		t.Fatal(err)
	}
	if !old.stopped() || old.graceful {
		t.Error("the old container was not stopped at once")
	}
	old.exit(task.Stopped, "")
	fresh := r.start(1)[0]
	if got := fresh.take(); !slices.Equal(got, []uint32{0}) || fresh.spec.Function.Version != 2 {
		t.Errorf("version %d was given %v", fresh.spec.Function.Version, got)
	}
}

// TestRemoved ends a function that its app does not have any more, and those bound to it.
func TestRemoved(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MinContainers: 1, MaxContainers: 1})
	bound, pinned := *fn, *fn
	bound.ID, bound.Binding = "fu-bound", &function.Binding{BaseID: fn.ID}
	pinned.ID, pinned.Binding = "fu-pinned", &function.Binding{BaseID: fn.ID, Version: 1}
	r.mu.Lock()
	r.known[bound.ID], r.known[pinned.ID] = &bound, &pinned
	r.mu.Unlock()
	publish(t, r, fn)
	b := r.start(1)[0]
	r.offer(fn, 0, 2)
	r.offer(&bound, 2, 1)
	r.offer(&pinned, 3, 1)
	b.take()
	r.mu.Lock()
	delete(r.known, fn.ID)
	delete(r.known, bound.ID)
	r.mu.Unlock()
	r.s.Removed([]*function.Function{fn}, false)
	for i, res := range r.outcomes(2) {
		if res.Status != payload.Cancelled || i != 1 && i != 2 {
			t.Errorf("input %d: %+v", i, res)
		}
	}
	if !b.stopped() || !b.graceful {
		t.Error("the container does not finish its input and end")
	}
	for _, id := range []string{fn.ID, bound.ID} {
		if err := r.s.Offer(t.Context(), id, &task.Input{}); err == nil {
			t.Errorf("function %s takes inputs", id)
		}
	}
	b.answer(time.Second, 0)
	b.exit(task.Stopped, "")
	if s := r.outcomes(1)[0].Status; s != payload.Success {
		t.Errorf("the input that ran: status %d", s)
	}
	if next := r.start(1)[0]; next.spec.Function.ID != pinned.ID {
		t.Errorf("then started %s", next.spec.Function.ID)
	}
}

// TestTerminate stops the containers that run inputs of a call, and no others.
func TestTerminate(t *testing.T) {
	r := newRig(t)
	r.join(2)
	fn := r.function(function.Autoscaler{MinContainers: 2})
	publish(t, r, fn)
	boxes := r.start(2)
	r.offer(fn, 0, 1)
	if err := r.s.Offer(t.Context(), fn.ID, &task.Input{Key: payload.Key{CallID: "fc-2"}, QueuedAt: r.clock.Now()}); err != nil {
		t.Fatal(err)
	}
	r.s.Terminate("fc-2")
	holder := r.s.Holders("fc-2")[0]
	for _, b := range boxes {
		if want := b.spec.ContainerID == holder; b.stopped() != want || want && b.graceful {
			t.Errorf("container that holds it: %t, stopped: %t, graceful: %t", want, b.stopped(), b.graceful)
		}
	}
	if holder == "" || holder == r.s.Holders("fc-1")[0] {
		t.Errorf("held by %q, which another call has", holder)
	}
}

// TestHowStartsFail tells callers why a container of theirs did not start, and starts no other for them.
func TestHowStartsFail(t *testing.T) {
	for reason, want := range map[task.Reason]payload.Status{
		task.StartFailed: payload.StartFailure, task.TimedOut: payload.StartFailure, task.RunnerExited: payload.StartFailure, task.OutOfMemory: payload.OutOfMemory,
	} {
		r := newRig(t)
		r.join(1)
		r.offer(r.function(function.Autoscaler{}), 0, 3)
		(<-r.began).exit(reason, "it said why")
		for i, res := range r.outcomes(3) {
			if res.Status != want || res.Error.Message != "container did not start: it said why" {
				t.Errorf("reason %d, input %d: %+v", reason, i, res)
			}
		}
		r.clock.advance(time.Hour)
		r.none()
	}
}
