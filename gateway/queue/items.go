package queue

import (
	"container/list"
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Request is one that is done once, however often it is asked.
type Request struct {
	QueueID, Partition string
	// ID is 22 of [0-9A-Za-z].
	ID string
	// Wait is how long to wait; 0: not at all.
	Wait time.Duration
}

// Put puts items at the end of a partition, all or none, and returns false if there was no room. ttl is how long the partition lives then.
// Errors: fault.Exhausted (too many partitions), fault.NotFound (deleted meanwhile), fault.Unavailable (ask again).
func (s *Service) Put(ctx context.Context, r Request, items []Item, ttl time.Duration) (bool, error) {
	b := batch{body: AppendItems(nil, items), count: len(items), ttl: ttl}
	b.size = len(b.body)
	if b.size > payload.MaxInline {
		ref, err := s.d.Blobs.PutBlob(ctx, b.body)
		if err != nil {
			return false, err
		}
		b.blob = &ref
	}
	var w *putter
	var f *flight
	var p *partition
	var place *list.Element
	err := s.with(ctx, r.QueueID, r.Partition, func(found *partition, now time.Time) error {
		p = found
		if known := p.putsKnown[r.ID]; known != nil {
			f = known.flight
			return nil
		}
		if p.length == 0 && p.q.filled.Load() >= MaxPartitions {
			return fault.New(fault.Exhausted, "queue %q: has %d partitions with items, which is the most; take or clear some", r.QueueID, MaxPartitions)
		}
		w = &putter{request: r.ID, batch: b, granted: make(chan *flight, 1)}
		place = p.putters.PushBack(w)
		p.serve(now)
		p.trim(now)
		if r.Wait <= 0 {
			p.putters.Remove(place)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if f == nil {
		if f, err = await(ctx, r.Wait, w.granted, func() { p.giveUp(&p.putters, place) }); f == nil {
			return false, err
		}
	}
	return s.landed(ctx, p, f)
}

// await waits for what somebody is to be granted: it returns none where the time is over, and errAgain where nothing is granted any more.
func await[T any](ctx context.Context, wait time.Duration, granted chan *T, leave func()) (*T, error) {
	select {
	case g, ok := <-granted:
		return again(g, ok)
	default:
	}
	if wait <= 0 {
		return nil, nil //nolint:nilnil // there is none, and nothing is wrong
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case g, ok := <-granted:
		return again(g, ok)
	case <-t.C:
	case <-ctx.Done():
	}
	leave()
	select { // it may have been granted in the meantime
	case g, ok := <-granted:
		return again(g, ok)
	default:
		return nil, context.Cause(ctx)
	}
}

func again[T any](g *T, ok bool) (*T, error) {
	if !ok {
		return nil, errAgain
	}
	return g, nil
}

func (p *partition) giveUp(waiting *list.List, place *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting.Remove(place) // does nothing where it is served already
}

// landed waits for a record to be in the log.
func (s *Service) landed(ctx context.Context, p *partition, f *flight) (bool, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	if f.err != nil {
		return false, s.failed(p, f.err)
	}
	return true, nil
}

// Take takes up to so many items from the front of a partition; none where there is none and none came. Errors: as Put.
func (s *Service) Take(ctx context.Context, r Request, count int) ([]Item, error) {
	var g *getter
	var t *taken
	var p *partition
	var place *list.Element
	err := s.with(ctx, r.QueueID, r.Partition, func(found *partition, now time.Time) error {
		p = found
		if t = p.takes[r.ID]; t != nil {
			t.asking++
			return nil
		}
		g = &getter{request: r.ID, count: uint64(count), granted: make(chan *taken, 1)} //nolint:gosec // checked to be small
		place = p.getters.PushBack(g)
		p.serve(now)
		p.trim(now)
		if r.Wait <= 0 {
			p.getters.Remove(place)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if t == nil {
		if t, err = await(ctx, r.Wait, g.granted, func() { p.giveUp(&p.getters, place) }); t == nil {
			return nil, err
		}
	}
	items, err := s.collectTaken(ctx, p, t)
	return s.answer(ctx, p, t, items, err)
}

func (s *Service) collectTaken(ctx context.Context, p *partition, t *taken) ([]Item, error) {
	if ok, err := s.landed(ctx, p, t.flight); !ok {
		return nil, err
	}
	return s.collect(ctx, p, t.parts)
}

// collect reads items.
func (s *Service) collect(ctx context.Context, p *partition, parts []part) ([]Item, error) {
	var items []Item
	for _, part := range parts {
		if ok, err := s.landed(ctx, p, part.put.flight); !ok {
			return nil, err
		}
		body, err := s.body(ctx, p, part)
		if err != nil {
			return nil, err
		}
		some, err := ParseItems(body, part.from-part.put.first, part.to-part.put.first)
		if err != nil {
			return nil, err
		}
		items = append(items, some...)
	}
	return items, nil
}

// body returns the body of a put, and has memory keep it while there is more to be taken of it.
func (s *Service) body(ctx context.Context, p *partition, part part) (body []byte, err error) {
	if part.body != nil {
		return part.body, nil
	}
	if ref := part.put.blob; ref != nil {
		body, err = s.d.Blobs.ReadBlob(ctx, *ref)
	} else {
		body, err = s.d.Log.Body(ctx, part.put.place)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone == nil && p.loaded && part.to < part.put.end() && p.head < part.put.end() {
		s.cache.keep(part.put, body)
	}
	return body, nil
}

// Length returns how many items a partition has.
func (s *Service) Length(ctx context.Context, queueID, name string) (n int, err error) {
	err = s.with(ctx, queueID, name, func(p *partition, _ time.Time) error {
		n = p.length
		return nil
	})
	return n, err
}

// Total is what a queue holds.
type Total struct{ Partitions, Items uint64 }

// Total returns how many partitions have items, and how many there are in all.
func (s *Service) Total(ctx context.Context, queueID string) (t Total, err error) {
	q, err := s.open(ctx, queueID)
	if err != nil {
		return t, err
	}
	parts := q.all()
	now := time.Now()
	for _, p := range parts {
		p.mu.Lock()
		if p.gone == nil && p.length > 0 && !now.After(p.expires) {
			t.Partitions++
			t.Items += uint64(p.length) //nolint:gosec // not negative
		}
		p.mu.Unlock()
	}
	return t, nil
}
