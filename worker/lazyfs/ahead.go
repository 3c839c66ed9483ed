package lazyfs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
)

const (
	// streams is how many readers of one image are followed at a time.
	streams = 16
	// maxWindow is how many chunks are fetched ahead of a reader that goes straight on.
	maxWindow = 16
	// maxQueue is how many chunks may wait to be fetched ahead; what is more is left to be fetched when it is read.
	maxQueue = 4096
	// profileWindow is how long after its start reads count as those of the start, and profileBytes how much of them is remembered.
	profileWindow, profileBytes = 30 * time.Second, 512 << 20
)

// ahead fetches what is going to be read: what follows where somebody reads straight on, and what earlier starts have read. It also
// remembers what this start reads.
type ahead struct {
	manifest *cas.Manifest
	queue    chan wish
	began    time.Time

	mu      sync.Mutex
	readers []stream // the least recently seen first
	last    int      // the chunk of the last read
	touched map[int]bool
	order   []uint32 // chunks in the order of their first read, within the window
	bytes   uint64
}

// wish is a chunk that is going to be read: soon by somebody who reads straight on, or at some time.
type wish struct {
	index int
	soon  bool
}

// stream is a reader that goes straight on: next is the chunk that it reads next, until that up to which was fetched for it.
type stream struct{ next, until, window int }

func newAhead(m *cas.Manifest) *ahead {
	return &ahead{manifest: m, queue: make(chan wish, maxQueue), began: time.Now(), last: -1, touched: map[int]bool{}}
}

// reads hears of every read.
func (a *ahead) reads(index int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if index == a.last || a.manifest.IsLocal(index) {
		return
	}
	a.last = index
	if !a.touched[index] && a.bytes < profileBytes && time.Since(a.began) < profileWindow {
		a.touched[index] = true
		a.order = append(a.order, uint32(index)) //nolint:gosec // a manifest has far fewer
		a.bytes += uint64(a.manifest.Chunks[index].Size)
	}
	s := stream{window: 1}
	for i, r := range a.readers {
		if r.next == index {
			s = r
			s.window = min(2*s.window, maxWindow)
			a.readers = append(a.readers[:i], a.readers[i+1:]...)
			for next := max(s.until, index+1); next <= index+s.window; next++ {
				a.want(next, true)
				s.until = next + 1
			}
			break
		}
	}
	s.next = index + 1
	if a.readers = append(a.readers, s); len(a.readers) > streams {
		a.readers = a.readers[1:]
	}
}

// want has a chunk fetched, if there is room for it to wait.
func (a *ahead) want(index int, soon bool) {
	if index < 0 || index >= len(a.manifest.Chunks) || a.manifest.IsLocal(index) {
		return
	}
	select {
	case a.queue <- wish{index, soon}:
	default:
	}
}

// started returns the chunks that were read since the start, in order.
func (a *ahead) started() []uint32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.order)
}

// run fetches what is wanted until ctx ends. What can't be fetched is left: its reader hears why.
func (a *ahead) run(ctx context.Context, chunks *Chunks) {
	var running sync.WaitGroup
	defer running.Wait()
	turns := make(chan struct{}, cap(chunks.ahead))
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-a.queue:
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				defer func() { <-turns }()
				chunks.prepare(ctx, a.manifest.Chunks[w.index], w.soon)
			})
		}
	}
}
