// Package cache is a folder of files and trees by name, of bounded size. Each is made once, however many want it at a time, and stays while
// it is in use or there is room.
package cache

import (
	"cmp"
	"container/list"
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

// Cache is such a folder; it belongs to one Cache alone. It is safe for concurrent use.
type Cache struct {
	dir   string
	limit uint64

	mu      sync.Mutex
	entries map[string]*entry
	idle    *list.List // of complete entries that nobody uses, the least recently used first
	size    uint64
	serial  uint64
}

type entry struct {
	name string
	size uint64
	refs int
	idle *list.Element
	done chan struct{} // closed when it is built
	err  error         // why it could not be; read after done
}

// Open returns a cache over what its folder holds, which is made if missing. Entries that were not complete are gone.
func Open(dir string, limit uint64) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := &Cache{dir: dir, limit: limit, entries: make(map[string]*entry), idle: list.New()}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type found struct {
		name string
		size uint64
		used time.Time
	}
	all := make([]found, 0, len(names))
	for _, f := range names {
		path := filepath.Join(dir, f.Name())
		if strings.HasPrefix(f.Name(), building) {
			if err := os.RemoveAll(path); err != nil {
				return nil, err
			}
			continue
		}
		size, used, err := Measure(path)
		if err != nil {
			return nil, err
		}
		all = append(all, found{f.Name(), size, used})
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	done := make(chan struct{})
	close(done)
	for _, f := range all {
		e := &entry{name: f.name, size: f.size, done: done}
		e.idle = c.idle.PushBack(e)
		c.entries[f.name] = e
		c.size += f.size
	}
	return c, nil
}

// Measure returns the bytes of the files in a tree, and when its root was last changed.
func Measure(path string) (size uint64, changed time.Time, err error) {
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if p == path {
			changed = info.ModTime()
		}
		if info.Mode().IsRegular() {
			size += uint64(info.Size()) //nolint:gosec // sizes are not negative
		}
		return nil
	})
	return size, changed, err
}

// Size is how much the cache holds, in bytes.
func (c *Cache) Size() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// Get returns the path of an entry, which stays until release is called. If it is not there, build makes it at the path that it is
// given and returns its size; of several callers one builds and the others wait for it.
func (c *Cache) Get(ctx context.Context, name string, build func(tmp string) (uint64, error)) (path string, release func(), err error) {
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

// Lookup is Get for an entry that is complete; ok is false for any other.
func (c *Cache) Lookup(name string) (path string, release func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[name]
	if e == nil {
		return "", nil, false
	}
	select {
	case <-e.done:
	default:
		return "", nil, false
	}
	c.use(e)
	return filepath.Join(c.dir, name), c.releaser(e), true
}

// Adopt takes a file of the same file system over as an entry, unless it has one of the name.
func (c *Cache) Adopt(name, file string) error {
	_, release, err := c.Get(context.Background(), name, func(tmp string) (uint64, error) {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		return uint64(info.Size()), os.Rename(file, tmp) //nolint:gosec // sizes are not negative
	})
	if err != nil {
		return err
	}
	release()
	return nil
}

// Discard removes an entry that turned out to be damaged. Those who use it go on with what they have open.
func (c *Cache) Discard(name string) error {
	c.mu.Lock()
	e := c.entries[name]
	if e == nil || e.size == 0 {
		c.mu.Unlock()
		return nil // not there, or not complete
	}
	tmp, err := c.remove(e)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return os.RemoveAll(tmp)
}

// claim takes a reference to an entry; mine tells the caller to build it.
func (c *Cache) claim(name string) (e *entry, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[name]
	if !ok {
		e = &entry{name: name, done: make(chan struct{})}
		c.entries[name] = e
	}
	c.use(e)
	return e, !ok
}

// use takes a reference. The lock is held.
func (c *Cache) use(e *entry) {
	e.refs++
	if e.idle != nil {
		c.idle.Remove(e.idle)
		e.idle = nil
	}
}

func (c *Cache) build(e *entry, build func(tmp string) (uint64, error)) error {
	c.mu.Lock()
	tmp := c.temporary(e.name)
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

// temporary is a path for the entry while it is not, or no longer, complete. The lock is held.
func (c *Cache) temporary(name string) string {
	c.serial++
	return filepath.Join(c.dir, fmt.Sprintf("%s%d-%s", building, c.serial, name))
}

func (c *Cache) releaser(e *entry) func() {
	var once sync.Once
	return func() { once.Do(func() { c.release(e) }) }
}

func (c *Cache) release(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.refs--
	if e.refs == 0 && c.entries[e.name] == e {
		e.idle = c.idle.PushBack(e)
	}
}

// evict removes the least recently used entries that nobody uses until the rest fits.
func (c *Cache) evict() error {
	var doomed []string
	var errs []error
	c.mu.Lock()
	for c.size > c.limit && c.idle.Len() > 0 {
		e, _ := c.idle.Front().Value.(*entry)
		tmp, err := c.remove(e)
		if err != nil {
			errs = append(errs, err)
			break
		}
		doomed = append(doomed, tmp)
	}
	c.mu.Unlock()
	for _, path := range doomed {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// remove takes an entry off the list and returns where it is until the caller removes it. One whose files somebody has removed is gone as
// well. The lock is held, so that a new entry of the name does not meet the old one.
func (c *Cache) remove(e *entry) (tmp string, err error) {
	tmp = c.temporary(e.name)
	if err := os.Rename(filepath.Join(c.dir, e.name), tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if e.idle != nil {
		c.idle.Remove(e.idle)
		e.idle = nil
	}
	delete(c.entries, e.name)
	c.size -= e.size
	return tmp, nil
}
