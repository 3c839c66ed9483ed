package pool

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/worker/box"
)

// idleStep is after how long the pool looks again where nothing says earlier.
const idleStep = time.Hour

// step gives back boxes of which there are too many and makes those that are missing, as far as others leave time for that. It returns after
// how long there may be something to do that nobody will tell.
func (p *Pool) step(ctx context.Context, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep, p.grow = p.gauge.room(now, p.waiting()+int(p.leaving.Load()))
	wait := p.trim(now)
	if len(p.classes) > 0 && p.cfg.Memory != nil {
		wait = min(wait, look)
	}
	limit, busy := boots, now.Sub(p.lastStart()) < quiet
	switch {
	case p.cold > 0:
		return wait // its end tells
	case busy:
		limit = 1
		wait = min(wait, quiet)
	}
	for p.booting < limit {
		c, s := p.neediest(now, busy)
		if s == nil {
			break
		}
		p.boot(ctx, c, s)
	}
	return wait
}

// share returns how many boxes a class has to have, by its demand and what others want; the mutex is held.
func (p *Pool) share(s *shelf, now time.Time) int {
	n, _ := s.demand.wanted(now)
	total := 0
	for _, o := range p.classes {
		want, _ := o.demand.wanted(now)
		total += want
	}
	if total > p.keep {
		n = n * p.keep / total
	}
	return n
}

// trim gives back boxes that are too many, and forgets classes that nobody asks for; the mutex is held.
func (p *Pool) trim(now time.Time) (wait time.Duration) {
	wait = idleStep
	for len(p.classes) > maxImages {
		p.drop(p.oldest())
	}
	for c, s := range p.classes {
		n, next := s.demand.wanted(now)
		if n == 0 {
			p.drop(c)
			continue
		}
		if !next.IsZero() {
			wait = min(wait, max(0, next.Sub(now))+time.Millisecond)
		}
		if d := s.failed.Add(retry).Sub(now); d > 0 {
			wait = min(wait, d+time.Millisecond)
		}
		for share := p.share(s, now); len(s.ready) > share; {
			p.discard(s.ready[len(s.ready)-1])
			s.ready = s.ready[:len(s.ready)-1]
			p.tell()
		}
	}
	return wait
}

func (p *Pool) drop(c class) {
	for _, b := range p.classes[c].ready {
		p.discard(b)
	}
	delete(p.classes, c)
	p.tell()
}

func (p *Pool) oldest() (oldest class) {
	var at time.Time
	for c, s := range p.classes {
		if last := s.demand.last(); at.IsZero() || last.Before(at) {
			oldest, at = c, last
		}
	}
	return oldest
}

func (p *Pool) lastStart() (last time.Time) {
	for _, s := range p.classes {
		if at := s.demand.last(); at.After(last) {
			last = at
		}
	}
	return last
}

// neediest returns the class that lacks most, or nil. While others are busy those that have half of their boxes lack none.
func (p *Pool) neediest(now time.Time, busy bool) (of class, s *shelf) {
	most, all := 0, 0
	for _, o := range p.classes {
		all += len(o.ready) + o.booting
	}
	if all >= p.grow {
		return of, nil
	}
	for c, o := range p.classes {
		share := p.share(o, now)
		if busy {
			share = (share + 1) / 2
		}
		lacks := share - len(o.ready) - o.booting
		if lacks > most && now.Sub(o.failed) > retry {
			most, of, s = lacks, c, o
		}
	}
	return of, s
}

// boot makes a box for a class; the mutex is held.
func (p *Pool) boot(ctx context.Context, c class, s *shelf) {
	p.booting++
	s.booting++
	spec := box.Spec{ID: p.cfg.NewID(), Image: s.image, CPUMilli: bootMilli}
	p.work.Go(func() {
		b, err := p.cfg.Boxes.Start(ctx, spec)
		p.booted(ctx, c, s, b, err)
		p.signal()
	})
}

func (p *Pool) booted(ctx context.Context, c class, s *shelf, b *box.Box, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.booting--
	s.booting--
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		s.failed = time.Now()
		p.cfg.Log.Warn("no box made ahead", "image", s.image.Digest, "error", err)
	case p.closed || p.classes[c] != s:
		p.discard(b)
	default:
		s.ready = append(s.ready, b)
		p.tell()
	}
}
