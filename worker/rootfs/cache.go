package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// building is the prefix of entries that are not complete.
const building = "tmp-"

// cache is a folder of files and trees by name, each built once and kept while it is in use or there is room.
type cache struct {
	dir   string
	limit uint64

	mu      sync.Mutex
	entries map[string]*entry
	size    uint64
	serial  uint64
}

type entry struct {
	name string
	size uint64
	refs int
	used time.Time
	done chan struct{} // closed when it is built
	err  error         // why it could not be; read after done
}

func openCache(dir string, limit uint64) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &cache{dir: dir, limit: limit, entries: make(map[string]*entry)}
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	close(done)
	for _, f := range found {
		path := filepath.Join(dir, f.Name())
		if strings.HasPrefix(f.Name(), building) {
			if err := os.RemoveAll(path); err != nil {
				return nil, err
			}
			continue
		}
		size, used, err := measure(path)
		if err != nil {
			return nil, err
		}
		c.entries[f.Name()] = &entry{name: f.Name(), size: size, used: used, done: done}
		c.size += size
	}
	return c, nil
}

// measure returns the bytes of an entry's files, and when it was made.
func measure(path string) (size uint64, made time.Time, err error) {
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if p == path {
			made = info.ModTime()
		}
		if info.Mode().IsRegular() {
			size += uint64(info.Size()) //nolint:gosec // sizes are not negative
		}
		return nil
	})
	return size, made, err
}

// get returns the path of an entry, which stays until release is called. If it is not there, build makes it at the path that it is
// given and returns its size; of several callers one builds and the others wait for it.
func (c *cache) get(ctx context.Context, name string, build func(tmp string) (uint64, error)) (path string, release func(), err error) {
	for {
		e, mine := c.claim(name)
		if mine {
			if err := c.build(e, build); err != nil {
				c.release(e)
				return "", nil, err
			}
			return filepath.Join(c.dir, name), c.releaser(e), nil
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			c.release(e)
			return "", nil, context.Cause(ctx)
		}
		if e.err == nil {
			return filepath.Join(c.dir, name), c.releaser(e), nil
		}
		// The builder's own end is not ours: try again ourselves.
		if ctx.Err() == nil && (errors.Is(e.err, context.Canceled) || errors.Is(e.err, context.DeadlineExceeded)) {
			continue
		}
		return "", nil, e.err
	}
}

// claim takes a reference to an entry; mine tells the caller to build it.
func (c *cache) claim(name string) (e *entry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[name]
	if !ok {
		e = &entry{name: name, done: make(chan struct{})}
		c.entries[name] = e
	}
	e.refs++
	e.used = time.Now()
	return e, !ok
}

func (c *cache) build(e *entry, build func(tmp string) (uint64, error)) error {
	c.mu.Lock()
	c.serial++
	tmp := filepath.Join(c.dir, fmt.Sprintf("%s%d-%s", building, c.serial, e.name))
	c.mu.Unlock()
	size, err := build(tmp)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(c.dir, e.name))
	}
	if err != nil {
		err = errors.Join(err, os.RemoveAll(tmp))
	}
	c.mu.Lock()
	e.err = err
	if err != nil {
		delete(c.entries, e.name)
	} else {
		e.size = size
		c.size += size
	}
	c.mu.Unlock()
	close(e.done)
	if err != nil {
		return err
	}
	return c.evict()
}

func (c *cache) releaser(e *entry) func() {
	var once sync.Once
	return func() { once.Do(func() { c.release(e) }) }
}

func (c *cache) release(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.refs--
	e.used = time.Now()
}

// evict removes the least recently used entries that nobody uses until the rest fits.
func (c *cache) evict() error {
	c.mu.Lock()
	var idle []*entry
	for _, e := range c.entries {
		if e.refs == 0 {
			idle = append(idle, e)
		}
	}
	slices.SortFunc(idle, func(a, b *entry) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	var doomed []string
	var errs []error
	for _, e := range idle {
		if c.size <= c.limit {
			break
		}
		// Renamed under the lock, so that a new entry of the name does not meet the old one.
		c.serial++
		tmp := filepath.Join(c.dir, fmt.Sprintf("%s%d-%s", building, c.serial, e.name))
		if err := os.Rename(filepath.Join(c.dir, e.name), tmp); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(c.entries, e.name)
		c.size -= e.size
		doomed = append(doomed, tmp)
	}
	c.mu.Unlock()
	for _, path := range doomed {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}
