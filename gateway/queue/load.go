package queue

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// load makes what memory has of a partition from its log.
func (p *partition) load(ctx context.Context, now time.Time) error {
	if p.loaded {
		return nil
	}
	p.puts, p.dead, p.deadBytes = nil, nil, 0
	p.clears = 0
	p.back, p.putsKnown, p.takes, p.takeOrder = nil, map[string]*put{}, map[string]*taken{}, nil
	head, last := uint64(0), uint64(0)
	tail := uint64(0)
	var gone returns
	swept := p.q.cleared == 0
	was := p.length
	p.length = 0
	err := p.q.s.d.Log.Records(ctx, p.q.id, p.name, func(r *Record) error {
		last, p.expires = r.Place, r.Expires
		end := r.First + r.Count
		tail = max(tail, end)
		if !swept && r.Place > p.q.cleared {
			swept = true
			p.clears++
		}
		if r.Place < p.q.cleared {
			head = max(head, end)
			gone.clear(span{r.First, end})
		}
		switch r.Kind {
		case Put:
			p.puts = append(p.puts, &put{flight: landed(r.Place), first: r.First, count: r.Count, request: r.Request, size: r.Size, blob: r.Blob})
		case Take:
			head = max(head, end)
			t := &taken{flight: landed(r.Place), request: r.Request, first: r.First, count: r.Count, clears: p.clears}
			p.takeOrder = append(p.takeOrder, t)
			gone.take(t)
		case Clear:
			head = max(head, end)
			p.clears++
			gone.clear(span{r.First, end})
		case Return:
			gone.giveBack(r.Request, span{r.First, end})
		}
		return nil
	})
	if err != nil {
		p.length = was
		return err
	}
	if !swept {
		p.clears++
	}
	if last == 0 {
		tail = uint64(now.UnixMicro()) //nolint:gosec // a time after 1970; so numbers of a partition that was empty are new ones
	}
	p.settle(head, tail, &gone, now)
	p.last, p.after, p.loaded = landed(last), &last, true
	if (was == 0) != (p.length == 0) {
		p.q.count(p.length != 0)
	}
	return nil
}

// settle sorts what a log told: items before the head are gone, and requests are known whose items are still there.
func (p *partition) settle(head, tail uint64, gone *returns, now time.Time) {
	// Several servers may have taken one that was sent again after its followers.
	slices.SortStableFunc(p.puts, func(a, b *put) int { return cmp.Compare(a.first, b.first) })
	slices.SortStableFunc(p.takeOrder, func(a, b *taken) int { return cmp.Compare(a.first, b.first) })
	live := uint64(0)
	for _, put := range p.puts {
		live += put.end() - min(put.end(), max(put.first, head))
		if put.request != "" {
			p.putsKnown[put.request] = put
		}
	}
	takes := p.takeOrder
	p.takeOrder = nil
	for _, t := range takes {
		if gone.undone(t) {
			continue
		}
		parts, count := p.parts(t.first, t.count, math.MaxInt)
		if t.parts = parts; count == t.count && t.request != "" {
			p.takes[t.request] = t
			p.takeOrder = append(p.takeOrder, t)
		}
	}
	p.tail = tail
	p.length = int(live) //nolint:gosec // at most MaxItems
	p.advance(head, now)
	for _, s := range gone.there() {
		if s.to = min(s.to, head); s.from < s.to {
			p.length += p.restore(s)
		}
	}
}

// trim forgets what is kept for requests that are done again, where that is much or old, and has the log do the same.
func (p *partition) trim(now time.Time) {
	n, bytes := 0, p.deadBytes
	for n < len(p.dead) {
		put := p.dead[n]
		if put.back > 0 || len(p.dead)-n <= keepRecords && bytes <= keepBytes && now.Sub(put.at) <= keepFor {
			break
		}
		bytes -= put.size
		n++
	}
	// Many at a time: each time costs the log a request.
	if n == 0 || (n < keepRecords/8 && n < len(p.dead) && p.deadBytes-bytes < keepBytes/8) {
		return
	}
	first, from := p.tail, p.last // the last record stays, for it says where the partition is
	switch {
	case n < len(p.dead):
		first, from = p.dead[n].first, p.dead[n].flight
	case len(p.puts) > 0:
		first, from = p.puts[0].first, p.puts[0].flight
	}
	if !from.known() || from.err != nil {
		return
	}
	place := from.place
	for _, put := range append(slices.Clone(p.dead[n:]), p.puts...) {
		if put.known() && put.err == nil {
			place = min(place, put.place)
		}
	}
	for _, put := range p.dead[:n] {
		delete(p.putsKnown, put.request)
	}
	p.dead, p.deadBytes = append([]*put(nil), p.dead[n:]...), bytes
	n = 0
	for n < len(p.takeOrder) && p.takeOrder[n].first < first {
		delete(p.takes, p.takeOrder[n].request)
		n++
	}
	p.takeOrder = append([]*taken(nil), p.takeOrder[n:]...)
	p.q.s.trim(p.q.id, p.name, place)
}
