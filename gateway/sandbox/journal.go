package sandbox

import (
	"context"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/lifecycle"
)

const (
	// retryAfter is how long the journal waits after the store has refused.
	retryAfter = time.Second
	// lastWrite bounds what is written at the gateway's end.
	lastWrite = 5 * time.Second
)

// journal writes sandboxes behind: what changed since the last write goes with the next one. Its fields are guarded by the service's mutex.
type journal struct {
	s       *Service
	wake    chan struct{} // has one element when there is something to write
	work    sync.WaitGroup
	pending map[string]*entry
}

func newJournal(s *Service) *journal {
	return &journal{s: s, wake: make(chan struct{}, 1), pending: map[string]*entry{}}
}

// mark has an entry written.
func (j *journal) mark(e *entry) {
	if !e.placed {
		return // no worker has it: it may never be
	}
	j.pending[e.ID] = e
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// do does something beside the callers, who hold the mutex; what fails is logged.
func (j *journal) do(what string, f func(ctx context.Context) error) {
	j.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastWrite)
		defer cancel()
		if err := f(ctx); err != nil {
			j.s.d.Log.Warn("sandboxes: not done", "what", what, "error", err)
		}
	})
}

func (j *journal) run(ctx context.Context) error {
	for {
		select {
		case <-j.wake:
		case <-ctx.Done():
			last, cancel := lifecycle.Detach(ctx, lastWrite)
			defer cancel()
			err := j.write(last)
			j.work.Wait()
			return err
		}
		if err := j.write(ctx); err != nil && ctx.Err() == nil {
			j.s.d.Log.Error("sandboxes are not written down; trying again", "error", err)
			timer := time.NewTimer(retryAfter)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	}
}

// write writes what is pending. What ended is forgotten once it is written, here and by its worker.
func (j *journal) write(ctx context.Context) error {
	s := j.s
	s.mu.Lock()
	list := make([]Sandbox, 0, len(j.pending))
	for _, e := range j.pending {
		list = append(list, e.clone())
	}
	clear(j.pending)
	s.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	if err := s.d.Store.PutSandboxes(ctx, list); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, sb := range list {
			if e := s.entries[sb.ID]; e != nil {
				j.mark(e)
			}
		}
		return err
	}
	for i := range list {
		if list[i].State == Ended {
			j.forget(ctx, &list[i])
		}
	}
	return nil
}

// forget drops a sandbox whose end is in the store.
func (j *journal) forget(ctx context.Context, sb *Sandbox) {
	s := j.s
	if sb.Definition.Name != "" {
		if err := s.d.Store.ReleaseSandboxNames(ctx, sb.ID); err != nil {
			s.d.Log.Warn("name of a sandbox that has ended is still taken", "sandbox", sb.ID, "error", err)
		}
	}
	s.mu.Lock()
	e, l := s.entries[sb.ID], s.links[sb.WorkerID]
	if e != nil {
		delete(s.entries, sb.ID)
		e.touch() // who waits finds it in the store
	}
	s.mu.Unlock()
	if l == nil {
		return // the worker speaks of it again when it is back
	}
	j.do("have a worker forget a sandbox", func(ctx context.Context) error { return l.worker.Forget(ctx, sb.ID) })
}
