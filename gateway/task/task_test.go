package task_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestScale takes a function from no container to one, and back when it has been idle for long enough.
func TestScale(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{})
	r.offer(fn, 0, 1)
	b := r.start(1)[0]
	if b.spec.Function != fn || b.spec.SecretEnv["SECRET"] != "s" || b.spec.AppFunctionIDs["f"] != fn.ID || b.spec.Image.Workdir != "/w" {
		t.Errorf("started with %+v", b.spec)
	}
	if d := cmp.Diff([]uint32{0}, b.take()); d != "" {
		t.Fatal(d)
	}
	b.answer(time.Second, 0)
	r.outcomes(1)
	r.clock.advance(59 * time.Second)
	r.offer(fn, 1, 1) // in time: the window begins again
	b.answer(time.Second, b.take()...)
	r.outcomes(1)
	r.clock.advance(59 * time.Second)
	if b.stopped() {
		t.Fatal("stopped too early")
	}
	r.clock.advance(time.Second)
	if !b.stopped() || !b.graceful {
		t.Fatal("an idle container was kept")
	}
	done := r.s.AppDone(fn.AppID)
	b.exit(task.Stopped, "")
	<-done
	if n := r.s.CountByFunction(fn.ID); n != (task.Counts{}) {
		t.Errorf("left: %+v", n)
	}
	if id, ok := r.s.Identify(b.spec.ContainerID); !ok || id.FunctionID != fn.ID || id.AppID != fn.AppID {
		t.Errorf("an ended container is %+v, %t", id, ok)
	}
	r.none()
}

func TestMinContainers(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{MinContainers: 2})
	publish(t, r, fn)
	boxes := r.start(2)
	r.clock.advance(time.Hour)
	for _, b := range boxes {
		if b.stopped() {
			t.Error("a container of min_containers was stopped")
		}
	}
	boxes[0].exit(task.Lost, "host died")
	r.clock.advance(time.Second) // it had done nothing: its replacement is held back for a moment
	<-r.began
}

func publish(t *testing.T, r *rig, fns ...*function.Function) {
	t.Helper()
	if err := r.s.Published(t.Context(), fns, false); err != nil {
		t.Fatal(err)
	}
}

func TestMaxContainers(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{MaxContainers: 2})
	r.offer(fn, 0, 20)
	boxes := r.start(2)
	for i := uint32(0); i < 20; {
		for _, b := range boxes {
			got := b.take()
			if len(got) > 1 {
				t.Fatalf("long inputs were piled up: %v", got)
			}
			b.answer(time.Minute, got...)
			i += uint32(len(got))
		}
	}
	r.outcomes(20)
	r.none()
}

// TestGrow has one container per input once inputs are seen to take long, step by step, and two before.
func TestGrow(t *testing.T) {
	r := newRig(t)
	r.join(100)
	fn := r.function(function.Autoscaler{})
	r.offer(fn, 0, 40)
	r.start(2)
	r.none()
	for _, more := range []int{6, 24, 8} {
		r.clock.advance(time.Second)
		r.start(more)
	}
	r.clock.advance(time.Minute - 4*time.Second)
	r.none()
}

// TestAhead piles short inputs up in a container, until one is returned as it waited too long.
func TestAhead(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	r.offer(fn, 0, 100)
	b := r.start(1)[0]
	b.answer(time.Microsecond, b.take()...)
	got := b.take()
	if len(got) != 33 {
		t.Fatalf("%d inputs in the container, want 33", len(got))
	}
	var back []payload.Key
	for _, i := range got[1:] {
		back = append(back, payload.Key{CallID: "fc-1", Index: i})
	}
	b.events.Returned(back)
	if more := b.take(); len(more) != 0 {
		t.Errorf("a slow container was given %v", more)
	}
	b.answer(time.Microsecond, got[0])
	if again := b.take(); len(again) != 33 || again[0] != got[1] {
		t.Errorf("then %v", again)
	}
}

