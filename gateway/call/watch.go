package call

import (
	"context"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// VanishedAfter is how long a SYNC call goes on without a session that watches it, before it is cancelled: its client has not come back.
// A call that its last client has released goes on.
const VanishedAfter = 2 * time.Minute

// watcher is a session's wish for the outputs of a call.
type watcher struct {
	session *Session
	from    uint32
	seen    *indexes // known to the client or sent; nil for SYNC calls, whose outputs come by once
	got     receipts // of a SYNC call
}

// indexes is a set of numbers that comes to have no gaps: those below next, and some beyond.
type indexes struct {
	next   uint32
	beyond map[uint32]bool
}

func newIndexes(from uint32, seen []uint32) *indexes {
	s := &indexes{next: from, beyond: map[uint32]bool{}}
	for _, i := range seen {
		s.add(i)
	}
	return s
}

func (s *indexes) has(i uint32) bool { return i < s.next || s.beyond[i] }

func (s *indexes) add(i uint32) {
	if s.has(i) {
		return
	}
	s.beyond[i] = true
	for s.beyond[s.next] {
		delete(s.beyond, s.next)
		s.next++
	}
}

// watch adds a session to a call's watchers, or returns the watcher it has. The Service's mutex is held.
func (c *callState) watch(x *Session) *watcher {
	for _, w := range c.watchers {
		if w.session == x {
			return w
		}
	}
	w := &watcher{session: x}
	if !x.gone {
		c.watchers = append(c.watchers, w)
		c.released = false
		c.expect()
		x.watched[c.id] = true
	}
	return w
}

// expect takes back the plan to cancel the call. The Service's mutex is held.
func (c *callState) expect() {
	if c.vanished != nil {
		c.vanished.Stop()
		c.vanished = nil
	}
}

// handOut gives an output to those who watch. The Service's mutex is held.
func (c *callState) handOut(o Output) {
	for _, w := range c.watchers {
		w.give(o)
	}
}

// give gives the output to the session, if it wants it, and says whether there may be room for more.
func (w *watcher) give(o Output) bool {
	switch {
	case o.Key.Index < w.from:
		return true
	case w.seen == nil:
		w.session.push(o, false)
		w.got.given = append(w.got.given, o.Place)
		return true
	case w.seen.has(o.Key.Index):
		return true
	}
	if !w.session.push(o, true) {
		return false
	}
	w.seen.add(o.Key.Index)
	return true
}

// unwatch ends a session's interest in a call; released says that the client has all it wants. The mutex is held.
func (s *Service) unwatch(x *Session, callID string, released bool) {
	delete(x.watched, callID)
	x.closeFeeds(callID)
	c, ok := s.calls[callID]
	if !ok {
		return
	}
	for i, w := range c.watchers {
		if w.session == x {
			c.watchers = append(c.watchers[:i], c.watchers[i+1:]...)
			break
		}
	}
	c.released = released && len(c.watchers) == 0
	s.drop(c)
}

// drop forgets a call that nobody watches and that has no unfinished inputs; one that has is cancelled if its client stays away. The mutex
// is held.
func (s *Service) drop(c *callState) {
	if len(c.watchers) > 0 {
		return
	}
	if len(c.unfinished) > 0 {
		s.miss(c)
		return
	}
	c.expect()
	delete(s.calls, c.id)
	s.forget(c)
}

// miss plans to cancel a call whose client has gone without a word. The mutex is held.
func (s *Service) miss(c *callState) {
	if c.released || c.cancelled || c.vanished != nil {
		return
	}
	var timer any // the plan that this is, while it stands
	c.vanished = s.d.Clock.AfterFunc(VanishedAfter, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.vanished == nil || c.vanished != timer {
			return
		}
		c.vanished, c.released = nil, true
		s.d.Log.Info("call cancelled: its client is away", "call", c.id, "for", VanishedAfter)
		s.detach("cancel a call without a client", func(ctx context.Context) error { return s.cancel(ctx, c.id, c.functionID, false) })
	})
	timer = c.vanished
}

// Watch answers with the call's state and has its outputs sent, those there are and those to come. It may be repeated, with other indexes.
func (x *Session) Watch(ctx context.Context, m Watch) {
	if err := x.watch(ctx, m); err != nil {
		x.fail(m.CallID, err)
	}
}

func (x *Session) watch(ctx context.Context, m Watch) error {
	if err := ident.Check(ident.Call, m.CallID); err != nil {
		return fmt.Errorf("call: %w", err)
	}
	s := x.s
	// A SYNC call has no record, and a SPAWN call needs its record's numbers.
	state, err := s.d.Records.Get(ctx, m.CallID)
	sync := isKind(err, fault.NotFound)
	if sync {
		state, err = s.get(ctx, m.CallID)
	}
	if err == nil {
		err = s.permit(ctx, &state)
	}
	if err != nil {
		return err
	}
	if sync {
		if s.watchSync(x, m) {
			return nil
		}
		return fault.New(fault.NotFound, "call %q: has ended, and its client wants no more of it", m.CallID)
	}
	x.add(func(f *Frame) { f.States = append(f.States, state) })
	if state.Expired {
		return nil
	}
	s.watchSpawn(x, m, state)
	return s.sendRecorded(ctx, x, m.CallID)
}

