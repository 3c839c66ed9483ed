package base

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Blobs is where images are kept.
type Blobs interface {
	cas.Source
	// Open streams a blob. Errors: fault.NotFound; fault.DataLoss at the read that finds it.
	Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error)
}

// Stored makes bases of images that were built before. They are kept by size: the least recently used go first.
type Stored struct {
	shelf *shelf
	blobs Blobs
	toTar func(ctx context.Context, file io.ReaderAt, w io.Writer) error
	limit int64

	mu    sync.Mutex
	users map[string]int // of layouts, by the names of their folders
}

// NewStored keeps bases in a folder that no other process uses, and of those that nobody uses at most limit bytes. ToTar reads an image's file.
func NewStored(dir string, limit int64, blobs Blobs, toTar func(ctx context.Context, file io.ReaderAt, w io.Writer) error) *Stored {
	return &Stored{shelf: newShelf(dir), blobs: blobs, toTar: toTar, limit: limit, users: map[string]int{}}
}

// Prepare returns the base that an image's file holds, made first where it is missing. It stays until release is called. Errors:
// fault.NotFound, fault.DataLoss.
func (s *Stored) Prepare(ctx context.Context, file payload.Ref, chunked bool, progress func(string)) (img *Image, release func() error, err error) {
	name := strings.TrimPrefix(file.Digest, "sha256:")
	s.use(name, 1)
	release = sync.OnceValue(func() error {
		s.use(name, -1)
		return s.trim()
	})
	img, err = s.shelf.prepare(ctx, name, progress, func(ctx context.Context, l layoutWriter) (record, error) {
		layer, err := s.layer(ctx, l, file, chunked)
		if err != nil {
			return record{}, err
		}
		digest, err := l.finish(layer, nil)
		return record{Name: "image " + name[:12], Digest: digest}, err
	})
	if err == nil {
		now := time.Now()
		err = os.Chtimes(filepath.Join(img.Dir, recordName), now, now)
	}
	if err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return img, release, nil
}

func (s *Stored) use(name string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[name] += by; s.users[name] == 0 {
		delete(s.users, name)
	}
}

// layer stores what the image holds as a layer.
func (s *Stored) layer(ctx context.Context, l layoutWriter, file payload.Ref, chunked bool) (d descriptor, err error) {
	whole, err := os.CreateTemp(l.dir, "file-*")
	if err != nil {
		return d, err
	}
	// The name goes at once: a killed process leaves nothing.
	defer func() { err = errors.Join(err, whole.Close()) }()
	if err := errors.Join(os.Remove(whole.Name()), s.fetch(ctx, file, chunked, whole)); err != nil {
		return d, err
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(s.toTar(ctx, whole, w)) }() // never fails
	d, err = l.layer(r)
	_ = r.Close() // never fails
	return d, err
}

func (s *Stored) fetch(ctx context.Context, file payload.Ref, chunked bool, w io.Writer) (err error) {
	if chunked {
		m, err := cas.Load(ctx, s.blobs, file.Digest)
		if err != nil {
			return err
		}
		return cas.Copy(ctx, s.blobs, m, w)
	}
	r, err := s.blobs.Open(ctx, file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = io.Copy(w, r)
	return err
}

// shelved is a layout that nobody uses.
type shelved struct {
	dir  string
	size int64
	used time.Time
}

// trim removes layouts that nobody uses, the least recently used first, until they are within the limit.
func (s *Stored) trim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	records, err := filepath.Glob(filepath.Join(s.shelf.dir, "*", recordName))
	if err != nil {
		return fmt.Errorf("bases of images: %w", err)
	}
	var idle []shelved
	var size int64
	for _, path := range records {
		dir := filepath.Dir(path)
		if s.users[filepath.Base(dir)] > 0 {
			continue
		}
		one, err := describe(dir)
		if err != nil {
			return fmt.Errorf("bases of images: %w", err)
		}
		idle, size = append(idle, one), size+one.size
	}
	slices.SortFunc(idle, func(a, b shelved) int { return a.used.Compare(b.used) })
	for _, one := range idle {
		if size <= s.limit {
			break
		}
		// The record goes first: what a removal that is broken off leaves is made anew.
		if err := errors.Join(os.Remove(filepath.Join(one.dir, recordName)), os.RemoveAll(one.dir)); err != nil {
			return fmt.Errorf("bases of images: %w", err)
		}
		size -= one.size
	}
	return nil
}

func describe(dir string) (shelved, error) {
	info, err := os.Stat(filepath.Join(dir, recordName))
	if err != nil {
		return shelved{}, err
	}
	one := shelved{dir: dir, used: info.ModTime()}
	blobs, err := os.ReadDir(layoutWriter{dir}.blobs())
	for _, b := range blobs {
		info, err := b.Info()
		if err != nil {
			return one, err
		}
		one.size += info.Size()
	}
	return one, err
}

// Clean removes what makers that were killed have left. Nobody may use the folder yet.
func (s *Stored) Clean() error {
	entries, err := os.ReadDir(s.shelf.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(s.shelf.dir, e.Name())
		if _, gone := os.Stat(filepath.Join(path, recordName)); gone != nil || filepath.Ext(path) != "" {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if err != nil {
		return fmt.Errorf("bases of images: %w", err)
	}
	return nil
}
