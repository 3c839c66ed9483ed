package pool

import (
	"log/slog"
	"time"
)

// What stays free for those who are there to grow and for others to start, of what the worker offers, in per cent: boxes that wait are given back
// where less is free than the first, and made while more is than the second. The distance keeps them from coming and going.
const (
	shortPercent = 5
	amplePercent = 10
)

// How often memory is looked at.
const (
	// fresh is how long it is taken to be as it was.
	fresh = 250 * time.Millisecond
	// look is after how long it is looked at again while boxes wait or are to: those that run grow, and end, without telling.
	look = time.Second
)

// Memory is what a worker has of it at a moment, in MiB.
type Memory struct {
	Offered   int // what its groups may use together
	Used      int // what they use
	Available int // what the host could still give to whoever wants it
}

// room returns how many boxes of a size may wait where some hold memory already: as many as may be kept, and up to how many may be made.
func (m Memory) room(size, holding int) (keep, grow int) {
	free := min(m.Offered-m.Used, m.Available)
	up := func(percent int) int {
		over := free - m.Offered*percent/100
		if over < 0 {
			over -= size - 1 // part of a box is a box
		}
		return max(0, holding+over/size)
	}
	return up(shortPercent), up(amplePercent)
}

// gauge says how many boxes of a size may wait, by what is free. Its owner's mutex guards it.
type gauge struct {
	read func() (Memory, error) // nil: most, whatever there is
	size int                    // of a box, in MiB
	most int
	log  *slog.Logger

	last Memory
	next time.Time // when it is read again
}

// room returns how many boxes may be kept, and up to how many may be made; holding is how many hold memory. Where nothing is known there are no
// more than there are.
func (g *gauge) room(now time.Time, holding int) (keep, grow int) {
	if g.read == nil || g.most == 0 {
		return g.most, g.most
	}
	if now.Before(g.next) {
		return g.bounded(holding)
	}
	m, err := g.read()
	if err != nil {
		g.log.Warn("memory of the host is not known", "error", err)
		g.last, g.next = Memory{}, now.Add(retry)
		return g.bounded(holding)
	}
	g.last, g.next = m, now.Add(fresh)
	return g.bounded(holding)
}

func (g *gauge) bounded(holding int) (keep, grow int) {
	if g.last == (Memory{}) {
		return g.most, min(g.most, holding)
	}
	keep, grow = g.last.room(g.size, holding)
	return min(g.most, keep), min(g.most, grow)
}
