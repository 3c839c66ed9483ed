package call

import (
	"context"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Bounds of what waits for its retry, of one function; while one is passed, the flow is held back.
const (
	maxRetrying      = 10_000
	maxRetryingBytes = 64 << 20
)

// retrying is the inputs of a function that wait for their retries, or for room in the function's queue after that.
type retrying struct {
	count, bytes int
	due          []*task.Input // whose delay is over
	offering     bool          // a goroutine offers those that are due
	room         chan struct{} // closed when there is room; nil: nobody waits
}

// failed is an outcome that may be followed by a retry.
type failed struct {
	functionID string
	input      *task.Input
	ending
}

// retryable says whether an outcome is user code's failure.
func retryable(s payload.Status) bool {
	return s == payload.Failure || s == payload.TimedOut || s == payload.OutOfMemory || s == payload.StartFailure
}

// runFailures decides which failed inputs are run again; the others have ended.
func (s *Service) runFailures(ctx context.Context) error {
	for {
		batch, err := s.failures.Take(ctx, maxCommit)
		if err != nil {
			return err
		}
		known := map[string]*function.Function{}
		final := make([]ending, 0, len(batch))
		for i := range batch {
			f := &batch[i]
			fn, ok := known[f.functionID]
			if !ok {
				if fn, err = s.policy(ctx, f.functionID); err != nil {
					return err
				}
				known[f.functionID] = fn
			}
			if !s.retry(f, fn) {
				final = append(final, f.ending)
			}
		}
		s.settle(final)
	}
}

// policy returns the function as it is now, or nil if it is gone.
func (s *Service) policy(ctx context.Context, functionID string) (*function.Function, error) {
	for {
		fn, err := s.d.Dispatcher.Function(ctx, functionID)
		switch {
		case err == nil:
			return fn, nil
		case isKind(err, fault.NotFound):
			return nil, nil //nolint:nilnil // there is none, and that is no error
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		s.d.Log.Warn("retries wait for the function's policy", "function", functionID, "error", err)
		if err := s.pause(ctx); err != nil {
			return nil, err
		}
	}
}

// retry plans another run, if there is to be one.
func (s *Service) retry(f *failed, fn *function.Function) bool {
	if fn == nil || fn.Definition.Retries == nil || yields(&fn.Definition, f.input.Method) {
		return false
	}
	policy, h, k := fn.Definition.Retries, f.held, f.output.Key
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hand[k] != h || h.failures >= policy.Max || h.Withdrawn() || s.isCancelled(k.CallID) {
		return false
	}
	h.failures++
	in := &task.Input{Key: k, Args: f.input.Args, Method: f.input.Method, Attempt: f.input.Attempt, Handle: h}
	h.waiting = in
	r, ok := s.retrying[f.functionID]
	if !ok {
		r = &retrying{}
		s.retrying[f.functionID] = r
	}
	r.count++
	r.bytes += len(in.Args.Inline)
	h.timer = s.d.Clock.AfterFunc(policy.Delay(h.failures), func() { s.isDue(h, in) })
	return true
}

// isDue has an input offered whose delay is over, unless it was cancelled meanwhile.
func (s *Service) isDue(h *held, in *task.Input) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.waiting != in {
		return
	}
	h.waiting, h.timer = nil, nil
	r := s.retrying[h.functionID]
	r.due = append(r.due, in)
	if !r.offering {
		r.offering = true
		s.work.Add(work{"offer retries", func(ctx context.Context) error { return s.offerDue(ctx, h.functionID, r) }})
	}
}

// offerDue offers a function's inputs that are due, until there are no more.
func (s *Service) offerDue(ctx context.Context, functionID string, r *retrying) error {
	for {
		s.mu.Lock()
		if len(r.due) == 0 {
			r.offering, r.due = false, nil
			s.mu.Unlock()
			return nil
		}
		in := r.due[0]
		r.due[0] = nil
		r.due = r.due[1:]
		s.mu.Unlock()
		s.mu.Lock()
		cancelled := in.Handle.(*held).Withdrawn() || s.isCancelled(in.Key.CallID) //nolint:forcetypeassert // every Input here was made by deliver
		s.mu.Unlock()
		if cancelled {
			s.Finished(functionID, []task.Outcome{{Input: in, Result: cancelledByUser}})
			s.left(functionID, in)
			continue
		}
		// Accepted now, as far as failed starts are concerned: this is a new try.
		in.QueuedAt, in.Behind = s.d.Clock.Now(), s.behind(functionID)
		s.offer(ctx, functionID, in)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.left(functionID, in)
	}
}

// left is leave for those who do not hold the mutex.
func (s *Service) left(functionID string, in *task.Input) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(functionID, in)
}

// leave notes that an input does not wait any more. The mutex is held.
func (s *Service) leave(functionID string, in *task.Input) {
	r := s.retrying[functionID]
	r.count--
	r.bytes -= len(in.Args.Inline)
	if r.room != nil && r.count < maxRetrying && r.bytes < maxRetryingBytes {
		close(r.room)
		r.room = nil
	}
	if r.count == 0 {
		delete(s.retrying, functionID)
	}
}

// crowded returns what to wait for before more inputs of a function are taken; nil: there is room. The mutex is held.
func (s *Service) crowded(functionID string) <-chan struct{} {
	r, ok := s.retrying[functionID]
	if !ok || r.count < maxRetrying && r.bytes < maxRetryingBytes {
		return nil
	}
	if r.room == nil {
		r.room = make(chan struct{})
	}
	return r.room
}

// cancelWaiting ends the inputs of a call that wait for their retries.
func (s *Service) cancelWaiting(callID string) []ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ends []ending
	for k, h := range s.hand {
		if k.CallID != callID || h.waiting == nil {
			continue
		}
		h.timer.Stop()
		s.leave(h.functionID, h.waiting)
		h.waiting, h.timer = nil, nil
		ends = append(ends, ending{Output{Key: k, Result: cancelledByUser}, h})
	}
	return ends
}

// isCancelled says whether a call has been cancelled. The mutex is held.
func (s *Service) isCancelled(callID string) bool {
	c, ok := s.calls[callID]
	return s.cancelled[callID] || ok && c.cancelled
}

// behind returns about how many inputs of a function wait in the flow.
func (s *Service) behind(functionID string) int {
	s.mu.Lock()
	w, ok := s.subs[functionID]
	s.mu.Unlock()
	if !ok {
		return 0
	}
	select {
	case <-w.done:
	default:
		return 0
	}
	if w.sub == nil {
		return 0
	}
	return w.sub.Pending()
}
