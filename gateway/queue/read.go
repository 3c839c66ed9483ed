package queue

import (
	"context"
	"time"
)

// Bounds of one page of items that are read.
const (
	pageItems = 1000
	pageBytes = 1 << 20
)

// Reading says which items are read.
type Reading struct {
	QueueID, Partition string
	// After is the cursor after the last item that was read; 0: from the front.
	After uint64
	// Wait is how long to wait for the next item.
	Wait time.Duration
}

// Read hands over the items of a partition without taking them, a page at a time with the cursor after it, and those that are put while it
// waits, until f returns an error, or none comes for so long.
func (s *Service) Read(ctx context.Context, r Reading, f func(page []Item, cursor uint64) error) error {
	timer := time.NewTimer(r.Wait)
	defer timer.Stop()
	for {
		var p *partition
		var parts []part
		var changed chan struct{}
		err := s.with(ctx, r.QueueID, r.Partition, func(found *partition, _ time.Time) error {
			p = found
			if s := p.next(r.After); s.from < s.to {
				var n uint64
				parts, n = p.parts(s.from, min(pageItems, s.to-s.from), pageBytes)
				r.After = s.from + n
			}
			if len(parts) == 0 && r.Wait > 0 {
				if p.changed == nil {
					p.changed = make(chan struct{})
				}
				changed = p.changed
				p.readers++
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(parts) > 0 {
			page, err := s.collect(ctx, p, parts)
			if err == nil {
				err = f(page, r.After)
			}
			if err != nil {
				return err
			}
			timer.Reset(r.Wait)
			continue
		}
		if changed == nil {
			return nil
		}
		more := false
		select {
		case <-changed:
			more = true
		case <-timer.C:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		p.mu.Lock()
		p.readers--
		p.mu.Unlock()
		if !more {
			return err
		}
	}
}
