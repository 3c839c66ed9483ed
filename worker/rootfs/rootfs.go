// Package rootfs provides the files of images and mounts on a worker: straight from a blob store on the same host, or fetched once into
// a cache of bounded size. Everything is found by content and verified.
package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/cache"
	"github.com/skerry-dev/skerry/worker/container"
)

// Defaults of a Config.
const (
	// DefaultCacheBytes is how much the cache holds before the least recently used of what no container uses goes.
	DefaultCacheBytes = 50 << 30
	// fetches is how many files of one tree are fetched at a time.
	fetches = 16
)

// File is one file of a tree.
type File struct {
	Path string // relative; "." where the tree is one file
	Blob payload.Ref
	Mode os.FileMode // permission bits
}

// Source is where files come from.
type Source interface {
	// Open streams a blob. Errors: fault.NotFound, fault.Unavailable.
	Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error)
	// ReadAll returns a whole, verified blob of at most limit bytes. Errors: fault.NotFound, fault.Unavailable, fault.DataLoss.
	ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error)
	// Tree lists the files of a tree. Errors: fault.NotFound, fault.Unavailable.
	Tree(ctx context.Context, digest string) ([]File, error)
}

// Local is a blob store whose files are on this host.
type Local interface {
	// LocalPath returns the file of a blob, if it is there.
	LocalPath(digest string) (string, bool)
}

// Config says where files are kept and come from.
type Config struct {
	Dir        string // the cache's folder; belongs to this store alone
	Source     Source
	Local      Local  // or nil
	CacheBytes uint64 // default DefaultCacheBytes; half of it for whole files, the other half is for chunks (ChunkBytes), and as much again for mounts
	Lazy       Lazy   // serves images whose contents are elsewhere; or nil: they are put together whole
}

// Lazy mounts images whose contents come as they are read.
type Lazy interface {
	// Open returns the path of an image's file, which depends on the image alone. It stays valid until release is called. Errors:
	// fault.NotFound, fault.DataLoss, fault.Unavailable.
	Open(ctx context.Context, image payload.Ref) (path string, release func(), err error)
	// Adopt is Open for an image that is mounted since an earlier process opened it. Errors: fault.NotFound for one that is not.
	Adopt(ctx context.Context, image payload.Ref) (path string, release func(), err error)
	// Find has what earlier processes opened served again, if there is any.
	Find(ctx context.Context) error
	// Reap gives back what earlier processes opened and nobody has adopted.
	Reap(ctx context.Context) error
	// Close ends it. What is still open stays so, for the next process.
	Close() error
}

// ChunkBytes is how much of a cache is for the chunks of lazy images.
func ChunkBytes(cacheBytes uint64) uint64 {
	if cacheBytes == 0 {
		cacheBytes = DefaultCacheBytes
	}
	return cacheBytes / 2
}

// Store provides files. It is safe for concurrent use.
type Store struct {
	source Source
	local  Local
	blobs  *cache.Cache
	trees  *cache.Cache
	lazy   Lazy // or nil
}

var _ container.Rootfs = (*Store)(nil)

// Open returns a store over what its folder holds.
func Open(cfg Config) (*Store, error) {
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = DefaultCacheBytes
	}
	if err := dropUnsynced(cfg.Dir); err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	blobs, err := cache.Open(filepath.Join(cfg.Dir, "blobs"), cfg.CacheBytes/2)
	if err != nil {
		return nil, fmt.Errorf("image cache: %w", err)
	}
	trees, err := cache.Open(filepath.Join(cfg.Dir, "trees"), cfg.CacheBytes)
	if err != nil {
		return nil, fmt.Errorf("mount cache: %w", err)
	}
	return &Store{source: cfg.Source, local: cfg.Local, blobs: blobs, trees: trees, lazy: cfg.Lazy}, nil
}

