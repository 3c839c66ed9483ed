package call

import (
	"context"

	"github.com/skerry-dev/skerry/gateway/item"
)

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
	rest := r.given[more:]
	lowest := uint64(0)
	for _, place := range rest {
		if place != 0 && (lowest == 0 || place < lowest) {
			lowest = place
		}
	}
	r.given = append(r.given[:0], rest...)
	before, r.before = r.before, lowest
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
