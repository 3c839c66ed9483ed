package runner

import (
	"fmt"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// interrupt is the signal that makes the runner look for Cancel and Withdraw frames.
const interrupt = int(syscall.SIGUSR1)

// armLimits sets the timer for the end of what runs. The caller holds mu; the runner has inputs.
func (s *Session) armLimits() {
	if s.cfg.Timeout > 0 {
		s.limits.arm(s.since.Add(s.cfg.Timeout), s.checkLimits)
	}
}

// checkLimits ends what has run too long or was cancelled too long ago. The limits timer calls it.
func (s *Session) checkLimits() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.fired()
	if s.finished || s.over || len(s.handed) == 0 {
		return
	}
	now := time.Now()
	if s.wide() {
		s.checkWide(now)
		return
	}
	outputs := s.endCancelled(now)
	if len(outputs) == 0 {
		if s.cfg.Timeout <= 0 || now.Before(s.since.Add(s.cfg.Timeout)) {
			s.armLimits()
			return
		}
		// Of several it is not known which one runs: the runner doesn't answer, for they were to be withdrawn long ago.
		if len(s.handed) == 1 {
			result := payload.Failed(payload.TimedOut, fmt.Sprintf("input ran longer than its timeout of %v", s.cfg.Timeout))
			outputs = append(outputs, s.end(s.handed[0], result, now))
		}
	}
	s.over = true
	s.post(func() {
		if len(outputs) > 0 {
			s.events.Outputs(outputs)
		}
		s.events.Ending(container.Overran)
	})
}

// endCancelled ends inputs that the runner has not answered for within CancelGrace, and sets the timer for others.
func (s *Session) endCancelled(now time.Time) (outputs []container.Output) {
	for _, h := range s.handed {
		if h.dead || h.cancelled.IsZero() {
			continue
		}
		if end := h.cancelled.Add(s.cfg.CancelGrace); now.Before(end) {
			s.limits.arm(end, s.checkLimits)
		} else {
			outputs = append(outputs, s.end(h, cancelled(), now))
		}
	}
	return outputs
}

// end gives an input that the runner has a result; what the runner says of it later is ignored.
func (s *Session) end(h *handed, r payload.Result, now time.Time) container.Output {
	h.dead = true
	return container.Output{Key: h.key, Result: r, Elapsed: now.Sub(s.since)}
}

// armReturns sets the timer for what waits: the first queued input, and the second that the runner has. The caller holds mu.
func (s *Session) armReturns() {
	if len(s.handed) == 0 || s.wide() {
		return
	}
	if len(s.queue) > 0 {
		s.returns.arm(s.waitsSince(s.queue[0]).Add(s.cfg.ReturnAfter), s.checkReturns)
	}
	if len(s.handed) > 1 && s.withdrawal == noWithdrawal {
		s.returns.arm(s.since.Add(s.cfg.ReturnAfter), s.checkReturns)
	}
}

// waitsSince is when a queued input began to wait behind the one that runs now.
func (s *Session) waitsSince(q queued) time.Time {
	if q.at.After(s.since) {
		return q.at
	}
	return s.since
}

// checkReturns gives back what has waited too long behind one input. The returns timer calls it.
func (s *Session) checkReturns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returns.fired()
	if s.finished || len(s.handed) == 0 {
		return
	}
	now := time.Now()
	if len(s.handed) > 1 && s.withdrawal == noWithdrawal && now.Sub(s.since) >= s.cfg.ReturnAfter {
		s.withdrawal = withdrawalDue
		s.kick(s.feed) // which writes the frame and signals
	}
	var keys []payload.Key
	for len(s.queue) > 0 && now.Sub(s.waitsSince(s.queue[0])) >= s.cfg.ReturnAfter {
		keys = append(keys, s.queue[0].Key)
		s.queue[0] = queued{}
		s.queue = s.queue[1:]
	}
	if len(keys) > 0 {
		s.post(func() { s.events.Returned(keys) })
	}
	s.armReturns()
}

// disarm stops the timers for good: from here on inputs end by TakeQueued and Running alone.
func (s *Session) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready, s.finished = false, true
	s.limits.stop()
	s.returns.stop()
}

// timerOnce is a timer that is not moved when it is armed for later than it is set: its function looks again and arms it anew. So a
// busy queue doesn't set a timer for every input. The session's lock guards it.
type timerOnce struct {
	timer   *time.Timer
	at      time.Time // zero while not set
	stopped bool
}

// arm has f called at a time, or before.
func (t *timerOnce) arm(at time.Time, f func()) {
	if t.stopped || !t.at.IsZero() && !at.Before(t.at) {
		return
	}
	t.at = at
	if t.timer == nil {
		t.timer = time.AfterFunc(time.Until(at), f)
	} else {
		t.timer.Reset(time.Until(at))
	}
}

// fired is called first by the timer's function.
func (t *timerOnce) fired() { t.at = time.Time{} }

// stop ends the timer for good.
func (t *timerOnce) stop() {
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
