package call

import (
	"context"
	"errors"
)

// subscribing is a function's subscription, or the attempt to make it. Done and again are constant, sub and err from when done is closed; the rest is
// guarded by the Service's mutex.
type subscribing struct {
	done  chan struct{} // closed when sub or err is set
	sub   Subscription
	err   error
	again bool // inputs may have been delivered to a subscription before, and have ended

	used    bool          // since it was last looked at
	leaving chan struct{} // closed when the subscription has ended, which has begun; nil: it has not
	wanted  bool          // while it ends
}

// subscribe has the function's inputs delivered, if they are not yet.
func (s *Service) subscribe(ctx context.Context, functionID string) error {
	for {
		s.mu.Lock()
		w, ok := s.subs[functionID]
		if !ok {
			w = &subscribing{done: make(chan struct{})}
			s.subs[functionID] = w
		}
		w.used = true
		leaving := w.leaving
		s.mu.Unlock()
		switch {
		case leaving != nil:
			select {
			case <-leaving:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		case !ok:
			s.begin(functionID, w)
		}
		select {
		case <-w.done:
			return w.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// begin makes the subscription.
func (s *Service) begin(functionID string, w *subscribing) {
	s.mu.Lock()
	ctx := s.group.Context() // the service's: others wait for this too
	s.mu.Unlock()
	w.sub, w.err = s.d.Flow.Subscribe(ctx, functionID, func(d Delivery) {
		d.Again = d.Again || w.again
		s.deliver(ctx, d)
	})
	if w.err != nil {
		s.mu.Lock()
		if s.subs[functionID] == w {
			delete(s.subs, functionID)
		}
		s.mu.Unlock()
	}
	close(w.done)
}

// subscribeLater subscribes to a function, whose inputs have just been stored, from a goroutine that must not block.
func (s *Service) subscribeLater(functionID string) {
	s.mu.Lock()
	w, ok := s.subs[functionID]
	if ok {
		w.wanted = true // in case it ends: that was perhaps before the input was there
	}
	s.mu.Unlock()
	select {
	case <-s.running:
	default:
		return // recover subscribes to all
	}
	if !ok {
		s.detach("subscribe", func(ctx context.Context) error { return s.subscribe(ctx, functionID) })
	}
}

// unsubscribe ends the deliveries of a function.
func (s *Service) unsubscribe(functionID string) error {
	s.mu.Lock()
	w, ok := s.subs[functionID]
	delete(s.subs, functionID)
	s.mu.Unlock()
	if !ok {
		return nil
	}
	<-w.done
	s.mu.Lock()
	leaving := w.leaving
	s.mu.Unlock()
	if leaving != nil {
		<-leaving
		return nil
	}
	if w.sub == nil {
		return nil
	}
	return w.sub.Close()
}

func (s *Service) closeSubscriptions() error {
	s.mu.Lock()
	var ids []string
	for id := range s.subs {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	var err error
	for _, id := range ids {
		err = errors.Join(err, s.unsubscribe(id))
	}
	return err
}

// forgetIdle ends the subscriptions of functions that nobody has used since the last time and that have nothing under way, and has the dispatcher
// forget them: parameters of classes make many functions, and most of them are called for a while only.
func (s *Service) forgetIdle(ctx context.Context) error {
	var err error
	for _, id := range s.idle() {
		err = errors.Join(err, s.leaveFunction(ctx, id))
	}
	s.mu.Lock()
	keep := make(map[string]bool, len(s.subs))
	for id := range s.subs {
		keep[id] = true
	}
	s.mu.Unlock()
	s.d.Dispatcher.ForgetIdle(keep)
	return err
}

// idle returns the functions that were not used since the last time, and marks the others for the next.
func (s *Service) idle() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	busy := map[string]bool{}
	for _, h := range s.hand {
		busy[h.functionID] = true
	}
	for _, c := range s.calls {
		if len(c.unfinished) > 0 {
			busy[c.functionID] = true
		}
	}
	var ids []string
	for id, w := range s.subs {
		if !w.used && !busy[id] {
			ids = append(ids, id)
		}
		w.used = false
	}
	return ids
}

// leaveFunction ends a function's subscription, and begins another if it turns out that there are inputs for it: they may come at any moment.
func (s *Service) leaveFunction(ctx context.Context, functionID string) error {
	s.mu.Lock()
	w, ok := s.subs[functionID]
	if !ok || w.used || w.leaving != nil {
		s.mu.Unlock()
		return nil
	}
	select {
	case <-w.done:
	default:
		s.mu.Unlock()
		return nil
	}
	w.leaving, w.wanted = make(chan struct{}), false
	s.mu.Unlock()
	err := w.sub.Close()
	// What was delivered and not acknowledged is still in the flow, and so is what came meanwhile.
	waiting, werr := s.d.Flow.Waiting(ctx, functionID)
	s.mu.Lock()
	var next *subscribing
	if s.subs[functionID] == w { // else its app has been stopped
		delete(s.subs, functionID)
		if w.wanted || werr != nil || len(waiting) > 0 {
			next = &subscribing{done: make(chan struct{}), again: true, used: true}
			s.subs[functionID] = next
		}
	}
	close(w.leaving)
	s.mu.Unlock()
	if next == nil {
		return errors.Join(err, werr)
	}
	s.begin(functionID, next)
	return errors.Join(err, werr, next.err)
}
