package queue

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// span is a range of numbers of items.
type span struct{ from, to uint64 }

// answer ends an attempt to take: items that nobody waits for any more are given back, unless another attempt was answered or is still to be.
func (s *Service) answer(ctx context.Context, p *partition, t *taken, items []Item, err error) ([]Item, error) {
	p.q.whole.RLock()
	p.mu.Lock()
	t.asking--
	gone := ctx.Err() != nil
	var f *flight
	switch {
	case err == nil && !gone && !t.unwanted:
		t.answered = true
	case t.asking == 0 && (t.unwanted || gone && !t.answered):
		f = p.giveBack(t, time.Now())
	}
	p.mu.Unlock()
	p.q.whole.RUnlock()
	if f != nil {
		if _, lost := s.landed(context.WithoutCancel(ctx), p, f); lost != nil {
			return nil, lost
		}
	}
	switch {
	case gone:
		return nil, context.Cause(ctx)
	case err == nil && t.unwanted:
		return nil, errUnwanted
	}
	return items, err
}

// GiveBack puts what a request has taken back to where it was: its answer was not used. It does nothing where the request took nothing,
// its items were cleared since, or it is too old to be known. Errors: as Put.
func (s *Service) GiveBack(ctx context.Context, r Request) error {
	var p *partition
	var f *flight
	err := s.with(ctx, r.QueueID, r.Partition, func(found *partition, now time.Time) error {
		p, f = found, found.last
		t := p.takes[r.ID]
		switch {
		case t == nil:
		case t.asking > 0:
			t.unwanted = true // the attempt does it
		default:
			if back := p.giveBack(t, now); back != nil {
				f = back
			}
		}
		return nil
	})
	if err == nil {
		_, err = s.landed(ctx, p, f)
	}
	return err
}

// giveBack has the items of a request be there again, unless they were cleared since. The request may take anew.
func (p *partition) giveBack(t *taken, now time.Time) *flight {
	if p.gone != nil || p.takes[t.request] != t {
		return nil
	}
	delete(p.takes, t.request)
	if i := slices.Index(p.takeOrder, t); i >= 0 {
		p.takeOrder = slices.Delete(p.takeOrder, i, i+1)
	}
	if t.clears != p.clears {
		return nil
	}
	r := &Record{Kind: Return, Request: t.request, First: t.first, Count: t.count}
	f := p.write(r, p.length+int(t.count)) //nolint:gosec // at most MaxItems
	p.restore(span{t.first, t.first + t.count})
	p.wake()
	p.serve(now)
	return f
}

// restore notes that items before the head are there again, and returns how many.
func (p *partition) restore(s span) int {
	parts, count := p.parts(s.from, s.to-s.from, math.MaxInt)
	for _, part := range parts {
		part.put.back += part.to - part.from
	}
	if count == 0 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(p.back, s, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	s.to = s.from + count
	before, after := i, i
	if i > 0 && p.back[i-1].to == s.from {
		before, s.from = i-1, p.back[i-1].from
	}
	if i < len(p.back) && p.back[i].from == s.to {
		after, s.to = i+1, p.back[i].to
	}
	p.back = slices.Replace(p.back, before, after, s)
	return int(count) //nolint:gosec // at most MaxItems
}

// forget notes that such items have gone again.
func (p *partition) forget(s span) {
	parts, _ := p.parts(s.from, s.to-s.from, math.MaxInt)
	for _, part := range parts {
		part.put.back -= part.to - part.from
	}
}

// retake notes that the first of such items are taken.
func (p *partition) retake(t *taken) {
	p.forget(span{t.first, t.first + t.count})
	p.back[0].from += t.count
	if p.back[0].from == p.back[0].to {
		p.back = slices.Delete(p.back, 0, 1)
	}
}

// front is the number of the first item; the tail where there is none.
func (p *partition) front() uint64 {
	if len(p.back) > 0 {
		return p.back[0].from
	}
	return p.head
}

// next is where the first items from a number on are that lie together.
func (p *partition) next(from uint64) span {
	for _, s := range p.back {
		if s.to > from {
			return span{max(from, s.from), s.to}
		}
	}
	return span{max(from, p.head), p.tail}
}

// returns sorts out what records say of items that were taken and given back. The order of the records does not matter: an item is there
// that was given back as often as it was taken.
type returns struct {
	edges []edge
	left  map[takeKey]int // returns without their take
}

type takeKey struct {
	request string
	first   uint64
}

type edge struct {
	at                   uint64
	takes, backs, clears int
}

func (r *returns) span(s span, e edge) {
	e.at = s.from
	r.edges = append(r.edges, e, edge{s.to, -e.takes, -e.backs, -e.clears})
}

func (r *returns) take(t *taken) { r.span(span{t.first, t.first + t.count}, edge{takes: 1}) }

func (r *returns) clear(s span) { r.span(s, edge{clears: 1}) }

func (r *returns) giveBack(request string, s span) {
	r.span(s, edge{backs: 1})
	if r.left == nil {
		r.left = map[takeKey]int{}
	}
	r.left[takeKey{request, s.from}]++
}

// undone says whether a take was given back.
func (r *returns) undone(t *taken) bool {
	key := takeKey{t.request, t.first}
	if r.left[key] == 0 {
		return false
	}
	r.left[key]--
	return true
}

// there returns which items are there though they were taken.
func (r *returns) there() (list []span) {
	if r.left == nil {
		return nil
	}
	slices.SortFunc(r.edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var now edge
	for i, e := range r.edges {
		now.takes, now.backs, now.clears = now.takes+e.takes, now.backs+e.backs, now.clears+e.clears
		if now.clears > 0 || now.backs == 0 || now.takes > now.backs || i+1 == len(r.edges) || r.edges[i+1].at == e.at {
			continue
		}
		list = append(list, span{e.at, r.edges[i+1].at})
	}
	return list
}
