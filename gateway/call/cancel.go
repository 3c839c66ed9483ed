package call

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// cancelRemembered is how long deliveries that were on their way when a SPAWN call was cancelled are expected.
const cancelRemembered = time.Minute

// Cancel cancels a call's unfinished inputs: each gets the output Cancelled, unless it ends otherwise first. With terminate, containers that
// run inputs of it are stopped as well. It returns a fault.NotFound for a call that is not known.
func (s *Service) Cancel(ctx context.Context, callID string, terminate bool) error {
	if err := ident.Check(ident.Call, callID); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	state, err := s.Get(ctx, callID)
	if err != nil {
		return err
	}
	return s.cancel(ctx, callID, state.FunctionID, terminate)
}

func (s *Service) cancel(ctx context.Context, callID, functionID string, terminate bool) error {
	sync := s.markCancelled(callID)
	// From here on a delivery of the call is cancelled on arrival, so the purge leaves nothing behind that could run.
	if err := s.d.Flow.PurgeCall(ctx, callID); err != nil {
		return err
	}
	var err error
	if sync {
		s.storeSync(s.unheldSync(callID))
	} else {
		err = s.cancelRecorded(ctx, callID)
	}
	s.settle(s.cancelWaiting(callID))
	s.d.Dispatcher.Cancel(functionID, s.cancelHeld(callID))
	if terminate {
		s.d.Dispatcher.Terminate(callID)
	}
	return err
}

// markCancelled says whether it is a SYNC call.
func (s *Service) markCancelled(callID string) (sync bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[callID]; ok && c.kind == Sync {
		c.cancelled = true
		return true
	}
	s.cancelled[callID] = true
	s.d.Clock.AfterFunc(cancelRemembered, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.cancelled, callID)
	})
	return false
}

// cancelHeld marks the inputs of a call that are in hand and returns them. The dispatcher may get one of them much later: it waits for room.
func (s *Service) cancelHeld(callID string) []payload.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []payload.Key
	for k, h := range s.hand {
		if k.CallID == callID {
			h.cancelled.Store(true)
			keys = append(keys, k)
		}
	}
	return keys
}

// unheldSync returns Cancelled outputs for the unfinished inputs of a SYNC call that are not in hand: they were only in the flow.
func (s *Service) unheldSync(callID string) []ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[callID]
	if !ok {
		return nil
	}
	var ends []ending
	for i := range c.unfinished {
		if k := (payload.Key{CallID: callID, Index: i}); s.hand[k] == nil {
			ends = append(ends, ending{output: Output{Key: k, Result: cancelledByUser}})
		}
	}
	return ends
}

// cancelPage is how many cancelled inputs are recorded in one transaction.
const cancelPage = 2048

// cancelRecorded records Cancelled for the unfinished inputs of a SPAWN call that are not in hand. When it returns that is on disk: a crash does
// not bring them back.
func (s *Service) cancelRecorded(ctx context.Context, callID string) error {
	defer s.lookAgain(callID)
	return s.eachPending(ctx, callID, cancelPage, func(page []Input) error {
		outputs := make([]Output, 0, len(page))
		s.mu.Lock()
		for i := range page {
			if k := page[i].Key; s.hand[k] == nil {
				outputs = append(outputs, Output{Key: k, Result: cancelledByUser})
				delete(s.recorded, k)
				delete(s.doubtful, k)
			}
		}
		s.mu.Unlock()
		if len(outputs) == 0 {
			return nil
		}
		return s.d.Records.Finish(ctx, s.d.Clock.Now(), outputs) // of those that have just ended otherwise it stores nothing
	})
}

// lookAgain has the sessions that watch a SPAWN call look at its records.
func (s *Service) lookAgain(callID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[callID]; ok && c.kind == Spawn {
		for _, w := range c.watchers {
			w.session.fallBehind(callID)
		}
	}
}

// abandon cancels a call that was refused, if anything of it is here and nobody else watches it.
func (s *Service) abandon(callID string) {
	s.mu.Lock()
	c, ok := s.calls[callID]
	ok = ok && c.kind == Sync && len(c.unfinished) > 0 && len(c.watchers) == 0
	s.mu.Unlock()
	if !ok {
		return
	}
	s.detach("cancel a refused call", func(ctx context.Context) error { return s.cancel(ctx, callID, c.functionID, false) })
}

// StopApp cancels the app's unfinished inputs and stops its containers. The app is to be marked as stopped before, so that none of its
// functions is found any more.
func (s *Service) StopApp(ctx context.Context, appID string) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	functionIDs := s.d.Dispatcher.StopApp(appID)
	gone := make(map[string]bool, len(functionIDs))
	var err error
	for _, id := range functionIDs {
		gone[id] = true
		err = errors.Join(err, s.unsubscribe(id))
	}
	for _, c := range s.syncCalls(gone) {
		err = errors.Join(err, s.cancel(ctx, c.CallID, c.FunctionID, false))
	}
	spawned, perr := s.d.Records.PendingOfApp(ctx, appID)
	err = errors.Join(err, perr)
	for _, id := range spawned {
		state, gerr := s.d.Records.Get(ctx, id)
		if gerr != nil {
			err = errors.Join(err, gerr)
			continue
		}
		err = errors.Join(err, s.cancel(ctx, id, state.FunctionID, false))
	}
	for _, id := range functionIDs {
		err = errors.Join(err, s.d.Flow.PurgeFunction(ctx, id))
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, err)
	}
	return nil
}

// syncCalls returns the SYNC calls of functions.
func (s *Service) syncCalls(functions map[string]bool) []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []State
	for _, c := range s.calls {
		if c.kind == Sync && functions[c.functionID] {
			list = append(list, c.state())
		}
	}
	return list
}
