package queue

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Clear removes all items of a partition.
func (s *Service) Clear(ctx context.Context, queueID, name string) error {
	var cleared *partition
	var f *flight
	err := s.with(ctx, queueID, name, func(p *partition, now time.Time) error {
		p.clear(now)
		p.trim(now)
		cleared, f = p, p.last
		return nil
	})
	if err == nil {
		_, err = s.landed(ctx, cleared, f)
	}
	return err
}

// ClearAll removes the items of all partitions in one step: one record says so.
func (s *Service) ClearAll(ctx context.Context, queueID string) (err error) {
	for range attempts {
		if err = s.clearAll(ctx, queueID); err != errAgain { //nolint:errorlint // it itself
			return err
		}
	}
	return err
}

func (s *Service) clearAll(ctx context.Context, queueID string) error {
	q, err := s.open(ctx, queueID)
	if err != nil {
		return err
	}
	q.whole.Lock()
	defer q.whole.Unlock()
	if err := q.over(); err != nil {
		return err
	}
	parts := q.all()
	last, err := s.quiet(ctx, parts)
	if err != nil {
		return err
	}
	last = max(last, q.cleared)
	f := &flight{done: make(chan struct{})}
	s.d.Log.Append(&Record{QueueID: queueID, Kind: ClearAll, Expires: time.Now()}, &last, func(place uint64, err error) {
		f.place, f.err = place, err
		close(f.done)
	})
	<-f.done // whatever ctx says: what memory has is to be what the log has
	if f.err != nil {
		s.leave(q)
		if errors.Is(f.err, fault.Exists) {
			return errAgain
		}
		return f.err
	}
	q.cleared = f.place
	now := time.Now()
	for _, p := range parts {
		p.wipe(now)
	}
	return nil
}

// quiet waits for what is on its way into the log, and returns the newest place there. Nobody writes meanwhile.
func (s *Service) quiet(ctx context.Context, parts []*partition) (last uint64, err error) {
	for _, p := range parts {
		p.mu.Lock()
		f, gone := p.last, p.gone
		p.mu.Unlock()
		if gone != nil {
			continue
		}
		if _, err := s.landed(ctx, p, f); err != nil {
			return 0, err
		}
		last = max(last, f.place)
	}
	return last, nil
}

// wipe notes that the log has cleared all partitions.
func (p *partition) wipe(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone != nil {
		return
	}
	if p.length > 0 {
		p.q.count(false)
	}
	p.length = 0
	if p.loaded {
		p.empty(now)
		p.serve(now)
	}
}

// leave forgets a queue of which it is not known what its log has: the next use reads it. Nobody writes meanwhile.
func (s *Service) leave(q *open) {
	s.mu.Lock()
	if s.opens[q.id] == q {
		delete(s.opens, q.id)
	}
	s.mu.Unlock()
	q.mu.Lock()
	if q.gone == nil {
		q.gone = errAgain
	}
	q.mu.Unlock()
	for _, p := range q.all() {
		p.mu.Lock()
		p.fail(errAgain)
		p.mu.Unlock()
	}
}
