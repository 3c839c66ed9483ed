package task

import (
	"slices"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
)

// Exited implements Events.
func (c *Container) Exited(exit Exit) {
	var fx effects
	c.s.mu.Lock()
	if c.state != ended {
		left := c.inputs
		wasReady := !c.readyAt.IsZero()
		if exit.Unlinked && c.reservation != nil {
			// The worker leaves when the last of its containers has ended; until then it would have the most room.
			c.s.d.Fleet.Retire(c.reservation.WorkerID)
		}
		c.s.remove(c)
		c.settle(left, exit, &fx)
		switch {
		case !wasReady:
			c.pool.startFailed(c, exit, &fx)
		case !c.served && exit.Reason != Stopped:
			c.pool.holdBack(1) // else one that always ends at once would be started over and over
		}
		if !c.s.closing {
			c.s.place() // only now: those that nobody waits for any more are not started
		}
		c.pool.balance(&fx)
	}
	c.s.mu.Unlock()
	if exit.Reason != Stopped {
		c.s.d.Log.Info("container ended", "container", c.id, "function", c.fn.ID, "reason", int(exit.Reason), "message", exit.Message)
	}
	c.s.perform(&fx)
}

// settle has the inputs that the container still had run again, and counts for those that may have brought it down.
func (c *Container) settle(left []*Input, exit Exit, fx *effects) {
	for _, in := range left {
		in.Batch = 0
		if exit.Reason != Stopped && (exit.Everything || slices.Contains(exit.Lost, in.Key)) {
			in.Attempt++
		}
	}
	c.pool.putBack(left, fx)
}

// remove forgets a container that has ended or never began. The mutex is held.
func (s *Scheduler) remove(c *Container) {
	c.state = ended
	c.inputs = nil
	if c.reservation != nil {
		c.reservation.Release()
	}
	delete(s.containers, c.id)
	p := c.pool
	if i := slices.Index(p.containers, c); i >= 0 {
		p.containers = slices.Delete(p.containers, i, i+1)
	}
	if i := slices.Index(s.waiting, c); i >= 0 && c.reservation == nil {
		s.waiting = slices.Delete(slices.Clone(s.waiting), i, i+1)
	}
	s.remember(c)
	p.forget()
	if s.appIdle(c.fn.AppID) {
		for _, ch := range s.done[c.fn.AppID] {
			close(ch)
		}
		delete(s.done, c.fn.AppID)
	}
	if s.closing && len(s.containers) == 0 {
		close(s.quiet)
	}
}

// remember keeps whose the container was for a while.
func (s *Scheduler) remember(c *Container) {
	now := s.d.Clock.Now()
	n := 0
	for n < len(s.past) && now.Sub(s.past[n].at) > IdentityKept {
		n++
	}
	s.past = append(s.past[n:], departed{c.id, c.identity(), now})
}

// startFailed decides what the end of a container that never took inputs means for the inputs that wait.
func (p *pool) startFailed(c *Container, exit Exit, fx *effects) {
	if c.fn.Version != p.fn.Version || p.stopped {
		return
	}
	now := p.s.d.Clock.Now()
	switch exit.Reason {
	case StartFailed, RunnerExited, OutOfMemory, TimedOut:
		p.crashes++
		if !p.anyReady() {
			p.failWaiting(now, startFailure(exit), fx)
		}
		p.holdBack(p.crashes)
	case NotStarted, Lost:
		// Containers that were asked for together fail together, and count once.
		if c.createdAt.Before(p.countedAt) {
			return
		}
		p.countedAt = now
		p.failedStarts++
		if p.failedStarts >= MaxFailedStarts && !p.anyReady() {
			p.failWaiting(now, payload.Failed(payload.InternalFailure, "no container could be started: "+exit.Message), fx)
		}
		p.holdBack(p.failedStarts)
	case Stopped:
	}
}

func (p *pool) anyReady() bool {
	return slices.ContainsFunc(p.containers, func(c *Container) bool { return c.state == ready })
}

// startFailure is what callers get whose inputs waited for a container that user code kept from starting.
func startFailure(exit Exit) payload.Result {
	r := payload.Result{Status: payload.StartFailure, Error: exit.Error}
	if exit.Reason == OutOfMemory {
		r.Status = payload.OutOfMemory
	}
	if r.Error == nil {
		r.Error = &payload.RemoteError{Message: "container did not start: " + exit.Message}
	}
	return r
}

// failWaiting fails the inputs that wait, here and in the flow, and takes back containers that were to be started for them. Inputs that
// come later try again.
func (p *pool) failWaiting(now time.Time, result payload.Result, fx *effects) {
	p.failure = &failure{until: now, result: result}
	for _, in := range p.drain() {
		fx.finish(p.fn.ID, Outcome{in, result})
	}
	p.dropWaiting(len(p.containers))
}

// Bounds of how long containers for no input (min_containers) are held back after starts have failed.
const (
	firstHoldBack = time.Second
	lastHoldBack  = time.Minute
)

// holdBack keeps the pool from starting containers that nobody needs at once, longer with each failure in a row.
func (p *pool) holdBack(failures int) {
	p.stopRetry()
	d := min(lastHoldBack, firstHoldBack<<min(failures-1, 6))
	p.retry = p.s.d.Clock.AfterFunc(d, func() {
		var fx effects
		p.s.mu.Lock()
		p.retry = nil
		p.balance(&fx)
		p.s.mu.Unlock()
		p.s.perform(&fx)
	})
}
