package lazyfs

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/cache"
)

// Defaults of ChunksConfig.
const (
	// DefaultFetches is how many chunks that somebody waits for are fetched at a time; as many again may be fetched ahead of readers.
	DefaultFetches = 16
	// DefaultPatience is how long a reader waits for a blob store that is away before its read fails.
	DefaultPatience = 60 * time.Second
	// DefaultOpen is how many chunks are kept open that nobody reads.
	DefaultOpen = 512
)

const (
	// attemptTimeout bounds one attempt to fetch a chunk.
	attemptTimeout = 30 * time.Second
	// firstPause and lastPause bound the growing pause between attempts. A store that was away can't tell us that it is back.
	firstPause, lastPause = 50 * time.Millisecond, 2 * time.Second
)

// ChunksConfig says where chunks come from. Fields without a default are needed.
type ChunksConfig struct {
	Cache  *cache.Cache
	Source cas.Source
	Log    *slog.Logger

	Fetches  int           // default DefaultFetches
	Patience time.Duration // default DefaultPatience
	Open     int           // default DefaultOpen
}

// Chunks provides chunks as open files: from the cache or, once, from the source. All are verified before anybody reads them, those of the
// cache when they are opened. It is safe for concurrent use.
type Chunks struct {
	cfg    ChunksConfig
	demand chan struct{} // a token for each fetch that somebody waits for
	ahead  chan struct{} // a token for each other fetch

	life    context.Context //nolint:containedctx // of what opens chunks, which outlives those who asked
	end     context.CancelFunc
	running sync.WaitGroup
	fetched atomic.Uint64

	mu   sync.Mutex
	open map[string]*chunk
	idle *list.List // of open chunks that nobody uses, the least recently used first
}

// chunk is one that is open, or is being opened.
type chunk struct {
	want cas.Chunk
	refs int
	idle *list.Element
	done chan struct{} // closed when file or err is there
	file *os.File
	err  error
	free func() // gives the cache's entry back
}

// NewChunks returns Chunks.
func NewChunks(cfg ChunksConfig) *Chunks {
	if cfg.Fetches <= 0 {
		cfg.Fetches = DefaultFetches
	}
	if cfg.Patience <= 0 {
		cfg.Patience = DefaultPatience
	}
	if cfg.Open <= 0 {
		cfg.Open = DefaultOpen
	}
	life, end := context.WithCancel(context.Background())
	return &Chunks{
		life: life, end: end, cfg: cfg, demand: make(chan struct{}, cfg.Fetches), ahead: make(chan struct{}, cfg.Fetches),
		open: map[string]*chunk{}, idle: list.New(),
	}
}

// Fetched is how many bytes have come from the source.
func (c *Chunks) Fetched() uint64 { return c.fetched.Load() }

// Close ends what is under way and closes all chunks; nobody uses any.
func (c *Chunks) Close() {
	c.end()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trim(0)
}

// get returns an open chunk; the caller gives it back with put. One goroutine opens a chunk however many want it; it goes on when ctx of
// those who wait has ended. Errors: fault.NotFound, fault.DataLoss, fault.Unavailable; the cause of ctx, some time after its end.
func (c *Chunks) get(ctx context.Context, want cas.Chunk, turn chan struct{}, grace time.Duration) (*chunk, error) {
	c.mu.Lock()
	k := c.open[want.Digest]
	if k == nil {
		k = &chunk{want: want, done: make(chan struct{})}
		c.open[want.Digest] = k
		k.refs++ // the opener's
		c.running.Go(func() { c.fill(k, turn) })
	}
	c.use(k)
	c.mu.Unlock()
	if !wait(ctx, k.done, grace) {
		c.put(k)
		return nil, context.Cause(ctx)
	}
	if k.err != nil {
		c.put(k)
		return nil, k.err
	}
	return k, nil
}

// wait waits for done until some time after the end of ctx, and says whether it came.
func wait(ctx context.Context, done <-chan struct{}, grace time.Duration) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// use takes a reference. The lock is held.
func (c *Chunks) use(k *chunk) {
	k.refs++
	if k.idle != nil {
		c.idle.Remove(k.idle)
		k.idle = nil
	}
}

