package runner

import (
	"slices"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// What is handed to the runner behind the input that it works on.
const (
	// maxHanded is how many inputs the runner has at most.
	maxHanded = 32
	// fewHanded is how few it has when Submit hands it more: not each for itself.
	fewHanded = maxHanded / 2
	// shortInput is how long inputs may take on average for any to be handed ahead.
	shortInput = time.Millisecond
	// quietAhead is how long the runner may have given no output for any to be handed ahead: the input it has may be a slow one.
	quietAhead = 5 * time.Millisecond
	// smallInput is how large the inputs may be that the runner has, in all, where there are several or the reading goroutine writes them.
	// The socket's buffer holds this much, so the write doesn't wait.
	smallInput = 32 << 10
)

// Submit queues inputs; they are run one at a time and in order. An input whose key is queued or handed over already is dropped.
func (s *Session) Submit(inputs []container.Input) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range inputs {
		if !s.has(in.Key) {
			s.queue = append(s.queue, queued{Input: in, at: now})
		}
	}
	if s.wide() {
		s.kick(s.feed)
		return
	}
	if s.ready && (len(s.handed) == 0 || len(s.handed) <= fewHanded && s.fits(now)) {
		s.kick(s.feed)
	}
	s.armReturns()
}

func (s *Session) has(k payload.Key) bool { return s.find(k) != nil || s.position(k) >= 0 }

func (s *Session) position(k payload.Key) int {
	return slices.IndexFunc(s.queue, func(q queued) bool { return q.Key == k })
}

// find returns the input that the runner has under a key, or nil.
func (s *Session) find(k payload.Key) *handed {
	for _, h := range s.handed {
		if h.key == k {
			return h
		}
	}
	return nil
}

// Cancel cancels inputs. A queued one gets its Cancelled output at once. One that the runner has gets it when the runner answers, which
// interrupts it if it has begun, or when Config.CancelGrace is over. Keys that are neither are passed over, as are all when Run has ended.
func (s *Session) Cancel(keys []payload.Key) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return
	}
	var outputs []container.Output
	for _, k := range keys {
		if i := s.position(k); i >= 0 {
			s.queue = slices.Delete(s.queue, i, i+1)
			outputs = append(outputs, container.Output{Key: k, Result: cancelled()})
		} else if h := s.find(k); h != nil && h.cancelled.IsZero() && !h.dead {
			h.cancelled = now
			s.limits.arm(now.Add(s.cfg.CancelGrace), s.checkLimits)
			s.kick(s.feed) // which writes the frame and signals
		}
	}
	if len(outputs) > 0 {
		s.post(func() { s.events.Outputs(outputs) })
	}
}

func cancelled() payload.Result { return payload.Failed(payload.Cancelled, "the input was cancelled") }

// TakeQueued removes and returns inputs that have not been handed to the runner.
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

// Running returns the inputs that have been handed to the runner and have no output. One has begun; of several, each may have.
func (s *Session) Running() []payload.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []payload.Key
	for _, h := range s.handed {
		if !h.dead {
			keys = append(keys, h.key)
		}
	}
	return keys
}

// fits says whether the first input of the queue may be handed over now.
func (s *Session) fits(now time.Time) bool {
	switch {
	case s.wide() || !s.ready || s.over || s.withdrawal != noWithdrawal || len(s.queue) == 0:
		return false
	case len(s.handed) == 0:
		return true
	}
	in := &s.queue[0].Input
	return !s.slow && s.average > 0 && s.average < shortInput && now.Sub(s.since) < quietAhead &&
		len(s.handed) < maxHanded && !s.handed[0].alone && !alone(in) && s.handedBytes+len(in.Args.Inline) <= smallInput
}

// alone says whether an input is not to share the runner with others: a large one, for which there is no room, and one that was lost before.
// If it is that one that brings runners down, it brings down nobody else, and gets the blame.
func alone(in *container.Input) bool {
	return in.Attempt > 0 || in.Args.Blob != nil || len(in.Args.Inline) > smallInput
}

// next takes the inputs to hand over now. Small leaves those whose writing may wait.
func (s *Session) next(small bool) []container.Input {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch []container.Input
	for s.fits(now) {
		in := s.queue[0].Input
		if small && (in.Args.Blob != nil || len(in.Args.Inline) > smallInput) {
			break
		}
		s.queue[0] = queued{} // lets go of the payload
		s.queue = s.queue[1:]
		if len(s.handed) == 0 {
			s.since = now
			s.armLimits()
		}
		s.handed = append(s.handed, &handed{key: in.Key, size: len(in.Args.Inline), alone: alone(&in)})
		s.handedBytes += len(in.Args.Inline)
		batch = append(batch, in)
	}
	if len(batch) > 0 {
		s.armReturns()
	}
	return batch
}

// take removes an input from those that the runner has. Nil means that it has none of this key.
func (s *Session) take(k payload.Key) *handed {
	for i, h := range s.handed {
		if h.key == k {
			s.handed = slices.Delete(s.handed, i, i+1)
			s.handedBytes -= h.size
			s.freeUnit(h)
			return h
		}
	}
	return nil
}

// weight is how much the last outputs say about how long the next input takes.
const weight = 4

// progress leaves outputs that have come to be delivered, each with how long its input ran: what the runner says, as far as it can be true,
// or each its part of the time since the last progress.
func (s *Session) progress(outputs []container.Output) {
	if len(outputs) == 0 {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending, s.lastItems = append(s.pending, func() { s.events.Outputs(outputs) }), nil
	if s.wide() {
		return // each says how long it took
	}
	total := now.Sub(s.since)
	part := total / time.Duration(len(outputs))
	var sum time.Duration
	for i := range outputs {
		o := &outputs[i]
		if o.Elapsed <= 0 || o.Elapsed > total {
			o.Elapsed = part
		}
		sum += o.Elapsed
	}
	if !s.moved {
		return // what ran still runs; these had not begun
	}
	s.moved = false
	mean := max(sum/time.Duration(len(outputs)), 1)
	if s.average == 0 {
		s.average = mean
	}
	s.average += (mean - s.average) / weight
	s.since = now
	if len(s.handed) > 0 {
		s.armLimits()
		s.armReturns()
	}
}
