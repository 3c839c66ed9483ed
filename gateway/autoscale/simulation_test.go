package autoscale_test

import (
	"container/heap"
	"slices"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/autoscale"
)

// simulation is a function with containers, in simulated time: an event (an input comes or ends, a container is ready or has been idle for
// long enough) is followed by a decision, as in gateway/task, and nothing happens between events.
type simulation struct {
	limits  autoscale.Limits
	per     int           // inputs that a container is to have
	most    int           // inputs that it may have
	takes   time.Duration // an input
	start   time.Duration // of a container
	window  time.Duration // after which an idle container goes
	now     time.Duration
	events  events
	backlog int
	boxes   []*box
	elapsed time.Duration
	planned bool // a look again
	recent  autoscale.Recent
	held    []*box // that are idle and wanted

	began, ended int // containers
	peak         int // containers at a time
	fullest      int // inputs of a container at a time
	decisions    int
	finished     int
	slowest      time.Duration // from coming to end
	came         []time.Duration
}

type box struct {
	ready, gone bool
	inputs      int
	idle, busy  time.Duration // since when
}

type event struct {
	at time.Duration
	do func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (s *simulation) at(d time.Duration, do func()) { heap.Push(&s.events, event{d, do}) }

// arrive has n inputs come at a time.
func (s *simulation) arrive(at time.Duration, n int) {
	s.at(at, func() {
		s.backlog += n
		for range n {
			s.came = append(s.came, s.now)
		}
	})
}

// run goes on until nothing is left to happen, or to an end, and looks at the invariants after each event.
func (s *simulation) run(t *testing.T, end time.Duration) {
	t.Helper()
	s.decide()
	for len(s.events) > 0 && s.events[0].at <= end {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.do()
		s.decide()
		if n := len(s.boxes); s.limits.Max > 0 && n > s.limits.Max || n < s.limits.Min {
			t.Fatalf("at %s: %d containers, want %d to %d", s.now, n, s.limits.Min, s.limits.Max)
		}
	}
	s.now = end
}

func (s *simulation) load() autoscale.Load {
	l := autoscale.Load{Backlog: s.backlog, Elapsed: s.elapsed, Per: s.per}
	for _, b := range s.boxes {
		l.Running += b.inputs
		if b.ready {
			l.Ready++
		}
		if b.inputs > 0 && (l.Backlog > 0 || s.per > 1) {
			l.Oldest = max(l.Oldest, s.now-b.busy)
		}
	}
	return l
}

func (s *simulation) decide() {
	s.decisions++
	s.dispatch()
	n, _, falls, recheck := s.wanted()
	for len(s.boxes) < n {
		s.add()
	}
	if falls > 0 && len(s.held) > 0 {
		held := s.held
		s.held = nil
		for _, b := range held {
			s.at(falls, func() { s.expire(b) })
		}
	}
	if recheck > 0 && !s.planned {
		s.planned = true
		s.at(s.now+recheck, func() { s.planned = false })
	}
}

func (s *simulation) add() {
	b := &box{}
	s.boxes = append(s.boxes, b)
	s.began++
	s.peak = max(s.peak, len(s.boxes))
	s.at(s.now+s.start, func() {
		b.ready = true
		s.rest(b)
	})
}

// wanted notes how many containers are wanted, and returns the most that were within the window.
func (s *simulation) wanted() (n, most int, falls, recheck time.Duration) {
	n, recheck = autoscale.Wanted(s.load(), s.limits)
	most, at := s.recent.Note(began.Add(s.now), n, s.window)
	if !at.IsZero() {
		falls = at.Sub(began)
	}
	return n, most, falls, recheck
}

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// rest notes that a container has nothing to do, and plans its end.
func (s *simulation) rest(b *box) {
	b.idle = s.now
	s.at(s.now+s.window, func() { s.expire(b) })
}

// expire ends a container that has had nothing to do for long enough, and was not wanted.
func (s *simulation) expire(b *box) {
	if b.gone || b.inputs > 0 || s.now-b.idle < s.window {
		return
	}
	if _, most, falls, _ := s.wanted(); len(s.boxes) <= most {
		if falls > s.now {
			s.at(falls, func() { s.expire(b) })
		} else if most > s.limits.Min {
			s.held = append(s.held, b) // until less is wanted
		}
		return
	}
	b.gone = true
	s.ended++
	s.boxes = slices.DeleteFunc(s.boxes, func(other *box) bool { return other == b })
}

func (s *simulation) dispatch() {
	for s.backlog > 0 {
		var best *box
		for _, b := range s.boxes {
			if b.ready && b.inputs < s.most && (best == nil || b.inputs < best.inputs) {
				best = b
			}
		}
		if best == nil {
			return
		}
		s.backlog--
		if best.inputs == 0 {
			best.busy = s.now
		}
		best.inputs++
		s.fullest = max(s.fullest, best.inputs)
		came := s.came[0]
		s.came = s.came[1:]
		s.at(s.now+s.takes, func() {
			best.inputs--
			best.busy = s.now
			s.finished++
			s.slowest = max(s.slowest, s.now-came)
			s.elapsed = autoscale.Learn(s.elapsed, s.takes)
			if best.inputs == 0 {
				s.rest(best)
			}
		})
	}
}

func newSimulation(takes time.Duration) *simulation {
	return &simulation{per: 1, most: 1, takes: takes, start: 200 * time.Millisecond, window: time.Minute}
}

// TestBurst has as many containers as long inputs, soon, and none in the end.
func TestBurst(t *testing.T) {
	s := newSimulation(10 * time.Second)
	s.arrive(0, 200)
	s.run(t, 9*time.Second)
	if s.peak != 200 {
		t.Errorf("%d containers for 200 long inputs", s.peak)
	}
	s.run(t, time.Hour)
	if s.finished != 200 || len(s.boxes) != 0 || s.began != 200 {
		t.Errorf("%d of 200 inputs ended, %d containers are left of %d", s.finished, len(s.boxes), s.began)
	}
	if s.slowest > 13*time.Second {
		t.Errorf("the last input of the burst ended after %s", s.slowest)
	}
}

// TestBurstsOneAfterAnother keeps its containers from one burst to the next: no flapping.
func TestBurstsOneAfterAnother(t *testing.T) {
	s := newSimulation(2 * time.Second)
	for i := range 60 {
		s.arrive(time.Duration(i)*20*time.Second, 20)
	}
	s.run(t, 20*time.Minute)
	if s.began > 22 || s.ended > 2 {
		t.Errorf("%d containers began and %d ended over 60 bursts of 20 inputs", s.began, s.ended)
	}
	s.run(t, 30*time.Minute)
	if len(s.boxes) != 0 {
		t.Errorf("%d containers are left", len(s.boxes))
	}
}

// TestShortInputs works a long queue of short inputs off with few containers.
func TestShortInputs(t *testing.T) {
	s := newSimulation(time.Millisecond)
	s.most = 1
	s.arrive(0, 5_000)
	s.run(t, time.Hour)
	if s.finished != 5_000 || s.peak > 12 {
		t.Errorf("%d inputs ended, with %d containers", s.finished, s.peak)
	}
}

// TestRamp grows with the rate of inputs, to about what they need, and shrinks with it.
func TestRamp(t *testing.T) {
	s := newSimulation(time.Second)
	at := time.Duration(0)
	for rate := 1; rate <= 50; rate++ { // inputs a second, ten seconds each
		for range 10 * rate {
			s.arrive(at, 1)
			at += time.Second / time.Duration(rate)
		}
	}
	s.run(t, at)
	if s.peak < 50 || s.peak > 110 {
		t.Errorf("%d containers at the height of 50 inputs of 1 s a second", s.peak)
	}
	if s.ended > s.began/4 {
		t.Errorf("%d of %d containers ended while there was more and more to do", s.ended, s.began)
	}
	s.run(t, at+10*time.Minute)
	if len(s.boxes) != 0 || s.slowest > 10*time.Second {
		t.Errorf("%d containers are left; the slowest input took %s", len(s.boxes), s.slowest)
	}
}

// TestIdle does nothing at all while there is nothing to do.
func TestIdle(t *testing.T) {
	s := newSimulation(time.Second)
	s.limits = autoscale.Limits{Min: 3, Buffer: 2}
	s.run(t, 24*time.Hour)
	if s.began != 3 || s.ended != 0 {
		t.Errorf("%d containers began and %d ended of a function that wants 3 and has no inputs", s.began, s.ended)
	}
	zero := newSimulation(time.Second)
	zero.run(t, 24*time.Hour)
	if zero.began != 0 || zero.decisions != 1 {
		t.Errorf("%d containers and %d decisions for nothing", zero.began, zero.decisions)
	}
}

// TestFloorAndCap never leaves the bounds, which run looks at after each event.
func TestFloorAndCap(t *testing.T) {
	s := newSimulation(3 * time.Second)
	s.limits = autoscale.Limits{Min: 2, Max: 7}
	for i := range 20 {
		s.arrive(time.Duration(i)*30*time.Second, 1+i*5%40)
	}
	s.run(t, time.Hour)
	if s.peak != 7 || len(s.boxes) != 2 || s.backlog != 0 {
		t.Errorf("at most %d containers and %d in the end, %d inputs left; want 7, 2 and none", s.peak, len(s.boxes), s.backlog)
	}
}

// TestBuffer keeps containers beyond those that work, while there is work.
func TestBuffer(t *testing.T) {
	s := newSimulation(5 * time.Second)
	s.limits = autoscale.Limits{Buffer: 3}
	for i := range 100 {
		s.arrive(time.Duration(i)*5*time.Second, 2)
	}
	s.run(t, 7*time.Minute)
	if n := len(s.boxes); n < 5 || n > 8 {
		t.Errorf("%d containers for two inputs at a time and a buffer of 3", n)
	}
	if s.ended > 2 {
		t.Errorf("%d containers ended while the load was the same", s.ended)
	}
	s.run(t, 30*time.Minute)
	if len(s.boxes) != 0 {
		t.Errorf("%d containers are left of an idle function", len(s.boxes))
	}
}

// TestTarget has about as many inputs in a container as it is to have, though it may have more.
func TestTarget(t *testing.T) {
	s := newSimulation(20 * time.Second)
	s.per, s.most = 10, 20
	for i := range 1200 {
		s.arrive(time.Duration(i)*200*time.Millisecond, 1) // 100 at a time
	}
	s.run(t, 3*time.Minute)
	if n := len(s.boxes); n < 10 || n > 14 {
		t.Errorf("%d containers for 100 inputs at a time of 10 each", n)
	}
	for _, b := range s.boxes {
		if b.inputs > 14 {
			t.Errorf("a container has %d inputs, and is to have 10", b.inputs)
		}
	}
	s.run(t, time.Hour)
	if len(s.boxes) != 0 || s.finished != 1200 || s.fullest > 20 {
		t.Errorf("%d containers left, %d inputs ended, at most %d in one", len(s.boxes), s.finished, s.fullest)
	}
}