// put gives a chunk back.
func (c *Chunks) put(k *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.refs--; k.refs > 0 || k.err != nil {
		return
	}
	k.idle = c.idle.PushBack(k)
	c.trim(c.cfg.Open)
}

// trim closes the least recently used chunks that nobody uses until only some are left. The lock is held.
func (c *Chunks) trim(left int) {
	for c.idle.Len() > left {
		k, _ := c.idle.Remove(c.idle.Front()).(*chunk)
		delete(c.open, k.want.Digest)
		_ = k.file.Close() // it was read only
		k.free()
	}
}

// fill opens a chunk that get has entered.
func (c *Chunks) fill(k *chunk, turn chan struct{}) {
	file, free, err := c.load(c.life, k.want, turn)
	c.mu.Lock()
	k.file, k.free, k.err = file, free, err
	if err != nil {
		delete(c.open, k.want.Digest) // the next reader tries again
	}
	c.mu.Unlock()
	close(k.done)
	c.put(k)
}

// load opens the cache's copy of a chunk, fetched anew if it is damaged.
func (c *Chunks) load(ctx context.Context, want cas.Chunk, turn chan struct{}) (file *os.File, free func(), err error) {
	name := want.Digest[len("sha256:"):]
	for range 2 {
		fresh := false
		path, free, err := c.cfg.Cache.Get(ctx, name, func(tmp string) (uint64, error) {
			fresh = true
			return uint64(want.Size), c.fetch(ctx, want, tmp, turn)
		})
		if err != nil {
			return nil, nil, err
		}
		if file, err = open(path, want, fresh); err == nil {
			return file, free, nil
		}
		free()
		c.cfg.Log.Error("a cached chunk is damaged and is fetched again", "chunk", want.Digest, "error", err)
		if err := c.cfg.Cache.Discard(name); err != nil {
			return nil, nil, fmt.Errorf("chunk %s: %w", want.Digest, err)
		}
	}
	return nil, nil, fault.New(fault.DataLoss, "chunk %s: its copy on this host is damaged again and again", want.Digest)
}

// open opens a file of the cache and verifies it, unless its bytes were verified when they came.
func open(path string, want cas.Chunk, fresh bool) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil || fresh {
		return f, err
	}
	data := make([]byte, want.Size+1)
	n, _ := f.ReadAt(data, 0) // an error shows in what was read
	if err := want.Verify(data[:n]); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fetch writes a chunk from the source to a file. While the source is away it tries again until its patience ends.
func (c *Chunks) fetch(ctx context.Context, want cas.Chunk, path string, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	deadline := time.Now().Add(c.cfg.Patience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		data, err := c.attempt(ctx, want)
		if err == nil {
			c.fetched.Add(uint64(len(data)))
			return os.WriteFile(path, data, 0o400)
		}
		if away := errors.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded); !away || time.Now().Add(pause).After(deadline) {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

func (c *Chunks) attempt(ctx context.Context, want cas.Chunk) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	data, err := c.cfg.Source.ReadAll(ctx, want.Digest, cas.MaxChunk)
	if err != nil {
		return nil, err
	}
	return data, want.Verify(data)
}

// read copies from a chunk.
func (k *chunk) read(p []byte, offset uint64) error {
	n, err := k.file.ReadAt(p, int64(offset)) //nolint:gosec // within a chunk
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("chunk %s: %d bytes at %d of %d: %w", k.want.Digest, n, offset, len(p), err)
}

// manifest reads a manifest through the cache.
func (c *Chunks) manifest(ctx context.Context, digest string) (*cas.Manifest, error) {
	name := "manifest-" + digest[len("sha256:"):]
	path, free, err := c.cfg.Cache.Get(ctx, name, func(tmp string) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		data, err := c.cfg.Source.ReadAll(ctx, digest, cas.MaxManifest)
		if err != nil {
			return 0, err
		}
		c.fetched.Add(uint64(len(data)))
		return uint64(len(data)), os.WriteFile(tmp, data, 0o400)
	})
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", digest, err)
	}
	defer free()
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", digest, err)
	}
	if got := ident.Digest(data); got != digest {
		return nil, errors.Join(fault.New(fault.DataLoss, "manifest %s: its copy on this host has the digest %s", digest, got), c.cfg.Cache.Discard(name))
	}
	return cas.Decode(data)
}