func TestNewVersion(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{MinContainers: 1})
	publish(t, r, fn)
	old := r.start(1)[0]
	r.offer(fn, 0, 1)
	old.take()
	next := *fn
	next.Version = 2
	publish(t, r, &next)
	if !old.stopped() || !old.graceful {
		t.Error("a container of the old version does not drain")
	}
	fresh := r.start(1)[0]
	if fresh.spec.Function.Version != 2 {
		t.Errorf("version %d", fresh.spec.Function.Version)
	}
	r.offer(fn, 1, 1)
	if got := fresh.take(); !slices.Equal(got, []uint32{1}) || len(old.take()) != 0 {
		t.Errorf("the new version was given %v", got)
	}
	old.answer(time.Second, 0) // finishes what it has
	if s := r.outcomes(1)[0].Status; s != payload.Success {
		t.Errorf("status %d", s)
	}
	old.exit(task.Stopped, "")
}

// TestStartFailure fails the inputs that wait when user code can't be loaded, and tries again for those that come later.
func TestStartFailure(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	waiting := r.offer(fn, 0, 10)
	b := <-r.began
	remote := &payload.RemoteError{Type: "ImportError", Message: "no module named x"}
	b.events.Exited(task.Exit{Reason: task.StartFailed, Error: remote})
	for i, res := range r.outcomes(10) {
		if res.Status != payload.StartFailure || res.Error != remote {
			t.Errorf("input %d: %+v", i, res)
		}
	}
	// One that was accepted before, and comes out of the flow only now, would fail the same way.
	late := &task.Input{Key: payload.Key{CallID: "fc-1", Index: 10}, QueuedAt: waiting[0].QueuedAt}
	if err := r.s.Offer(t.Context(), fn.ID, late); err != nil {
		t.Fatal(err)
	}
	r.outcomes(1)
	r.none()
	r.clock.advance(time.Second)
	r.offer(fn, 11, 1)
	b = r.start(1)[0]
	b.answer(time.Second, b.take()...)
	if s := r.outcomes(1)[11].Status; s != payload.Success {
		t.Errorf("status %d", s)
	}
}

// TestCrashLoop holds containers back that nobody waits for and that can't start.
func TestCrashLoop(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{MinContainers: 1})
	publish(t, r, fn)
	for _, wait := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		(<-r.began).exit(task.StartFailed, "bad")
		r.clock.advance(wait - 1)
		r.none()
		r.clock.advance(1)
	}
	// An input gets an attempt at once.
	(<-r.began).exit(task.StartFailed, "bad")
	r.clock.advance(time.Millisecond)
	r.offer(fn, 0, 1)
	(<-r.began).exit(task.StartFailed, "bad")
	r.outcomes(1)
}

// TestNotStarted tries again when the worker can't make containers, and gives up after some times.
func TestNotStarted(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	r.offer(fn, 0, 3)
	for range task.MaxFailedStarts {
		r.clock.advance(time.Millisecond)
		(<-r.began).exit(task.NotStarted, "disk full")
	}
	for i, res := range r.outcomes(3) {
		if res.Status != payload.InternalFailure || !strings.Contains(res.Error.Message, "disk full") {
			t.Errorf("input %d: %+v", i, res)
		}
	}
	r.none()
}

// TestUnlinked starts nothing more on a worker whose link has ended, though it has not left yet and has the most room.
func TestUnlinked(t *testing.T) {
	r := newRig(t)
	r.join(10)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	r.offer(fn, 0, 1)
	(<-r.began).events.Exited(task.Exit{Reason: task.Lost, Message: "link lost", Everything: true, Unlinked: true})
	if why := <-r.notices; !strings.Contains(why, "no worker is connected") {
		t.Errorf("notice %q", why)
	}
	r.none()
	r.join(10)
	b := r.start(1)[0]
	b.answer(time.Millisecond, b.take()...)
	r.outcomes(1)
}

func TestImageAway(t *testing.T) {
	for _, c := range []struct {
		err    error
		status payload.Status
	}{{errAway, payload.InternalFailure}, {fault.New(fault.NotFound, "image: gone"), payload.StartFailure}} {
		r := newRig(t)
		r.imageErr = c.err
		r.join(10)
		r.offer(r.function(function.Autoscaler{}), 0, 1)
		if res := r.outcomes(1)[0]; res.Status != c.status || !strings.Contains(res.Error.Message, c.err.Error()) {
			t.Errorf("%v: %+v", c.err, res)
		}
	}
}

