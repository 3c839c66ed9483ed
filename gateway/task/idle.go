package task

import "time"

// ForgetIdle forgets functions that have not been asked for since it was called last and have nothing to run, no containers and none to keep, but
// for those that are to be kept. They are looked up again when they are asked for.
func (s *Scheduler) ForgetIdle(keep map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.pools {
		quiet := len(p.containers) == 0 && p.backlog() == 0 && len(p.offered) == 0 && p.retry == nil && p.limits().Min == 0
		if !p.used && quiet && !p.stopped && !keep[id] {
			p.idled = true
			p.stopTimers()
			delete(s.pools, id)
		}
		p.used = false
	}
}

// setIdle plans the stop of containers that have been idle for as long as scaledown_window and were not wanted in that time. The timer is
// not moved when one of them gets work: it finds out when it fires, for inputs are many and timers cost.
func (p *pool) setIdle(wanted int) {
	now := p.s.d.Clock.Now()
	most, falls := p.recent.Note(now, wanted, p.window())
	if p.idle != nil {
		return
	}
	at := falls
	switch live := p.live(); {
	case live > most:
		since := p.firstIdle()
		if since.IsZero() {
			return
		}
		at = since.Add(p.window())
	case live <= wanted || at.IsZero():
		return
	}
	p.idle = p.s.d.Clock.AfterFunc(max(0, at.Sub(now)), p.idleExpired)
}

// firstIdle is since when the container is idle that has been so for longest; zero: none is.
func (p *pool) firstIdle() (since time.Time) {
	for _, c := range p.containers {
		if c.state == ready && len(c.inputs) == 0 && (since.IsZero() || c.idleSince.Before(since)) {
			since = c.idleSince
		}
	}
	return since
}

func (p *pool) window() time.Duration { return p.fn.Definition.Autoscaler.ScaledownWindow }

// idleExpired stops the containers that have been idle for too long and are not wanted.
func (p *pool) idleExpired() {
	var fx effects
	p.s.mu.Lock()
	defer func() {
		p.s.mu.Unlock()
		p.s.perform(&fx)
	}()
	p.idle = nil
	if p.stopped || p.s.closing {
		return
	}
	wanted, _ := p.wanted()
	now := p.s.d.Clock.Now()
	most, _ := p.recent.Note(now, wanted, p.window())
	expired := now.Add(-p.window())
	excess := p.live() - most
	for _, c := range append([]*Container(nil), p.containers...) {
		if excess > 0 && c.state == ready && len(c.inputs) == 0 && !c.idleSince.After(expired) {
			p.s.halt(c, true)
			excess--
		}
	}
	p.balance(&fx)
}
