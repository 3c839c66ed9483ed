package lazyfs

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/worker/cache"
)

// Defaults of ChunksConfig.
const (
	// DefaultFetches is how many chunks that somebody waits for are fetched at a time; as many again may be fetched ahead of readers.
	DefaultFetches = 16
	// DefaultPatience is how long a reader waits for a blob store that is away before its read fails.
	DefaultPatience = 60 * time.Second
	// DefaultMemory is how many bytes of chunks that were read lately are kept in memory.
	DefaultMemory = 128 << 20
)

// ChunksConfig says where chunks come from. Fields without a default are needed.
type ChunksConfig struct {
	Cache  *cache.Cache
	Source cas.Source
	Log    *slog.Logger

	Fetches  int           // default DefaultFetches
	Patience time.Duration // default DefaultPatience
	Memory   uint64        // default DefaultMemory
}

// Chunks provides chunks: from memory, from the cache or, once, from the source. What it gives out was verified in memory and stays there,
// so that nothing that happens to a file of the cache reaches a reader. It is safe for concurrent use.
type Chunks struct {
	cfg    ChunksConfig
	demand chan struct{} // a token for each fetch that somebody waits for
	ahead  chan struct{} // a token for each other fetch
	checks chan struct{} // a token for each chunk that is read from the cache: it takes memory and a processor

	life    context.Context //nolint:containedctx // of what gets chunks, which outlives those who asked
	end     context.CancelFunc
	running sync.WaitGroup
	fetched atomic.Uint64

	mu     sync.Mutex
	chunks map[cas.Chunk]*chunk
	recent *list.List // of chunks that are there, the least recently used first
	size   uint64     // of those
	// When it was last logged that the cache can't be written, and that the source is away.
	full, lost time.Time
}

// chunk is one in memory, or on its way there.
type chunk struct {
	want   cas.Chunk
	recent *list.Element
	hurry  chan struct{} // closed when somebody waits for it
	hasty  bool          // hurry is closed
	done   chan struct{} // closed when data or err is there
	data   []byte        // never changed
	err    error
}

// NewChunks returns Chunks.
func NewChunks(cfg ChunksConfig) *Chunks {
	if cfg.Fetches <= 0 {
		cfg.Fetches = DefaultFetches
	}
	if cfg.Patience <= 0 {
		cfg.Patience = DefaultPatience
	}
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	life, end := context.WithCancel(context.Background())
	return &Chunks{
		cfg: cfg, demand: make(chan struct{}, cfg.Fetches), ahead: make(chan struct{}, cfg.Fetches), checks: make(chan struct{}, checks),
		life: life, end: end, chunks: map[cas.Chunk]*chunk{}, recent: list.New(),
	}
}

// Fetched is how many bytes have come from the source.
func (c *Chunks) Fetched() uint64 { return c.fetched.Load() }

// Close ends what is under way.
func (c *Chunks) Close() {
	c.end()
	c.running.Wait()
	c.rest()
}

// rest forgets what is in memory.
func (c *Chunks) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trim(0)
}

// get returns a chunk's bytes, which the caller must not change. One goroutine gets a chunk however many want it; it goes on when ctx of
// those who wait has ended. Errors: fault.NotFound, fault.DataLoss, fault.Unavailable; the cause of ctx, some time after its end.
func (c *Chunks) get(ctx context.Context, want cas.Chunk, grace time.Duration) ([]byte, error) {
	return c.entry(want, true).wait(ctx, grace)
}

// prepare has a chunk that is going to be read in memory, or at least in the cache. What can't be had is left: its reader hears why.
func (c *Chunks) prepare(ctx context.Context, want cas.Chunk, inMemory bool) {
	if !inMemory {
		if _, release, ok := c.cfg.Cache.Lookup(cacheName(want)); ok {
			release()
			return
		}
	}
	_, _ = c.entry(want, false).wait(ctx, 0)
}

// entry returns a chunk that is there or on its way.
func (c *Chunks) entry(want cas.Chunk, hasty bool) *chunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.chunks[want]
	if k == nil {
		k = &chunk{want: want, hurry: make(chan struct{}), done: make(chan struct{})}
		c.chunks[want] = k
		c.running.Go(func() { c.fill(k) })
	}
	if hasty && !k.hasty {
		k.hasty = true
		close(k.hurry)
	}
	if k.recent != nil {
		c.recent.MoveToBack(k.recent)
	}
	return k
}

// wait waits for a chunk until some time after the end of ctx.
func (k *chunk) wait(ctx context.Context, grace time.Duration) ([]byte, error) {
	select {
	case <-k.done:
		return k.data, k.err
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-k.done:
		return k.data, k.err
	case <-t.C:
		return nil, context.Cause(ctx)
	}
}

// fill gets a chunk that has been entered.
func (c *Chunks) fill(k *chunk) {
	k.data, k.err = c.load(c.life, k)
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.err != nil {
		delete(c.chunks, k.want) // the next reader tries again
	} else {
		k.recent = c.recent.PushBack(k)
		c.size += uint64(cap(k.data))
		c.trim(c.cfg.Memory)
	}
	close(k.done)
}

// trim forgets the least recently used chunks until those that are left have at most so many bytes. Readers that have one read on. The lock
// is held.
func (c *Chunks) trim(left uint64) {
	for c.size > left {
		k, _ := c.recent.Remove(c.recent.Front()).(*chunk)
		delete(c.chunks, k.want)
		c.size -= uint64(cap(k.data))
	}
}