// TestNoRoom has containers wait for a worker, says why, and starts them when there is one.
func TestNoRoom(t *testing.T) {
	r := newRig(t)
	fn := r.function(function.Autoscaler{})
	r.offer(fn, 0, 1)
	if why := <-r.notices; !strings.Contains(why, "no worker is connected") {
		t.Errorf("the user is told %q", why)
	}
	r.none()
	r.join(1)
	b := r.start(1)[0]
	other := r.function(function.Autoscaler{})
	r.offer(other, 1, 1)
	if why := <-r.notices; !strings.Contains(why, "short of cpu") {
		t.Errorf("the user is told %q", why)
	}
	b.exit(task.Stopped, "") // its input goes on waiting; its place is taken by the one that has waited longer
	if next := <-r.began; next.spec.Function.ID != other.ID {
		t.Error("the wrong function got the place")
	}
}

// TestExit has the inputs of a container that ends run again, and counts only what was lost.
func TestExit(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	inputs := r.offer(fn, 0, 3)
	b := r.start(1)[0]
	b.answer(time.Microsecond, b.take()...)
	b.take()
	b.events.Exited(task.Exit{Reason: task.Lost, Lost: []payload.Key{inputs[1].Key}})
	b = r.start(1)[0]
	if inputs[1].Attempt != 1 || inputs[2].Attempt != 0 {
		t.Errorf("attempts %d and %d, want 1 and 0", inputs[1].Attempt, inputs[2].Attempt)
	}
	if got := b.take(); !slices.Equal(got, []uint32{1}) {
		t.Errorf("beside an input that was lost before: %v", got)
	}
	b.answer(time.Microsecond, 1)
	b.take()
	b.exit(task.RunnerExited, "exit code 3") // not the doing of input 2
	b = r.start(1)[0]
	b.answer(time.Microsecond, b.take()...)
	r.outcomes(3)
	if inputs[2].Attempt != 0 {
		t.Error("an input was blamed for another's crash")
	}
}

// TestCrashOfSeveral has each of the inputs that a crash leaves in doubt run by itself.
func TestCrashOfSeveral(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	inputs := r.offer(fn, 0, 4)
	b := r.start(1)[0]
	b.answer(time.Microsecond, b.take()...)
	if got := b.take(); !slices.Equal(got, []uint32{1, 2, 3}) {
		t.Fatalf("after a short input: %v", got)
	}
	b.events.Exited(task.Exit{Reason: task.RunnerExited, Lost: []payload.Key{inputs[1].Key, inputs[2].Key}})
	b = r.start(1)[0]
	for _, want := range [][]uint32{{1}, {2}, {3}} {
		got := b.take()
		if !slices.Equal(got, want) {
			t.Errorf("given %v, want %v", got, want)
		}
		b.answer(time.Microsecond, got...)
	}
	if inputs[1].Attempt != 1 || inputs[2].Attempt != 1 || inputs[3].Attempt != 0 {
		t.Errorf("attempts %d, %d and %d, want 1, 1 and 0", inputs[1].Attempt, inputs[2].Attempt, inputs[3].Attempt)
	}
	r.outcomes(4)
}

func TestCancel(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	inputs := r.offer(fn, 0, 3)
	b := r.start(1)[0]
	r.s.Cancel(fn.ID, []payload.Key{inputs[0].Key, inputs[2].Key})
	if res := r.outcomes(1)[2]; res.Status != payload.Cancelled {
		t.Errorf("the one that waited: %+v", res)
	}
	if len(b.cancels) != 1 || b.cancels[0] != inputs[0].Key {
		t.Errorf("the container was told %v", b.cancels)
	}
	b.exit(task.Lost, "gone") // and never answers
	if res := r.outcomes(1)[0]; res.Status != payload.Cancelled {
		t.Errorf("the one that ran: %+v", res)
	}
	b = r.start(1)[0]
	if got := b.take(); !slices.Equal(got, []uint32{1}) {
		t.Errorf("left: %v", got)
	}
}

