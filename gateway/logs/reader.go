package logs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// reader is one Read.
type reader struct {
	s    *Service
	q    Query
	emit func([]Entry) error
	kept []Entry // the tail of the past
}

// past takes entries that were there before Read began.
func (r *reader) past(entries []Entry, _ Position) error {
	chosen, enough := r.choose(entries)
	if r.q.Tail == 0 {
		if len(chosen) > 0 {
			if err := r.emit(chosen); err != nil {
				return err
			}
		}
	} else {
		r.kept = append(r.kept, chosen...)
		if over := len(r.kept) - r.q.Tail; over > 0 {
			// Cut with slack only, or each batch would copy the whole tail.
			if over > r.q.Tail {
				r.kept = append([]Entry(nil), r.kept[over:]...)
			}
		}
	}
	if enough {
		return errEnough
	}
	return nil
}

// flush emits the tail of the past.
func (r *reader) flush() error {
	kept := r.kept
	r.kept = nil
	if over := len(kept) - r.q.Tail; r.q.Tail > 0 && over > 0 {
		kept = kept[over:]
	}
	if len(kept) == 0 {
		return nil
	}
	return r.emit(kept)
}

// choose returns the entries that are asked for, and whether those after them can't be.
func (r *reader) choose(entries []Entry) (chosen []Entry, enough bool) {
	for _, e := range entries {
		if !r.q.Until.IsZero() && !e.Time.Before(r.q.Until) {
			enough = true // entries arrive nearly in order of time; what follows is as late
			continue
		}
		if r.q.CallID != "" && e.CallID != r.q.CallID {
			continue
		}
		if r.q.Source != 0 && e.Source != r.q.Source || !strings.Contains(e.Text, r.q.Search) {
			continue
		}
		chosen = append(chosen, e)
	}
	return chosen, enough
}

// follow reads the past and what comes until the app is done and its last entry has been emitted.
func (r *reader) follow(ctx context.Context) error {
	begin, err := r.s.d.Stream.End(ctx, r.q.Selection)
	if err != nil {
		return err
	}
	done, err := r.s.d.Apps.Done(ctx, r.q.AppID)
	if err != nil {
		return err
	}
	var t target
	inner, cancel := context.WithCancelCause(ctx)
	switch {
	case r.q.CallID != "":
		done = r.partDone(inner, done, func(ctx context.Context) error { return r.s.d.Calls.AwaitEnd(ctx, r.q.CallID) })
	case r.ofSandbox():
		done = r.partDone(inner, done, func(ctx context.Context) error { return r.s.d.Sandboxes.AwaitSandboxEnd(ctx, r.q.ContainerID) })
	}
	defer cancel(nil)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() { r.awaitEnd(inner, done, &t, cancel) })
	err = r.s.d.Stream.Read(inner, r.q.Selection, true, func(entries []Entry, after Position) error {
		return r.live(entries, after, begin, &t)
	})
	if errors.Is(err, errEnough) || (errors.Is(context.Cause(inner), errEnough) && ctx.Err() == nil) {
		return r.flush()
	}
	if cause := context.Cause(inner); cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}

// live takes entries while following. Those before begin are the past.
func (r *reader) live(entries []Entry, after, begin Position, t *target) error {
	if after <= begin {
		if err := r.past(entries, after); err != nil {
			return err
		}
		if after == begin {
			if err := r.flush(); err != nil {
				return err
			}
		}
		return t.passed(after)
	}
	if err := r.flush(); err != nil {
		return err
	}
	chosen, enough := r.choose(entries)
	if len(chosen) > 0 {
		if err := r.emit(chosen); err != nil {
			return err
		}
	}
	if enough {
		return errEnough
	}
	return t.passed(after)
}

// awaitEnd waits until nothing more can come, and then ends the Read once it has passed the last entry.
func (r *reader) awaitEnd(ctx context.Context, done <-chan struct{}, t *target, cancel context.CancelCauseFunc) {
	select {
	case <-done:
	case <-ctx.Done():
		return
	}
	if err := r.drained(ctx); err != nil {
		return
	}
	end, err := r.s.d.Stream.End(ctx, r.q.Selection)
	if err != nil {
		cancel(err)
		return
	}
	if t.set(end) {
		cancel(errEnough)
	}
}

// ofSandbox says whether the output is that of one sandbox.
func (r *reader) ofSandbox() bool { return isSandbox(r.q.ContainerID) }

// partDone returns a channel that is closed when what await waits for has ended, or all of its app.
func (r *reader) partDone(ctx context.Context, app <-chan struct{}, await func(context.Context) error) <-chan struct{} {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := await(ctx); err != nil && ctx.Err() == nil {
			r.s.d.Log.Warn("logs are followed to the end of their app", "call", r.q.CallID, "container", r.q.ContainerID, "error", err)
			select {
			case <-app:
			case <-ctx.Done():
			}
		}
	}()
	go func() {
		defer close(done)
		select {
		case <-ended:
		case <-app:
		case <-ctx.Done():
		}
	}()
	return done
}

// drained returns when what has been written must have come: the app's containers say so; of a call nobody does, and it is given a moment.
func (r *reader) drained(ctx context.Context) error {
	if r.ofSandbox() {
		return r.s.closedBy(ctx, r.q.ContainerID)
	}
	if r.q.CallID == "" {
		return r.s.drained(ctx, r.q.AppID)
	}
	timer := time.NewTimer(CallGrace)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// target is the position at which a following Read is to end, once that is known.
type target struct {
	mu    sync.Mutex
	known bool
	end   Position
	at    Position
}

// passed notes how far the Read is and returns errEnough at the end.
func (t *target) passed(at Position) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = at
	if t.known && at >= t.end {
		return errEnough
	}
	return nil
}

// set says where the end is, and returns whether the Read has passed it.
func (t *target) set(end Position) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.end = true, end
	return t.at >= end
}
