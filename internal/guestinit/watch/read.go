package watch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// raw is an event as inotify tells it.
type raw struct {
	wd     int32
	mask   uint32
	cookie uint32
	name   string
	path   string // of what it happened to
}

func (e raw) is(mask uint32) bool { return e.mask&mask != 0 }

// read waits for events, and returns what they mean.
func (w *Watcher) read(ctx context.Context) ([]Event, error) {
	if w.moved != nil {
		// Its second half comes at once, or it has left what is watched.
		_ = w.file.SetReadDeadline(time.Now().Add(pairTime)) // fails once closed, and then the read does
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	n, err := w.file.Read(w.buf)
	if w.moved != nil {
		_ = w.file.SetReadDeadline(time.Time{})
	}
	var events []Event
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded) && w.moved != nil:
		return w.settle(nil), nil
	case err != nil:
		return nil, watchError(w.cfg.Path, err)
	}
	for b := w.buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		e := raw{
			wd: int32(binary.NativeEndian.Uint32(b)), mask: binary.NativeEndian.Uint32(b[4:]), //nolint:gosec // as inotify has it
			cookie: binary.NativeEndian.Uint32(b[8:]),
		}
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			break
		}
		name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:size], []byte{0})
		e.name = string(name)
		b = b[size:]
		if events, err = w.take(events, e); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// take appends what an event means.
func (w *Watcher) take(events []Event, e raw) ([]Event, error) {
	if e.is(unix.IN_Q_OVERFLOW) {
		return append(w.settle(events), Event{Type: Unknown, Paths: []string{w.shown(w.root)}}), nil
	}
	dir, ok := w.dirs[e.wd]
	if !ok {
		return events, nil // of a watch that was taken away
	}
	e.path = filepath.Join(dir, e.name)
	if w.moved != nil && (!e.is(unix.IN_MOVED_TO) || e.cookie != w.moved.cookie) {
		events = w.settle(events)
	}
	switch {
	case e.is(unix.IN_IGNORED):
		delete(w.dirs, e.wd)
		if w.known[dir] == e.wd {
			delete(w.known, dir)
		}
	case e.name == "":
		return w.self(events, e, dir), nil
	case e.is(unix.IN_MOVED_FROM):
		w.moved = &e
	case e.is(unix.IN_MOVED_TO):
		return w.arrive(events, e)
	case e.is(unix.IN_CREATE):
		return w.create(events, e)
	case e.is(unix.IN_DELETE):
		delete(w.told, e.path)
		events = w.tell(events, Remove, e.path)
	case e.is(unix.IN_MODIFY | unix.IN_ATTRIB):
		events = w.tell(events, Modify, e.path)
	case e.is(unix.IN_ACCESS|unix.IN_OPEN) && !e.is(unix.IN_ISDIR): // directories are looked into by ourselves
		events = w.tell(events, Access, e.path)
	}
	return events, nil
}

// self is an event of a watched directory itself. Of those below the root their parent tells.
func (w *Watcher) self(events []Event, e raw, dir string) []Event {
	switch {
	case dir != w.root || w.only != "":
		return events
	case e.is(unix.IN_DELETE_SELF | unix.IN_MOVE_SELF):
		return w.tell(events, Remove, dir)
	case e.is(unix.IN_ATTRIB):
		return w.tell(events, Modify, dir)
	}
	return events
}

// arrive is the second half of a rename, or something that comes from where nothing is watched.
func (w *Watcher) arrive(events []Event, e raw) ([]Event, error) {
	from := w.moved
	w.moved = nil
	if from == nil {
		return w.create(events, e)
	}
	if e.is(unix.IN_ISDIR) {
		w.rename(from.path, e.path)
	}
	switch was, is := w.concerns(from.path), w.concerns(e.path); {
	case was && is:
		return append(events, Event{Type: Modify, Paths: []string{w.shown(from.path), w.shown(e.path)}}), nil
	case was:
		return w.tell(events, Remove, from.path), nil
	default: // such as a file that was written aside
		return w.tell(events, Create, e.path), nil
	}
}

// create is something new. What a new directory has already is told as well.
func (w *Watcher) create(events []Event, e raw) ([]Event, error) {
	if _, already := w.told[e.path]; already {
		delete(w.told, e.path)
		return events, nil
	}
	events = w.tell(events, Create, e.path)
	if !w.cfg.Recursive || !e.is(unix.IN_ISDIR) {
		return events, nil
	}
	if len(w.told) > MaxDirectories {
		clear(w.told)
	}
	err := gone(w.add(e.path, func(path string) {
		w.told[path] = struct{}{}
		events = w.tell(events, Create, path)
	}))
	if errors.Is(err, fault.Exhausted) {
		return events, watchError(w.cfg.Path, err)
	}
	return events, nil
}

// settle makes a removal of the first half of a rename whose second has not come.
func (w *Watcher) settle(events []Event) []Event {
	from := w.moved
	if from == nil {
		return events
	}
	w.moved = nil
	if from.is(unix.IN_ISDIR) {
		w.drop(from.path)
	}
	return w.tell(events, Remove, from.path)
}

func (w *Watcher) tell(events []Event, t Type, path string) []Event {
	if !w.concerns(path) {
		return events
	}
	return append(events, Event{Type: t, Paths: []string{w.shown(path)}})
}

func (w *Watcher) concerns(path string) bool {
	name := filepath.Base(path)
	if w.only != "" {
		return name == w.only
	}
	return w.cfg.Ignore == "" || !strings.HasPrefix(name, w.cfg.Ignore)
}

// shown is a path as the client knows it, who may have come by a link.
func (w *Watcher) shown(path string) string {
	if w.only != "" {
		return w.cfg.Path
	}
	return filepath.Join(w.cfg.Path, strings.TrimPrefix(path, w.root))
}
