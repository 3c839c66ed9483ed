package rootfs

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// assembleMax is the size of the largest image in bytes that is put together before it starts, where its chunks are on this host: it takes
// less than a second and gives the sandbox a plain file for good. A larger one is served lazily.
const assembleMax = 512 << 20

// chunked returns the path of an image that is kept in chunks.
func (s *Store) chunked(ctx context.Context, image payload.Ref) (path string, release func(), err error) {
	if err := ident.CheckDigest(image.Digest); err != nil {
		return "", nil, err
	}
	if path, release, ok := s.blobs.Lookup(wholeKey(image.Digest)); ok {
		return path, release, nil
	}
	if s.lazy != nil && (image.Size > assembleMax || !s.here(image.Digest)) {
		return s.lazy.Open(ctx, image)
	}
	return s.blobs.Get(ctx, wholeKey(image.Digest), func(tmp string) (uint64, error) { return image.Size, s.assemble(ctx, image, tmp) })
}

// here says whether a blob, and so what belongs to it, is on this host.
func (s *Store) here(digest string) bool {
	if s.local == nil {
		return false
	}
	_, ok := s.local.LocalPath(digest)
	return ok
}

// Keep takes over the whole file of an image that was built on this host; the file is on the file system of the cache.
func (s *Store) Keep(file string, image payload.Ref) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	// What is in the cache is not verified again, so that it has to be on disk before it has its name.
	err = errors.Join(f.Chmod(0o444), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return s.blobs.Adopt(wholeKey(image.Digest), file)
}

// wholePrefix begins the names of whole images in the cache.
const wholePrefix = "whole-"

// wholeKey is the name of a whole image in the cache, by its manifest's digest.
func wholeKey(digest string) string { return wholePrefix + key(digest) }

func (s *Store) chunks() cas.Source { return ChunkSource(s.source, s.local) }

// assemble puts a whole image together.
func (s *Store) assemble(ctx context.Context, image payload.Ref, path string) (err error) {
	m, err := cas.Load(ctx, s.chunks(), image.Digest)
	if err != nil {
		return err
	}
	if m.Size != image.Size {
		return fault.New(fault.DataLoss, "manifest %s: is of a file of %d bytes, want %d", image.Digest, m.Size, image.Size)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444) //nolint:gosec // read by every user of a container
	if err != nil {
		return err
	}
	return errors.Join(cas.Copy(ctx, s.chunks(), m, f), f.Sync(), f.Close()) // as Keep
}

// ChunkSource is where chunks come from: the store on this host, if it has them, or the source. Local may be nil.
func ChunkSource(source cas.Source, local Local) cas.Source { return chunkSource{source, local} }

type chunkSource struct {
	source cas.Source
	local  Local
}

func (o chunkSource) ReadAll(ctx context.Context, digest string, limit int64) (data []byte, err error) {
	path, ok := "", false
	if o.local != nil {
		path, ok = o.local.LocalPath(digest)
	}
	if !ok {
		return o.source.ReadAll(ctx, digest, limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if got := ident.Digest(data); got != digest {
		return nil, fault.New(fault.DataLoss, "blob %s: the stored content's digest is %s", digest, got)
	}
	return data, nil
}
