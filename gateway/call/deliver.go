package call

import (
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// deliver takes an input from the flow. It blocks while the function's queue is full, which holds back the flow.
func (s *Service) deliver(ctx context.Context, d Delivery) {
	h, doubtful, cancelled, err := s.admit(ctx, &d)
	if h == nil || err != nil {
		return
	}
	in := &task.Input{Key: d.Key, Args: d.Args, Method: d.Method, QueuedAt: d.StoredAt, Behind: d.Behind, Handle: h}
	if cancelled {
		s.Finished(d.FunctionID, []task.Outcome{{Input: in, Result: cancelledByUser}})
		return
	}
	if doubtful {
		ended, err := s.ended(ctx, &d, h)
		if ended {
			return
		}
		if err != nil && ctx.Err() == nil {
			// Running it again is allowed; losing it is not.
			s.d.Log.Warn("output of a redelivered input not looked up; the input is run", "call", d.Key.CallID, "input", d.Key.Index, "error", err)
		}
	}
	s.offer(ctx, d.FunctionID, in)
}

var cancelledByUser = payload.Failed(payload.Cancelled, "input was cancelled by the user")

// offer hands the input to the dispatcher, again after a while if a store is away.
func (s *Service) offer(ctx context.Context, functionID string, in *task.Input) {
	for {
		err := s.d.Dispatcher.Offer(ctx, functionID, in)
		switch {
		case err == nil:
			s.catchUp(functionID, in)
			return
		case ctx.Err() != nil:
			return
		case isKind(err, fault.NotFound):
			s.Finished(functionID, []task.Outcome{{Input: in, Result: payload.Failed(payload.Cancelled, "input was cancelled: "+err.Error())}})
			return
		}
		s.d.Log.Warn("input not dispatched yet", "call", in.Key.CallID, "input", in.Key.Index, "error", err)
		if s.pause(ctx) != nil {
			return
		}
	}
}

// catchUp cancels an input whose call was cancelled while it was on its way to the dispatcher.
func (s *Service) catchUp(functionID string, in *task.Input) {
	h := in.Handle.(*held) //nolint:forcetypeassert // every Input here was made by deliver
	s.mu.Lock()
	cancelled := h.Withdrawn() || s.isCancelled(in.Key.CallID)
	s.mu.Unlock()
	if cancelled {
		s.d.Dispatcher.Cancel(functionID, []payload.Key{in.Key})
	}
}

// admit takes a delivery, once not too many of the function's inputs wait for their retries.
func (s *Service) admit(ctx context.Context, d *Delivery) (h *held, doubtful, cancelled bool, err error) {
	for {
		s.mu.Lock()
		room := s.crowded(d.FunctionID)
		if room == nil {
			h, doubtful, cancelled = s.take(d)
			s.mu.Unlock()
			return h, doubtful, cancelled, nil
		}
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return nil, false, false, ctx.Err()
		}
	}
}

// take notes a delivery as in hand. The mutex is held. It returns nil for one that is in hand already or has ended, and whether the input may have
// an output.
func (s *Service) take(d *Delivery) (h *held, doubtful, cancelled bool) {
	if h, ok := s.hand[d.Key]; ok {
		h.ticket = d.Ticket
		return nil, false, false
	}
	c, ok := s.calls[d.Key.CallID]
	open := false
	if ok {
		_, open = c.unfinished[d.Key.Index]
	}
	if d.Kind == Sync && !d.Earlier && !open {
		// It was registered before it was put, so it has ended: this is another delivery, from before that was said.
		d.Ticket.Ack()
		return nil, false, false
	}
	h = &held{functionID: d.FunctionID, kind: d.Kind, ticket: d.Ticket}
	s.hand[d.Key] = h
	doubtful = d.Earlier || d.Again
	if d.Kind == Spawn {
		doubtful = (doubtful || s.doubtful[d.Key] != 0) && !s.recorded[d.Key]
		if s.doubtful[d.Key] == put {
			delete(s.doubtful, d.Key)
		}
		delete(s.recorded, d.Key)
		return h, doubtful, s.cancelled[d.Key.CallID]
	}
	if !ok {
		// Its client is away; it may come back for the output.
		c = s.newSyncCall(d.Key.CallID, d.FunctionID, "")
		c.inputs++
		c.unfinished[d.Key.Index] = false
		s.miss(c)
		return h, true, false
	}
	if !open {
		c.inputs++
		c.unfinished[d.Key.Index] = false
	}
	return h, doubtful || c.resumed[d.Key.Index], c.cancelled
}

// ended deals with a delivered input that has an output.
func (s *Service) ended(ctx context.Context, d *Delivery, h *held) (bool, error) {
	if d.Kind == Sync {
		o, err := s.d.Flow.Output(ctx, d.Key)
		if err != nil {
			if isKind(err, fault.NotFound) {
				err = nil
			}
			return false, err
		}
		s.letGo(d.Key, h)
		s.finishSync(o)
		return true, nil
	}
	outputs, err := s.d.Records.Outputs(ctx, d.Key.CallID, d.Key.Index, 1)
	if err != nil || len(outputs) == 0 || outputs[0].Key != d.Key {
		return false, err
	}
	s.letGo(d.Key, h)
	return true, nil
}

