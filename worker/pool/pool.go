// Package pool keeps boxes ready for sandboxes of images in recent use: booted, with the image and init running, and nobody's. A start that such
// a box is good for takes one, in milliseconds; it serves one tenant once and is never returned.
package pool

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
)

// Defaults and bounds.
const (
	// BoxMiB is about what a box takes that waits: sentry, gofer and init. Measured: 19.9 in its control group, of which 1.6 are the kernel's.
	BoxMiB = 20
	// MaxBoxes is how many boxes wait at most, whatever memory there is.
	MaxBoxes = 256
	// maxImages is how many images have boxes that wait.
	maxImages = 8
	// bootMilli is the weight of a box that is booted ahead, in thousandths of a core: those that somebody waits for come first.
	bootMilli = 10
	// boots is how many are booted at a time when nothing else goes on.
	boots = 2
	// retry is how long an image waits after a box of it could not be made.
	retry = 30 * time.Second
)

// Boxes makes boxes. Implemented by box.Host.
type Boxes interface {
	// Start makes a box and returns when its init has linked. Nothing is left behind when it fails or ctx ends.
	Start(ctx context.Context, spec box.Spec) (*box.Box, error)
	// Adopt takes over boxes of an earlier process.
	Adopt(ctx context.Context, records []box.Record) []box.Adoption
}

// Config is what a Pool needs.
type Config struct {
	Boxes    Boxes
	MaxBoxes int                    // that wait; 0: none
	NewID    func() string          // of a box
	Memory   func() (Memory, error) // they give way where it is short; nil: only their number is bounded
	Log      *slog.Logger
}

// Pool keeps boxes ready while Run runs, and starts boxes at any time. It is safe for concurrent use.
type Pool struct {
	cfg  Config
	wake chan struct{} // holds a token when there may be something to do
	work sync.WaitGroup

	leaving atomic.Int64 // boxes that are being deleted

	mu      sync.Mutex
	classes map[class]*shelf
	cold    int // starts under way that found no box
	booting int
	gauge   gauge
	keep    int // how many may wait
	grow    int // up to how many may be made
	closed  bool
	changed chan struct{} // closed when another number of boxes waits
}

// class is what boxes that wait have in common.
type class struct {
	digest  string
	chunked bool
}

// shelf is the boxes of a class.
type shelf struct {
	image   container.Image
	demand  demand
	ready   []*box.Box
	booting int
	failed  time.Time // when one could not be made
}

// New returns an empty pool.
func New(cfg Config) *Pool {
	cfg.MaxBoxes = min(cfg.MaxBoxes, MaxBoxes)
	return &Pool{
		cfg: cfg, wake: make(chan struct{}, 1), classes: map[class]*shelf{}, changed: make(chan struct{}), keep: cfg.MaxBoxes, grow: cfg.MaxBoxes,
		gauge: gauge{read: cfg.Memory, size: BoxMiB, most: cfg.MaxBoxes, log: cfg.Log},
	}
}

// Adopt implements Boxes; boxes that waited are nobody's, and not taken over.
func (p *Pool) Adopt(ctx context.Context, records []box.Record) []box.Adoption {
	return p.cfg.Boxes.Adopt(ctx, records)
}

// Start implements Boxes: with one that waits, or a new one.
func (p *Pool) Start(ctx context.Context, spec box.Spec) (*box.Box, error) {
	if !fits(&spec) {
		return p.fresh(ctx, spec)
	}
	p.note(&spec)
	for b := p.take(&spec); b != nil; b = p.take(&spec) {
		if err := b.Claim(spec); err == nil {
			p.signal()
			return b, nil
		} else if ctx.Err() == nil {
			p.cfg.Log.Warn("box that waited is of no use", "box", b.ID(), "error", err)
		}
		p.discard(b)
	}
	return p.fresh(ctx, spec)
}

// fits says whether a box that waits can be what spec wants: what is fixed when a box is booted is as it is by default.
func fits(s *box.Spec) bool {
	return len(s.Mounts) == 0 && len(s.Volumes) == 0 && len(s.Buckets) == 0 && s.Access == "" && s.DiskMiB == 0 && s.MemoryLimitMiB == 0 && s.From == ""
}

func classOf(s *box.Spec) class { return class{s.Image.Digest, s.Image.Chunked} }

// fresh makes a box while the pool makes none.
func (p *Pool) fresh(ctx context.Context, spec box.Spec) (*box.Box, error) {
	p.mu.Lock()
	p.cold++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.cold--
		p.mu.Unlock()
		p.signal()
	}()
	return p.cfg.Boxes.Start(ctx, spec)
}

// note counts a start.
func (p *Pool) note(spec *box.Spec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cfg.MaxBoxes == 0 || p.closed {
		return
	}
	s := p.classes[classOf(spec)]
	if s == nil {
		s = &shelf{image: spec.Image}
		p.classes[classOf(spec)] = s
	}
	s.demand.note(time.Now())
}

// take takes the box that has waited longest, or nil.
func (p *Pool) take(spec *box.Spec) *box.Box {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.classes[classOf(spec)]
	if s == nil || len(s.ready) == 0 {
		return nil
	}
	b := s.ready[0]
	s.ready = slices.Delete(s.ready, 0, 1)
	p.tell()
	return b
}

// AwaitReady returns when at least n boxes wait, or ctx ends.
func (p *Pool) AwaitReady(ctx context.Context, n int) error {
	return p.Await(ctx, func(waiting int) bool { return waiting >= n })
}

// Await returns when as many boxes wait as is asked for, or ctx ends.
func (p *Pool) Await(ctx context.Context, enough func(waiting int) bool) error {
	for {
		p.mu.Lock()
		have, changed := p.waiting(), p.changed
		p.mu.Unlock()
		if enough(have) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// waiting is how many boxes wait; the mutex is held.
func (p *Pool) waiting() (n int) {
	for _, s := range p.classes {
		n += len(s.ready)
	}
	return n
}

// tell has those look who wait for another number of boxes; the mutex is held.
func (p *Pool) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Pool) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// discard deletes a box behind the caller's back.
func (p *Pool) discard(b *box.Box) {
	p.leaving.Add(1)
	p.work.Go(func() {
		defer p.leaving.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), box.DeleteTimeout)
		defer cancel()
		if err := b.Delete(ctx); err != nil {
			p.cfg.Log.Error("box left something behind", "box", b.ID(), "error", err)
		}
	})
}

// Run keeps boxes ready until ctx ends, and then has none left.
func (p *Pool) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(p.step(ctx, time.Now()))
		select {
		case <-p.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	p.closed = true
	for _, s := range p.classes {
		for _, b := range s.ready {
			p.discard(b)
		}
		s.ready = nil
	}
	p.mu.Unlock()
	p.work.Wait()
	return nil
}
