package call

import (
	"context"
	"slices"

	"github.com/skerry-dev/skerry/gateway/item"
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
	delete(c.resumed, o.Key.Index)
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

// How many outputs of a SYNC call are forgotten together: each time costs the flow a search.
const (
	// forgetStep is how many that a client has received are gathered while its call goes on.
	forgetStep = 2048
	// forgetAtEnd is how many a call must have had to be worth it at its end; those of smaller ones are left to their age.
	forgetAtEnd = 256
)

// receipts are which outputs of a SYNC call have reached the client of a session. The client does not say so, but it has at most MaxUnfinished
// inputs of a call in flight, and gets the outputs in the order in which the session is given them: so when it has sent n inputs, it has
// received the first n - MaxUnfinished.
type receipts struct {
	inputs   int      // sent over the session
	received int      // outputs, of which the places are not in given any more
	given    []uint64 // places of the outputs after those, in order
	before   uint64   // at the last step, all outputs with places before this one had been received; 0: there was no step
}

// sent notes n inputs more, and returns before which place outputs are not needed any more; 0: there is nothing new.
//
// Outputs are given in about the order of their places: one may be stored and be about to be given, after others with higher places. So what a
// step finds is said at the next step only, a multiple of MaxUnfinished outputs later.
func (r *receipts) sent(n int) (before uint64) {
	r.inputs += n
	more := min(r.inputs-MaxUnfinished-r.received, len(r.given))
	if more < forgetStep {
		return 0
	}
	r.received += more
	bound := slices.Max(r.given[:more]) + 1
	for _, place := range r.given[more:] {
		if place != 0 {
			bound = min(bound, place)
		}
	}
	r.given = append(r.given[:0], r.given[more:]...)
	before, r.before = r.before, bound
	return before
}

// purge is what nobody wants any more of a SYNC call.
type purge struct {
	callID  string
	items   bool
	outputs bool
	before  uint64 // only outputs with places before this one; 0: all
}

// forgetReceived has the flow forget outputs that the call's one client must have, given that it has sent n inputs more. The mutex is held.
func (s *Service) forgetReceived(c *callState, w *watcher, n int) {
	if len(c.watchers) > 1 || c.yields || w.from > 0 {
		return // outputs come in another order, or not all; they are forgotten at the end
	}
	if before := w.got.sent(n); before > 0 {
		s.purges.Add(purge{callID: c.id, outputs: true, before: before})
	}
}

// forget has the flow forget what it has of a SYNC call that is over, if its client has all it wants. The mutex is held.
func (s *Service) forget(c *callState) {
	if p := (purge{callID: c.id, items: c.yields, outputs: c.finished >= forgetAtEnd}); c.released && (p.items || p.outputs) {
		s.purges.Add(p)
	}
}

// runPurges removes outputs and items of calls.
func (s *Service) runPurges(ctx context.Context) error {
	for {
		batch, err := s.purges.Take(ctx, maxCommit)
		if err != nil {
			return err
		}
		for _, p := range batch {
			if p.items {
				if err := s.d.Flow.PurgeItems(ctx, p.callID); err != nil && ctx.Err() == nil {
					s.d.Log.Warn("items are left to their age", "call", p.callID, "limit", item.Retention, "error", err)
				}
			}
			if p.outputs {
				if err := s.d.Flow.PurgeOutputs(ctx, p.callID, p.before); err != nil && ctx.Err() == nil {
					s.d.Log.Warn("outputs are left to their age", "call", p.callID, "error", err)
				}
			}
		}
	}
}