// dropUnsynced removes from a store's folder what a power cut may have damaged, if the host has been started since it was last opened: all but
// whole images, which are on disk before they have their name, and chunks, which are verified when they are read. Nothing else is synced: a
// container's start would wait for it.
func dropUnsynced(dir string) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	mark := filepath.Join(dir, "boot")
	if last, err := os.ReadFile(mark); err == nil && bytes.Equal(last, boot) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	stale, err := filepath.Glob(filepath.Join(dir, "blobs", "*"))
	if err != nil {
		return err
	}
	stale = slices.DeleteFunc(stale, func(path string) bool { return strings.HasPrefix(filepath.Base(path), wholePrefix) })
	for _, path := range append(stale, filepath.Join(dir, "trees")) {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return os.WriteFile(mark, boot, 0o600)
}

// Image returns the path of an image's EROFS file.
func (s *Store) Image(ctx context.Context, image container.Image) (path string, release func(), err error) {
	if image.Chunked {
		path, release, err = s.chunked(ctx, image.Ref)
	} else {
		path, release, err = s.blob(ctx, image.Ref)
	}
	if err != nil {
		return "", nil, fmt.Errorf("image %s: %w", image.Digest, err)
	}
	return path, release, nil
}

// blob returns a file with the blob's bytes, which the caller must not change.
func (s *Store) blob(ctx context.Context, ref payload.Ref) (path string, release func(), err error) {
	if err := ident.CheckDigest(ref.Digest); err != nil {
		return "", nil, err
	}
	if s.local != nil {
		if path, ok := s.local.LocalPath(ref.Digest); ok {
			return path, func() {}, nil
		}
	}
	return s.blobs.Get(ctx, key(ref.Digest), func(tmp string) (uint64, error) {
		return ref.Size, s.fetch(ctx, ref, tmp)
	})
}

// fetch writes a blob to a file and verifies it.
func (s *Store) fetch(ctx context.Context, ref payload.Ref, path string) (err error) {
	r, err := s.source.Open(ctx, ref)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444) //nolint:gosec // read by every user of a container
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, hash), r)
	if err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(hash.Sum(nil)); got != ref.Digest || uint64(n) != ref.Size { //nolint:gosec // n >= 0
		return fault.New(fault.DataLoss, "blob %s of %d bytes: %d bytes with digest %s came", ref.Digest, ref.Size, n, got)
	}
	return nil
}

// tree returns a file or folder with a tree's content.
func (s *Store) tree(ctx context.Context, digest string) (path string, release func(), err error) {
	if err := ident.CheckDigest(digest); err != nil {
		return "", nil, err
	}
	return s.trees.Get(ctx, key(digest), func(tmp string) (uint64, error) {
		files, err := s.source.Tree(ctx, digest)
		if err != nil {
			return 0, err
		}
		return s.build(ctx, files, tmp)
	})
}

// build makes a tree at root.
func (s *Store) build(ctx context.Context, files []File, root string) (size uint64, err error) {
	if len(files) == 1 && files[0].Path == "." {
		return files[0].Blob.Size, s.place(ctx, files[0], root)
	}
	if err := os.Mkdir(root, 0o755); err != nil { //nolint:gosec // read by every user of a container
		return 0, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(fetches)
	for _, f := range files {
		if f.Path == "." || !filepath.IsLocal(f.Path) {
			return 0, errors.Join(fault.New(fault.Invalid, "file %q: path leaves its tree", f.Path), g.Wait())
		}
		size += f.Blob.Size
		g.Go(func() error {
			target := filepath.Join(root, f.Path)
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // as above
				return err
			}
			return s.place(gctx, f, target)
		})
	}
	return size, g.Wait()
}

// place puts one file of a tree at its place. It is a copy: the blob's own file keeps its mode, and lives as long as its cache wants.
func (s *Store) place(ctx context.Context, f File, target string) (err error) {
	path, release, err := s.blob(ctx, f.Blob)
	if err != nil {
		return fmt.Errorf("file %q: %w", f.Path, err)
	}
	defer release()
	from, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("file %q: %w", f.Path, err)
	}
	defer from.Close()
	// Readable by every user of the container, executable by those that may on the client.
	to, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444|f.Mode&0o111)
	if err != nil {
		return fmt.Errorf("file %q: %w", f.Path, err)
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// key is the name of a digest in a cache.
func key(digest string) string { return digest[len("sha256:"):] }