// watchSync is Watch of a SYNC call that is known here.
func (s *Service) watchSync(x *Session, m Watch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[m.CallID]
	if !ok || c.kind != Sync {
		return false
	}
	c.watch(x).from = m.FromIndex
	state := c.state()
	x.add(func(f *Frame) { f.States = append(f.States, state) })
	return true
}

func (s *Service) watchSpawn(x *Session, m Watch, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[m.CallID]
	if !ok {
		c = &callState{id: m.CallID, functionID: state.FunctionID, appID: state.AppID, kind: Spawn, createdAt: state.CreatedAt}
		s.calls[m.CallID] = c
	}
	w := c.watch(x)
	w.from, w.seen = m.FromIndex, newIndexes(m.FromIndex, m.Seen)
}

// recordPage is how many records are read at a time.
const recordPage = 256

// sendRecorded gives a session the outputs that are in SQL, as far as there is room. The watcher was there before they were read, so none is
// missed; seen keeps them from being sent twice.
func (s *Service) sendRecorded(ctx context.Context, x *Session, callID string) error {
	var from uint32
	for first := true; ; first = false {
		s.mu.Lock()
		w := s.watcher(x, callID)
		if w == nil {
			s.mu.Unlock()
			return nil
		}
		if first {
			from = w.seen.next
		}
		s.mu.Unlock()
		outputs, err := s.d.Records.Outputs(ctx, callID, from, recordPage)
		if err != nil {
			return err
		}
		s.mu.Lock()
		if w = s.watcher(x, callID); w == nil || !w.giveAll(outputs) || len(outputs) < recordPage {
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		from = outputs[len(outputs)-1].Key.Index + 1
	}
}

// watcher returns a session's watcher of a SPAWN call, or nil. The mutex is held.
func (s *Service) watcher(x *Session, callID string) *watcher {
	c, ok := s.calls[callID]
	if !ok || c.kind != Spawn {
		return nil
	}
	for _, w := range c.watchers {
		if w.session == x {
			return w
		}
	}
	return nil
}

func (w *watcher) giveAll(outputs []Output) bool {
	for _, o := range outputs {
		if !w.give(o) {
			return false
		}
	}
	return true
}

// AwaitEnd returns once all inputs of a call have ended; at once for a call that is not known any more. Who waits here does not count as a client
// of the call. Errors: fault.Unavailable; ctx's own.
func (s *Service) AwaitEnd(ctx context.Context, callID string) error {
	state, err := s.Get(ctx, callID)
	if isKind(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if ended := s.syncEnded(callID); ended != nil {
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	x := s.NewSession()
	defer x.Close()
	x.Watch(ctx, Watch{CallID: callID})
	ended := map[uint32]bool{}
	for {
		f, err := x.Next(ctx)
		if err != nil {
			return err
		}
		for _, o := range f.Outputs {
			ended[o.Key.Index] = true
		}
		for _, now := range f.States {
			state = now
		}
		if len(f.Refused) > 0 || state.Expired || len(ended) >= int(state.NumInputs) {
			return nil
		}
	}
}

// syncEnded returns a channel that is closed once a SYNC call has no unfinished inputs, or nil if there is no such call.
func (s *Service) syncEnded(callID string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[callID]
	if !ok || c.kind != Sync {
		return nil
	}
	ended := c.ended
	if ended == nil {
		ended = make(chan struct{})
		c.ended = ended
		c.tellEnd()
	}
	return ended
}

// tellEnd tells those who wait for it that a SYNC call has no unfinished inputs, if that is so. The Service's mutex is held.
func (c *callState) tellEnd() {
	if c.ended != nil && len(c.unfinished) == 0 {
		close(c.ended)
		c.ended = nil
	}
}

// resume notes that an unfinished input is about to be put again. It may end, and leave the flow, after it was found to have no output and
// before it is put: what is then delivered is looked up, and not run once more. The mutex is held.
func (c *callState) resume(index uint32) {
	if c.resumed == nil {
		c.resumed = map[uint32]bool{}
	}
	c.resumed[index] = true
}

// answerStored answers the inputs that have an output already, and returns the others.
func (s *Service) answerStored(ctx context.Context, inputs []Input) ([]Input, error) {
	var rest []Input
	for i := range inputs {
		o, err := s.d.Flow.Output(ctx, inputs[i].Key)
		switch {
		case err == nil:
			s.finishSync(o)
		case isKind(err, fault.NotFound):
			rest = append(rest, inputs[i])
		default:
			return nil, err
		}
	}
	return rest, nil
}
