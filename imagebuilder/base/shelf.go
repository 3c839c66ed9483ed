package base

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// shelf keeps OCI layouts, each made once, in folders that processes share.
type shelf struct {
	dir string

	mu      sync.Mutex
	flights map[string]*flight
}

func newShelf(dir string) *shelf { return &shelf{dir: dir, flights: map[string]*flight{}} }

// flight is a layout being made, for all who wait for it; when the last of them leaves it is given up.
type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	img     *Image
	err     error
}

// fill writes a layout into an empty folder and says what it is.
type fill func(ctx context.Context, l layoutWriter) (record, error)

// prepare returns the layout of a name, made by f where it is missing. The lines of one that several wait for go to the first of them.
func (s *shelf) prepare(ctx context.Context, name string, progress func(string), f fill) (*Image, error) {
	dir := filepath.Join(s.dir, name)
	if img, err := load(dir); err != nil || img != nil {
		return img, err
	}
	joined := s.join(ctx, dir, func(ctx context.Context) (*Image, error) { return s.make(ctx, dir, progress, f) })
	defer s.leave(dir, joined)
	select {
	case <-joined.done:
		return joined.img, joined.err
	case <-ctx.Done():
		return nil, fmt.Errorf("base %q: %w", name, context.Cause(ctx))
	}
}

// join waits for the layout with others, or begins it.
func (s *shelf) join(ctx context.Context, dir string, do func(context.Context) (*Image, error)) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flights[dir]
	if f == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{})}
		s.flights[dir] = f
		go func() {
			defer close(f.done)
			f.img, f.err = do(ctx)
		}()
	}
	f.waiting++
	return f
}

func (s *shelf) leave(dir string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		// The next one makes it anew; its lock keeps it off the files until this one has ended.
		if s.flights[dir] == f {
			delete(s.flights, dir)
		}
	}
}

// make makes the layout in a folder beside its own and renames that when all is there. The lock file keeps other makers out; the kernel
// drops it with its holder, and what a killed one left is removed.
func (s *shelf) make(ctx context.Context, dir string, progress func(string), f fill) (img *Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("base %q: %w", filepath.Base(dir), err)
		}
	}()
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lock(dir+".lock", progress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if img, err := load(dir); err != nil || img != nil {
		return img, err
	}
	l := layoutWriter{dir + ".new"}
	if err := errors.Join(os.RemoveAll(l.dir), os.RemoveAll(dir), os.Mkdir(l.dir, 0o755)); err != nil {
		return nil, err
	}
	r, err := f(ctx, l)
	if err != nil {
		return nil, err
	}
	if err := l.file(recordName, r); err != nil {
		return nil, err
	}
	if err := os.Rename(l.dir, dir); err != nil {
		return nil, err
	}
	return load(dir)
}

// lock takes a lock that other processes see.
func lock(path string, progress func(string)) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // bases hold nothing secret
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		progress("another process makes this base, waiting for it")
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
