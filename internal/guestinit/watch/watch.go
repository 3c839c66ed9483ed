// Package watch tells what happens to files, by inotify.
package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// MaxDirectories is how many directories one watch covers.
const MaxDirectories = 16_384

// pairTime is how long the second half of a rename may come after the first.
const pairTime = 10 * time.Millisecond

// Type is what happened.
type Type uint8

// The types.
const (
	Unknown Type = iota // events were lost: look yourself
	Access
	Create
	Modify // with two paths: renamed from the first to the second
	Remove
)

// Event is something that happened.
type Event struct {
	Type  Type
	Paths []string
}

// Config is what to watch.
type Config struct {
	Path      string // a file or directory; a link is followed
	Recursive bool   // with all directories below, also later ones
	Access    bool   // tell of accesses
	// Ignore begins the names of files that are not told of.
	Ignore string
}

// Watcher watches files. It is for one goroutine.
type Watcher struct {
	cfg   Config
	file  *os.File // inotify's
	root  string   // where Path leads
	only  string   // the name of the one file that is watched in root's place; empty: all
	mask  uint32
	dirs  map[int32]string // what is watched, by watch number
	known map[string]int32
	told  map[string]struct{} // files of directories that were new, which inotify may tell of again
	moved *raw                // the first half of a rename
	buf   []byte
}

const always = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF |
	unix.IN_MOVE_SELF | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW | unix.IN_EXCL_UNLINK

// New begins to watch: what happens from its return on is told. Close ends it. Errors: fault.NotFound, fault.Exhausted.
func New(cfg Config) (*Watcher, error) {
	root, err := filepath.EvalSymlinks(cfg.Path)
	if err != nil {
		return nil, watchError(cfg.Path, err)
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, watchError(cfg.Path, err)
	}
	w := &Watcher{
		cfg: cfg, root: root, mask: always, file: os.NewFile(uintptr(fd), "inotify"), //nolint:gosec // file descriptors are small
		dirs: map[int32]string{}, known: map[string]int32{}, told: map[string]struct{}{}, buf: make([]byte, 64<<10),
	}
	if cfg.Access {
		w.mask |= unix.IN_ACCESS | unix.IN_OPEN
	}
	if err := w.begin(); err != nil {
		w.Close()
		return nil, watchError(cfg.Path, err)
	}
	return w, nil
}

// begin watches the root. A file is watched in its directory, for programs replace files as often as they change them.
func (w *Watcher) begin() error {
	st, err := os.Stat(w.root)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		w.root, w.only, w.cfg.Recursive = filepath.Dir(w.root), filepath.Base(w.root), false
	}
	return w.add(w.root, nil)
}

// Close ends the watch.
func (w *Watcher) Close() {

	_ = w.file.Close() // read only
}

func watchError(path string, err error) error {
	kind := fault.Precondition
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = fault.NotFound
	case errors.Is(err, fault.Exhausted), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EMFILE):
		kind = fault.Exhausted
	case errors.Is(err, fs.ErrPermission):
		kind = fault.Denied
	}
	return fault.New(kind, "watch %q: %w", path, err)
}

// add watches a directory, and below it if it is to be. Found is told of each file there; nil: of none.
func (w *Watcher) add(dir string, found func(path string)) error {
	if len(w.dirs) >= MaxDirectories {
		return fault.New(fault.Exhausted, "more than %d directories", MaxDirectories)
	}
	var wd int
	err := w.control(func(fd int) (err error) {
		wd, err = unix.InotifyAddWatch(fd, dir, w.mask)
		return err
	})
	if err != nil {
		return err
	}
	w.dirs[int32(wd)], w.known[dir] = dir, int32(wd) //nolint:gosec // watch numbers are small
	if !w.cfg.Recursive {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if found != nil {
			found(path)
		}
		if e.IsDir() {
			if err := gone(w.add(path, found)); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone takes the error away that something is there no longer.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

func (w *Watcher) control(f func(fd int) error) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil { //nolint:gosec // file descriptors are small
		return fmt.Errorf("inotify: %w", err)
	}
	return failed
}

// drop watches a directory and what is below it no longer.
func (w *Watcher) drop(dir string) {
	for path, wd := range w.known {
		if within(path, dir) {
			_ = w.control(func(fd int) error {
				_, err := unix.InotifyRmWatch(fd, uint32(wd)) //nolint:gosec // watch numbers are positive
				return err
			}) // with the directory gone the watch is too
			delete(w.known, path)
			delete(w.dirs, wd)
		}
	}
}

// rename tells where directories are now that were watched at another place.
func (w *Watcher) rename(from, to string) {
	for path, wd := range w.known {
		if within(path, from) {
			now := to + strings.TrimPrefix(path, from)
			delete(w.known, path)
			w.known[now], w.dirs[wd] = wd, now
		}
	}
}

func within(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}

// Next calls f with what happens, in order, until ctx ends or f returns an error; that is returned, or ctx's cause. Errors: fault.Exhausted
// where directories come to be too many.
func (w *Watcher) Next(ctx context.Context, f func(Event) error) error {
	stop := context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		events, err := w.read(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := f(e); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