// letGo acknowledges an input whose output is stored.
func (s *Service) letGo(k payload.Key, h *held) {
	s.mu.Lock()
	delete(s.hand, k)
	t := h.ticket
	s.mu.Unlock()
	t.Ack()
}

// recover puts what is pending back on its way. Nothing is delivered before, so what SQL calls pending is.
func (s *Service) recover(ctx context.Context) error {
	if err := s.reconcile(ctx, false); err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	waiting, err := s.d.Flow.Waiting(ctx, "")
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	for id := range waiting {
		if err := s.subscribe(ctx, id); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	return nil
}

// reconcile puts inputs of SPAWN calls into the flow that have no output and are not in hand: what is in the flow is not taken twice. While
// the service runs, such an input may just have ended: then it is doubtful, and looked up again when it is delivered. Then it goes page by page as
// well, for what is on its way to the flow holds up the inputs of callers who wait.
func (s *Service) reconcile(ctx context.Context, live bool) error {
	return s.eachPending(ctx, "", recordPage, func(page []Input) error {
		lost := page[:0:0]
		s.mu.Lock()
		for i := range page {
			if s.hand[page[i].Key] == nil {
				lost = append(lost, page[i])
				if live {
					s.doubtful[page[i].Key] = putting
				} else {
					s.recorded[page[i].Key] = true
				}
			}
		}
		s.mu.Unlock()
		settled := s.republish(lost, live)
		if live {
			select {
			case <-settled:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}

// doubt says how far an input is on its way to the flow that may have ended meanwhile. While it is being put, the one that was there before may be
// delivered, run and end: then the one that is being put must not run.
type doubt uint8

const (
	putting doubt = 1
	put     doubt = 2
)

// noteDoubts notes which inputs the flow has taken. What it had already is no other than what was there before.
func (s *Service) noteDoubts(inputs []Input, errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range inputs {
		k := inputs[i].Key
		switch {
		case errs != nil && isKind(errs[i], fault.Exists):
			delete(s.doubtful, k)
		case s.doubtful[k] == putting:
			s.doubtful[k] = put
		}
	}
}

// republish puts recorded inputs into the flow, doubtful ones or others; the channel is closed when it is known which it has. One that can't be
// put is left to the next reconciliation.
func (s *Service) republish(inputs []Input, doubtful bool) (settled <-chan struct{}) {
	done := make(chan struct{})
	s.d.Flow.PutInputs(inputs, func(errs []error) {
		defer close(done)
		if doubtful {
			s.noteDoubts(inputs, errs)
		}
		taken := make(map[string]bool)
		for i := range inputs {
			var err error
			if errs != nil {
				err = errs[i]
			}
			switch {
			case err == nil:
				taken[inputs[i].FunctionID] = true
			case isKind(err, fault.Exists):
			default:
				s.d.Log.Error("recorded input not in the flow yet", "call", inputs[i].Key.CallID, "input", inputs[i].Key.Index, "error", err)
			}
		}
		for id := range taken {
			s.subscribeLater(id)
		}
	})
	return done
}

// eachPending hands the unfinished inputs of a SPAWN call, or (callID empty) of all, to f, a page of a size at a time: there may be millions.
func (s *Service) eachPending(ctx context.Context, callID string, size int, f func(page []Input) error) error {
	for after := (payload.Key{}); ; {
		page, err := s.d.Records.Pending(ctx, callID, after, size)
		if err != nil {
			return err
		}
		for i := range page {
			if i > 0 && page[i].Key.CallID == page[i-1].Key.CallID { // what is remembered of them shares one text
				page[i].Key.CallID = page[i-1].Key.CallID
			}
		}
		if len(page) > 0 {
			after = page[len(page)-1].Key
			if err := f(page); err != nil {
				return err
			}
		}
		if len(page) < size {
			return nil
		}
	}
}

// stillPending returns those of some inputs of a SPAWN call that have no output.
func (s *Service) stillPending(ctx context.Context, inputs []Input) ([]Input, error) {
	wanted := make(map[payload.Key]bool, len(inputs))
	first, last := inputs[0].Key, inputs[0].Key
	for i := range inputs {
		k := inputs[i].Key
		wanted[k] = true
		first.Index, last.Index = min(first.Index, k.Index), max(last.Index, k.Index)
	}
	var rest []Input
	for {
		page, err := s.d.Records.PendingFrom(ctx, first, recordPage)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if wanted[page[i].Key] {
				rest = append(rest, page[i])
			}
		}
		if len(page) < recordPage || page[len(page)-1].Key.Index >= last.Index {
			return rest, nil
		}
		first.Index = page[len(page)-1].Key.Index + 1
	}
}
