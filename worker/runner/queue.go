package runner

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// Submit queues inputs; they are run one at a time and in order. An input whose key is queued or running already is dropped.
func (s *Session) Submit(inputs []container.Input) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range inputs {
		if !s.has(in.Key) {
			s.queue = append(s.queue, queued{Input: in, at: now})
		}
	}
	if s.running != nil {
		s.armReturns()
	} else if s.ready {
		s.kick(s.feed)
	}
}

func (s *Session) has(k payload.Key) bool {
	return s.running != nil && s.running.key == k || s.position(k) >= 0
}

func (s *Session) position(k payload.Key) int {
	return slices.IndexFunc(s.queue, func(q queued) bool { return q.Key == k })
}

// Cancel cancels inputs. A queued one gets its Cancelled output at once. The running one is interrupted, and gets its output when the
// runner answers or when Config.CancelGrace is over. Keys that are neither are passed over.
func (s *Session) Cancel(keys []payload.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var outputs []container.Output
	for _, k := range keys {
		if i := s.position(k); i >= 0 {
			s.queue = slices.Delete(s.queue, i, i+1)
			outputs = append(outputs, container.Output{Key: k, Result: cancelled()})
		} else if r := s.running; r != nil && r.key == k && r.cancelled.IsZero() && !r.dead {
			r.cancelled = time.Now()
			s.limits.arm(r.cancelled.Add(s.cfg.CancelGrace), s.checkLimits)
			s.kick(s.feed) // which writes the frame and signals
		}
	}
	if len(outputs) > 0 {
		s.post(func() { s.events.Outputs(outputs) })
	}
}

func cancelled() payload.Result { return payload.Failed(payload.Cancelled, "the input was cancelled") }

// TakeQueued removes and returns inputs that have not begun.
func (s *Session) TakeQueued() []payload.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]payload.Key, 0, len(s.queue))
	for _, q := range s.queue {
		keys = append(keys, q.Key)
	}
	s.queue = nil
	return keys
}

// Running returns the inputs that have begun and have no output.
func (s *Session) Running() []payload.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil || s.running.dead {
		return nil
	}
	return []payload.Key{s.running.key}
}

// next takes the next input to hand over, if the runner is free.
func (s *Session) next(acceptable func(container.Input) bool) (container.Input, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready || s.running != nil || len(s.queue) == 0 || !acceptable(s.queue[0].Input) {
		return container.Input{}, false
	}
	in := s.queue[0].Input
	s.queue[0] = queued{} // lets go of the payload
	s.queue = s.queue[1:]
	s.running = &running{key: in.Key, at: time.Now()}
	if s.cfg.Timeout > 0 {
		s.limits.arm(s.running.at.Add(s.cfg.Timeout), s.checkLimits)
	}
	if len(s.queue) > 0 {
		s.armReturns()
	}
	return in, true
}

// take ends the running input if it has the key, and says how long it ran. Dead means that its output has been given before.
func (s *Session) take(k payload.Key) (r running, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil || s.running.key != k {
		return running{}, false
	}
	r, s.running = *s.running, nil
	return r, true
}

// checkLimits ends the running input if it has run too long or was cancelled too long ago. The limits timer calls it.
func (s *Session) checkLimits() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.fired()
	r := s.running
	if r == nil || r.dead {
		return
	}
	now := time.Now()
	var result payload.Result
	if end := r.cancelled.Add(s.cfg.CancelGrace); !r.cancelled.IsZero() && !now.Before(end) {
		result = cancelled()
	} else if end := r.at.Add(s.cfg.Timeout); s.cfg.Timeout > 0 && !now.Before(end) {
		result = payload.Failed(payload.TimedOut, fmt.Sprintf("input ran longer than its timeout of %v", s.cfg.Timeout))
	} else {
		if !r.cancelled.IsZero() {
			s.limits.arm(r.cancelled.Add(s.cfg.CancelGrace), s.checkLimits)
		}
		if s.cfg.Timeout > 0 {
			s.limits.arm(end, s.checkLimits)
		}
		return
	}
	r.dead = true
	output := container.Output{Key: r.key, Result: result, Elapsed: now.Sub(r.at)}
	s.post(func() {
		s.events.Outputs([]container.Output{output})
		s.events.Overran(output.Key)
	})
}

// armReturns sets the timer for the first queued input. The caller holds mu; something runs and something is queued.
func (s *Session) armReturns() {
	if len(s.queue) > 0 {
		s.returns.arm(s.waitsSince(s.queue[0]).Add(s.cfg.ReturnAfter), s.checkReturns)
	}
}

// waitsSince is when an input began to wait behind the one that runs now.
func (s *Session) waitsSince(q queued) time.Time {
	if q.at.After(s.running.at) {
		return q.at
	}
	return s.running.at
}

// checkReturns gives back what has waited too long behind the running input. The returns timer calls it.
func (s *Session) checkReturns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returns.fired()
	if s.running == nil {
		return
	}
	now := time.Now()
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

func (s *Session) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = false
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

// interrupt is the signal that makes the runner look for a Cancel frame.
const interrupt = int(syscall.SIGUSR1)
