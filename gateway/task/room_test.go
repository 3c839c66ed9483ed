package task_test

import (
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
)

// fill has a function have n containers that are idle, the first for a shorter time than the others.
func (r *rig) fill(a function.Autoscaler, n int) []*box {
	r.t.Helper()
	a.BufferContainers = n - 1
	r.offer(r.function(a), 0, 1)
	boxes := r.start(n)
	r.clock.advance(time.Second)
	for i, b := range boxes {
		if indexes := b.take(); indexes != nil {
			b.answer(time.Second, indexes...)
			boxes[0], boxes[i] = b, boxes[0]
		}
	}
	r.outcomes(1)
	r.clock.advance(2 * time.Second)
	return boxes
}

func stopped(boxes []*box) (n int) {
	for _, b := range boxes {
		if b.stopped() {
			n++
		}
	}
	return n
}

// TestIdleContainersMakeRoom: one that is idle ends for one of another function that waits, long before its scaledown_window.
func TestIdleContainersMakeRoom(t *testing.T) {
	r := newRig(t)
	defer r.join(4)()
	boxes := r.fill(function.Autoscaler{}, 4)
	other := r.function(function.Autoscaler{})
	stops := r.stops(boxes)
	r.offer(other, 10, 1)
	<-stops
	if stopped(boxes) != 1 || boxes[0].stopped() {
		t.Fatalf("%d have been stopped; want one, and one of those that are idle for longest", stopped(boxes))
	}
	for _, b := range boxes {
		if b.stopped() {
			b.exit(task.Stopped, "")
		}
	}
	r.start(1)
	select {
	case n := <-r.notices:
		t.Errorf("the user was told %q", n)
	default:
	}
}

// TestWhatIsWantedMakesNoRoom: neither containers that are to be kept nor those that have just been at work end for others.
func TestWhatIsWantedMakesNoRoom(t *testing.T) {
	r := newRig(t)
	defer r.join(2)()
	kept := r.fill(function.Autoscaler{MinContainers: 2}, 2)
	other := r.function(function.Autoscaler{})
	r.offer(other, 10, 1)
	<-r.notices
	r.clock.advance(time.Minute / 2)
	if n := stopped(kept); n != 0 {
		t.Errorf("%d of those that are to be kept were stopped", n)
	}
}

// TestRoomIsMadeWhenOneBecomesIdle: the one that waits is there first.
func TestRoomIsMadeWhenOneBecomesIdle(t *testing.T) {
	r := newRig(t)
	defer r.join(1)()
	fn, other := r.function(function.Autoscaler{}), r.function(function.Autoscaler{})
	r.offer(fn, 0, 1)
	boxes := r.start(1)
	r.offer(other, 10, 1)
	<-r.notices
	r.clock.advance(10 * time.Second)
	if boxes[0].stopped() {
		t.Fatal("stopped at work")
	}
	boxes[0].answer(time.Second, boxes[0].take()...)
	r.outcomes(1)
	if boxes[0].stopped() {
		t.Fatal("stopped at once")
	}
	r.clock.advance(time.Second)
	if !boxes[0].stopped() {
		t.Fatal("not stopped")
	}
	boxes[0].exit(task.Stopped, "")
	r.start(1)
}
