package lazyfs

import (
	"context"
	"os"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Blob returns a blob that is named by its digest alone; see get.
func (c *Chunks) Blob(ctx context.Context, digest string) ([]byte, error) {
	return c.get(ctx, cas.Chunk{Digest: digest}, interruptedPatience)
}

// Manifest returns a manifest. Errors: fault.NotFound, fault.DataLoss, fault.Unavailable.
func (c *Chunks) Manifest(ctx context.Context, digest string) (*cas.Manifest, error) {
	return c.manifest(ctx, digest)
}

// ReadAll implements cas.Source by Blob.
func (c *Chunks) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	data, err := c.Blob(ctx, digest)
	if err == nil && int64(len(data)) > limit {
		return nil, fault.New(fault.Exhausted, "blob %s: larger than %d bytes", digest, limit)
	}
	return data, err
}

// Prefetch has a blob in memory soon, unless very many are to be fetched already. What can't be had is left: its reader hears why.
func (c *Chunks) Prefetch(digest string) {
	if len(c.ahead) == cap(c.ahead) {
		return
	}
	c.entry(cas.Chunk{Digest: digest}, false)
}

// Keep has the cache keep a blob that was made on this host. One that can't be kept is fetched when it is read.
func (c *Chunks) Keep(ctx context.Context, digest string, data []byte) {
	_, free, err := c.cfg.Cache.Get(ctx, cacheName(cas.Chunk{Digest: digest}), func(tmp string) (uint64, error) {
		return uint64(len(data)), os.WriteFile(tmp, data, 0o400)
	})
	if err != nil {
		c.complain(err)
		return
	}
	free()
}
