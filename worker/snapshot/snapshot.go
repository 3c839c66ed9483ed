// Package snapshot keeps states of sandboxes: their files as images, and all that runs in them with their files as memory snapshots.
//
// Images go to the blob store at once; what they share with the image that a sandbox was started from is neither read nor stored again. Memory
// snapshots are folders on the worker's disk, from which any number of copies start, and go to the blob store only where they are to be had on
// other workers or later.
package snapshot

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/cache"
)

// MinFree is how much of the disk snapshots leave to everybody else, in bytes.
const MinFree = 1 << 30

// DefaultCacheBytes is how much of the disk memory snapshots from the blob store take, beyond those that are in use.
const DefaultCacheBytes = 20 << 30

// Blobs is where images and snapshots are kept. Implemented by worker/gatewaylink.
type Blobs interface {
	cas.Sink
	cas.Source
	// Claim keeps a blob from being removed before it is referred to. Errors: fault.NotFound.
	Claim(ctx context.Context, digest string) error
}

// Layer is what differs between a container's files and its image. Implemented by worker/gvisor.
type Layer interface {
	// Each calls take with all entries, as erofs.LayerParams.Upper.
	Each(ctx context.Context, take func(h *tar.Header, content io.Reader) error) error
	// Close gives back the room that it takes.
	Close() error
}

// Config says how to keep snapshots. All fields but CacheBytes are needed.
type Config struct {
	Dir   string // belongs to this Store alone, and holds what is kept over restarts
	Blobs Blobs
	// Runtime names what sandboxes run on: memory of one version can't be restored by another.
	Runtime    string
	CacheBytes uint64 // default DefaultCacheBytes
}

// Store keeps snapshots. It is safe for concurrent use.
type Store struct {
	cfg     Config
	fetched *cache.Cache
	memory  memory
}

// Open returns a Store over what Dir holds. What was not complete is gone.
func Open(cfg Config) (*Store, error) {
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = DefaultCacheBytes
	}
	s := &Store{cfg: cfg, memory: memory{used: map[string]int{}, dropped: map[string]bool{}}}
	if err := os.RemoveAll(s.tmp()); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	for _, dir := range []string{s.tmp(), s.kept("")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("snapshots: %w", err)
		}
	}
	var err error
	if s.fetched, err = cache.Open(filepath.Join(cfg.Dir, "fetched"), cfg.CacheBytes); err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	return s, nil
}

func (s *Store) tmp() string { return filepath.Join(s.cfg.Dir, "tmp") }

func (s *Store) kept(id string) string { return filepath.Join(s.cfg.Dir, "kept", id) }

// room fails unless the disk has room for that many bytes besides what it leaves to others.
func (s *Store) room(need uint64) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(s.cfg.Dir, &stat); err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	if free := stat.Bavail * uint64(stat.Bsize); free < need || free-need < MinFree { //nolint:gosec // not negative
		return fault.New(fault.Exhausted, "the worker's disk has %d MiB left, of which a snapshot may take %d and needs %d; remove snapshots or add disk",
			free>>20, (free-min(free, MinFree))>>20, need>>20)
	}
	return nil
}

// Close ends the use of the folder; nobody uses a snapshot.
func (s *Store) Close() error { return os.RemoveAll(s.tmp()) }

// closing joins an error with that of a close.
func closing(err *error, c io.Closer) { *err = errors.Join(*err, c.Close()) }
