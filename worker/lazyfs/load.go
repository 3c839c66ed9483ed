package lazyfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
)

const (
	// checks is how many chunks of the cache are read and verified at a time.
	checks = 8
	// attemptTimeout bounds one attempt to fetch a chunk.
	attemptTimeout = 30 * time.Second
	// firstPause and lastPause bound the growing pause between attempts. A store that was away can't tell us that it is back.
	firstPause, lastPause = 50 * time.Millisecond, 2 * time.Second
	// quiet is how long nothing is logged again that many chunks meet.
	quiet = 5 * time.Second
)

// maxBlob is the size in bytes of the largest blob that is read as a whole: a chunk, or a folder of a volume.
const maxBlob = max(cas.MaxChunk, voltree.MaxBlob)

// errDamaged says that a file of the cache is not what its name says.
var errDamaged = errors.New("the copy on this host is damaged")

// cacheName is a chunk's name in the cache.
func cacheName(want cas.Chunk) string { return want.Digest[len("sha256:"):] }

// load gets a chunk from the cache, or from the source where the cache has none or a damaged one.
func (c *Chunks) load(ctx context.Context, k *chunk) ([]byte, error) {
	name := cacheName(k.want)
	for range 2 {
		var fresh []byte
		path, free, err := c.cfg.Cache.Get(ctx, name, func(tmp string) (size uint64, err error) {
			if fresh, err = c.fetch(ctx, k); err != nil {
				return 0, err
			}
			return uint64(len(fresh)), os.WriteFile(tmp, fresh, 0o400)
		})
		if err == nil {
			defer free()
		}
		if fresh != nil {
			if err != nil {
				c.complain(err) // its reader has it nevertheless
			}
			return fresh, k.check(fresh)
		}
		if err != nil {
			return nil, err
		}
		data, err := c.cached(ctx, path, k.want.Digest)
		if err == nil {
			return data, k.check(data)
		}
		if !errors.Is(err, errDamaged) {
			return nil, fmt.Errorf("chunk %s: %w", k.want.Digest, err)
		}
		c.cfg.Log.Error("a cached chunk is damaged and is fetched again", "chunk", k.want.Digest, "error", err)
		if err := c.cfg.Cache.Discard(name); err != nil {
			return nil, fmt.Errorf("chunk %s: %w", k.want.Digest, err)
		}
	}
	return nil, fault.New(fault.DataLoss, "chunk %s: its copy on this host is damaged again and again", k.want.Digest)
}

// check compares what a manifest says of a chunk with a blob that has its digest. Only the manifest can be wrong.
func (k *chunk) check(data []byte) error {
	if len(data) == int(k.want.Size) || k.want.Size == 0 {
		return nil
	}
	return fault.New(fault.DataLoss, "chunk %s: has %d bytes, its manifest says %d", k.want.Digest, len(data), k.want.Size)
}

// cached reads a file of the cache. Errors: errDamaged for one that is not whole, or not there.
func (c *Chunks) cached(ctx context.Context, path, digest string) ([]byte, error) {
	select {
	case c.checks <- struct{}{}:
		defer func() { <-c.checks }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxBlob {
		return nil, fmt.Errorf("%w: it has %d bytes", errDamaged, info.Size())
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if got := ident.Digest(data); got != digest {
		return nil, fmt.Errorf("%w: it has the digest %s", errDamaged, got)
	}
	return data, nil
}

// complain logs that chunks can't be kept.
func (c *Chunks) complain(err error) {
	if c.speak(&c.full) {
		c.cfg.Log.Error("the cache of chunks can't be written: what is read of images is fetched again and again", "error", err)
	}
}

// speak says whether it is time to log what many chunks meet.
func (c *Chunks) speak(last *time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(*last) < quiet {
		return false
	}
	*last = now
	return true
}

// fetch gets a chunk from the source. While the source is away it tries again until its patience ends.
func (c *Chunks) fetch(ctx context.Context, k *chunk) ([]byte, error) {
	free, err := c.turn(ctx, k)
	if err != nil {
		return nil, err
	}
	defer free()
	deadline := time.Now().Add(c.cfg.Patience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		data, err := c.attempt(ctx, k.want.Digest)
		if err == nil {
			c.fetched.Add(uint64(len(data)))
			return data, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !away(err) || time.Now().Add(pause).After(deadline) {
			return nil, err
		}
		if c.speak(&c.lost) {
			c.cfg.Log.Warn("the blob store is away: readers of images wait for it", "patience", c.cfg.Patience, "error", err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// away says whether an attempt failed for want of the source. One that a connection's end has broken off says that it was cancelled.
func away(err error) bool {
	return errors.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// turn waits until a chunk may be fetched: with those that nobody waits for yet, or before them as soon as somebody does.
func (c *Chunks) turn(ctx context.Context, k *chunk) (free func(), err error) {
	select {
	case <-k.hurry:
	default:
		select {
		case c.ahead <- struct{}{}:
			return func() { <-c.ahead }, nil
		case <-k.hurry:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	select {
	case c.demand <- struct{}{}:
		return func() { <-c.demand }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (c *Chunks) attempt(ctx context.Context, digest string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return c.cfg.Source.ReadAll(ctx, digest, maxBlob)
}

// manifest reads a manifest through the cache.
func (c *Chunks) manifest(ctx context.Context, digest string) (*cas.Manifest, error) {
	name := "manifest-" + digest[len("sha256:"):]
	for range 2 {
		var fresh []byte
		path, free, err := c.cfg.Cache.Get(ctx, name, func(tmp string) (uint64, error) {
			ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
			defer cancel()
			data, err := c.cfg.Source.ReadAll(ctx, digest, cas.MaxManifest)
			if err != nil {
				return 0, err
			}
			c.fetched.Add(uint64(len(data)))
			fresh = data
			return uint64(len(data)), os.WriteFile(tmp, data, 0o400)
		})
		if err == nil {
			defer free()
		}
		if fresh != nil {
			if err != nil {
				c.complain(err)
			}
			return cas.Decode(fresh)
		}
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", digest, err)
		}
		data, err := os.ReadFile(path)
		if err == nil && ident.Digest(data) == digest {
			return cas.Decode(data)
		}
		c.cfg.Log.Error("a cached manifest is damaged and is fetched again", "manifest", digest, "error", err)
		if err := c.cfg.Cache.Discard(name); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", digest, err)
		}
	}
	return nil, fault.New(fault.DataLoss, "manifest %s: its copy on this host is damaged again and again", digest)
}
