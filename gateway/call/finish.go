package call

import (
	"context"

	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

var _ task.Sink = (*Service)(nil)

// Finished implements task.Sink: outcomes that are not followed by a retry are stored, then the inputs are acknowledged to the flow, then
// the outputs go to those who wait.
func (s *Service) Finished(functionID string, outcomes []task.Outcome) {
	ends := make([]ending, 0, len(outcomes))
	for i := range outcomes {
		o := &outcomes[i]
		e := ending{Output{Key: o.Input.Key, Result: o.Result, ContainerID: o.Input.ContainerID}, o.Input.Handle.(*held)} //nolint:forcetypeassert // every Input here was made by deliver
		if retryable(o.Result.Status) {
			s.failures.Add(failed{functionID, o.Input, e})
		} else {
			ends = append(ends, e)
		}
	}
	s.settle(ends)
}

// settle stores the outcomes of inputs in hand: of generators after their items.
func (s *Service) settle(ends []ending) {
	sync := make([]ending, 0, len(ends))
	for _, e := range ends {
		if e.held.kind == Spawn {
			s.ends.Add(e)
			continue
		}
		if r := &e.output.Result; r.Generated || r.Status != payload.Success {
			if stream := s.yielding(e.output.Key, r.Generated); stream != nil {
				stream.End(func(last uint64) { s.storeSync([]ending{finished(e, last)}) })
				continue
			}
		}
		sync = append(sync, e)
	}
	s.storeSync(sync)
}

// storeSync puts outputs of SYNC calls into the flow.
func (s *Service) storeSync(ends []ending) {
	if len(ends) == 0 {
		return
	}
	outputs := make([]Output, len(ends))
	for i := range ends {
		outputs[i] = ends[i].output
	}
	s.d.Flow.PutOutputs(outputs, func(errs []error) { s.storedSync(ends, outputs, errs) })
}

// storedSync goes on when the flow has answered.
func (s *Service) storedSync(ends []ending, outputs []Output, errs []error) {
	s.acknowledge(ends)
	var elsewhere []payload.Key
	s.mu.Lock()
	for i := range outputs {
		o := outputs[i]
		var err error
		if errs != nil {
			err = errs[i]
		}
		switch {
		case err == nil:
			s.closeSync(o)
		case isKind(err, fault.Exists):
			if s.open(o.Key) {
				elsewhere = append(elsewhere, o.Key)
			}
		default:
			// It is not safe, but it is here: who waits gets it. Who has left finds nothing and has the input run again.
			s.d.Log.Error("output not stored", "call", o.Key.CallID, "input", o.Key.Index, "error", err)
			s.closeSync(o)
		}
	}
	s.mu.Unlock()
	for _, k := range elsewhere {
		s.handOutStored(k)
	}
}

// acknowledge lets the flow forget inputs.
func (s *Service) acknowledge(ends []ending) {
	tickets := make([]Ticket, 0, len(ends))
	s.mu.Lock()
	for i := range ends {
		if h := ends[i].held; h != nil {
			delete(s.hand, ends[i].output.Key)
			tickets = append(tickets, h.ticket)
		}
	}
	s.mu.Unlock()
	for _, t := range tickets {
		t.Ack()
	}
}

// open says whether an input of a SYNC call is unfinished. The mutex is held.
func (s *Service) open(k payload.Key) bool {
	c, ok := s.calls[k.CallID]
	if !ok {
		return false
	}
	_, open := c.unfinished[k.Index]
	return open
}

// handOutStored gives out the output that another attempt has stored.
func (s *Service) handOutStored(k payload.Key) {
	s.detach("look up an output", func(ctx context.Context) error {
		o, err := s.d.Flow.Output(ctx, k)
		if err == nil {
			s.finishSync(o)
		}
		return err
	})
}

// finishSync gives out the stored output of an input of a SYNC call, unless it has been given out.
func (s *Service) finishSync(o Output) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeSync(o)
}

// closeSync is finishSync with the mutex held.
func (s *Service) closeSync(o Output) {
	c, ok := s.calls[o.Key.CallID]
	if !ok {
		return
	}
	wanted, open := c.unfinished[o.Key.Index]
	if !open {
		return
	}
	delete(c.unfinished, o.Key.Index)
	c.finished++
	c.tellEnd()
	s.traces.Finish(o.Key, o.Result.Status, o.ContainerID)
	if wanted {
		c.wanted--
		c.handOut(o)
	}
	s.drop(c)
}

// runEnds records outputs of SPAWN calls, as many as wait in one transaction.
func (s *Service) runEnds(ctx context.Context) error {
	for {
		batch, err := s.ends.Take(ctx, 4*maxCommit)
		if err != nil {
			return err
		}
		for {
			err := s.recordEnds(ctx, batch)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.d.Log.Error("outputs not recorded; trying again", "count", len(batch), "error", err)
			if err := s.pause(ctx); err != nil {
				return err
			}
		}
		s.acknowledge(batch)
		s.mu.Lock()
		for i := range batch {
			if c, ok := s.calls[batch[i].output.Key.CallID]; ok {
				c.handOut(batch[i].output)
			}
		}
		s.mu.Unlock()
	}
}

// recordEnds stores outputs, with what is too large for a row as blobs.
func (s *Service) recordEnds(ctx context.Context, batch []ending) error {
	outputs := make([]Output, len(batch))
	for i := range batch {
		outputs[i] = batch[i].output
		r := &outputs[i].Result
		var err error
		if r.Value, err = s.shrink(ctx, r.Value); err != nil {
			return err
		}
		if r.Error != nil && r.Error.Exception != nil {
			e := *r.Error
			if e.Exception, err = s.shrink(ctx, e.Exception); err != nil {
				return err
			}
			r.Error = &e
		}
	}
	return s.d.Records.Finish(ctx, s.d.Clock.Now(), outputs)
}