// withdrawn is the handle of an input whose call was cancelled before the input was offered.
type withdrawn struct{}

func (withdrawn) Withdrawn() bool { return true }

func TestCancelBeforeOffer(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	in := &task.Input{Key: payload.Key{CallID: "fc-1"}, QueuedAt: r.clock.Now(), Handle: withdrawn{}}
	if err := r.s.Offer(t.Context(), fn.ID, in); err != nil {
		t.Fatal(err)
	}
	if res := r.outcomes(1)[0]; res.Status != payload.Cancelled {
		t.Errorf("it ended as %+v", res)
	}
	r.none()
}

func TestStopContainer(t *testing.T) {
	r := newRig(t)
	r.join(2)
	fn := r.function(function.Autoscaler{MaxContainers: 2})
	r.offer(fn, 0, 1)
	b := r.start(1)[0]
	list := r.s.List(fn.AppID)
	if len(list) != 1 || list[0].ID != b.spec.ContainerID || list[0].Running != 1 || list[0].WorkerID == "" {
		t.Errorf("list %+v", list)
	}
	if err := r.s.Stop(t.Context(), b.spec.ContainerID, false); err != nil {
		t.Fatal(err)
	}
	b.exit(task.Stopped, "")
	next := r.start(1)[0]
	if got := next.take(); !slices.Equal(got, []uint32{0}) {
		t.Errorf("the next container was given %v", got)
	}
	if err := r.s.Stop(t.Context(), b.spec.ContainerID, false); !errors.Is(err, fault.NotFound) {
		t.Errorf("stopped twice: %v", err)
	}
	if _, err := r.s.WorkerOf(b.spec.ContainerID); !errors.Is(err, fault.NotFound) {
		t.Errorf("worker of an ended container: %v", err)
	}
}

// TestFullQueue has Offer wait while too many inputs do.
func TestFullQueue(t *testing.T) {
	r := newRig(t)
	fn := r.function(function.Autoscaler{})
	r.offer(fn, 0, task.QueueLimit)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.s.Offer(ctx, fn.ID, &task.Input{}); !errors.Is(err, context.Canceled) {
		t.Errorf("one too many: %v", err)
	}
}

// TestRun stops containers when its context ends, and gives no outcome to what was in hand.
func TestRun(t *testing.T) {
	r := newRig(t)
	r.join(1)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.s.Run(ctx) }()
	r.offer(fn, 0, 2)
	b := r.start(1)[0]
	done := r.s.AppDone(fn.AppID)
	cancel()
	for d := range r.clock.planned { // the limit of the wait is planned when all have been told to stop
		if d == 10*time.Second {
			break
		}
	}
	if !b.stopped() || b.graceful {
		t.Error("the container was not stopped at once")
	}
	b.exit(task.Stopped, "")
	<-done
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	r.none()
}

// TestOffersGoOnAfterACancellation hold back an input while the queue is full, also while a cancellation has gone through the queue, and take
// it once there is room.
func TestOffersGoOnAfterACancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.join(1)
		fn := r.function(function.Autoscaler{MaxContainers: 1})
		r.offer(fn, 0, 1)
		b := r.start(1)[0]
		r.offer(fn, 1, task.QueueLimit)
		late := &task.Input{Key: payload.Key{CallID: "fc-1", Index: task.QueueLimit + 1}, QueuedAt: r.clock.Now()}
		offered := make(chan error, 1)
		go func() { offered <- r.s.Offer(t.Context(), fn.ID, late) }()
		synctest.Wait()
		r.s.Cancel(fn.ID, []payload.Key{{CallID: "fc-2"}}) // none of those that wait
		synctest.Wait()
		select {
		case err := <-offered:
			t.Fatalf("an input was taken though the queue was full: %v", err)
		default:
		}
		for range task.QueueLimit + 1 {
			b.answer(time.Minute, b.take()...)
		}
		synctest.Wait()
		if err := <-offered; err != nil {
			t.Fatal(err)
		}
		b.answer(time.Minute, b.take()...)
		r.outcomes(task.QueueLimit + 2)
	})
}
