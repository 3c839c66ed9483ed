package bucketfs

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/rclone/rclone/vfs"
)

// file is a file that is open. rclone uploads a file when the last of its handles is closed; so to upload it, all of them are closed under its
// lock, and each is opened again when it is next used.
type file struct {
	mu      sync.RWMutex // read to use handles, written to close and open them
	handles map[*handle]struct{}
	refs    int // of handles; guarded by tree.mu
}

// handle is a file as one program has it open.
type handle struct {
	tree  *tree
	file  *file
	at    vfs.Node
	flags int

	// These are guarded by file.mu.
	open  vfs.Handle // nil: closed, so that it could be uploaded
	dirty bool       // something was written that may not be uploaded yet; guarded by changing as well
	gone  bool       // the file was removed

	changing sync.Mutex
}

var (
	_ fs.FileReader   = (*handle)(nil)
	_ fs.FileWriter   = (*handle)(nil)
	_ fs.FileFlusher  = (*handle)(nil)
	_ fs.FileFsyncer  = (*handle)(nil)
	_ fs.FileReleaser = (*handle)(nil)
)

// open opens a file.
func (t *tree) open(at vfs.Node, flags int) (*handle, syscall.Errno) {
	t.mu.Lock()
	f := t.files[at]
	if f == nil {
		f = &file{handles: map[*handle]struct{}{}}
		t.files[at] = f
	}
	f.refs++
	t.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	open, err := at.Open(flags)
	if err != nil {
		t.close(f, at)
		return nil, t.errno("open", at.Path(), err)
	}
	h := &handle{tree: t, file: f, at: at, open: open, flags: flags &^ (os.O_CREATE | os.O_EXCL | os.O_TRUNC)}
	h.dirty = flags&os.O_TRUNC != 0
	f.handles[h] = struct{}{}
	return h, 0
}

// close forgets a use of a file.
func (t *tree) close(f *file, at vfs.Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.refs--; f.refs == 0 && t.files[at] == f {
		delete(t.files, at)
	}
}

// use calls f with the open file, opening it again where it was closed to be uploaded.
func (h *handle) use(doing string, f func(vfs.Handle) error) syscall.Errno {
	h.file.mu.RLock()
	for h.open == nil {
		h.file.mu.RUnlock()
		if err := h.reopen(); err != nil {
			return h.tree.errno(doing, h.at.Path(), err)
		}
		h.file.mu.RLock()
	}
	defer h.file.mu.RUnlock()
	return h.tree.errno(doing, h.at.Path(), f(h.open))
}

func (h *handle) reopen() (err error) {
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	if h.gone {
		return syscall.ESTALE
	}
	if h.open == nil {
		h.open, err = h.at.Open(h.flags)
	}
	return err
}

// Read reads.
func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n := 0
	number := h.use("read", func(open vfs.Handle) (err error) {
		if n, err = open.ReadAt(dest, off); errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
	return fuse.ReadResultData(dest[:n]), number
}

// Write writes to the cache, from which the file is uploaded.
func (h *handle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if off+int64(len(data)) > MaxFileBytes {
		return 0, syscall.EFBIG
	}
	n := 0
	number := h.use("write", func(open vfs.Handle) (err error) {
		if err := h.tree.room(len(data)); err != nil {
			return err
		}
		h.change()
		n, err = open.WriteAt(data, off)
		return err
	})
	return uint32(n), number //nolint:gosec // within the data
}

func (h *handle) change() {
	h.changing.Lock()
	defer h.changing.Unlock()
	h.dirty = true
}

func (h *handle) truncate(size int64) syscall.Errno {
	return h.use("truncate", func(open vfs.Handle) error {
		h.change()
		return open.Truncate(size)
	})
}

// Flush is called when a descriptor is closed.
func (h *handle) Flush(context.Context) syscall.Errno { return h.file.upload(h.tree, h.at) }

// Fsync returns when the file is in the bucket.
func (h *handle) Fsync(context.Context, uint32) syscall.Errno { return h.file.upload(h.tree, h.at) }

// Release is called when the last descriptor is closed.
func (h *handle) Release(context.Context) syscall.Errno {
	number := h.file.upload(h.tree, h.at) // where it was closed by the end of its program, as a rule it was done
	h.file.mu.Lock()
	delete(h.file.handles, h)
	if h.open != nil {
		number = h.tree.errno("close", h.at.Path(), h.open.Close())
	}
	owes := number != 0 && h.dirty && !h.gone
	h.file.mu.Unlock()
	h.tree.close(h.file, h.at)
	if owes {
		h.tree.owe(h.at)
	}
	return number
}

// upload puts the file into the bucket if it was written to.
func (f *file) upload(t *tree, at vfs.Node) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.changed() {
		return 0
	}
	t.uploads <- struct{}{}
	defer func() { <-t.uploads }()
	errs := []error{f.wake(at)}
	for h := range f.handles {
		if h.open != nil {
			errs = append(errs, h.open.Close()) // the last of them uploads
			h.open = nil
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		for h := range f.handles {
			h.dirty = false
		}
	}
	return t.errno("upload", at.Path(), err)
}

// wake opens a handle of a file that an earlier attempt has closed and not uploaded. f.mu is held.
func (f *file) wake(at vfs.Node) (err error) {
	var writer *handle
	for h := range f.handles {
		if h.open != nil && h.dirty {
			return nil
		}
		if h.dirty {
			writer = h
		}
	}
	if writer.open, err = at.Open(writer.flags); err == nil {
		_, err = writer.open.WriteAt(nil, 0) // rclone opens a file when it is first used
	}
	return err
}

// changed says whether there is something to upload. f.mu is held.
func (f *file) changed() bool {
	for h := range f.handles {
		if h.dirty && !h.gone {
			return true
		}
	}
	return false
}

// settle uploads what is open at or below a place.
func (t *tree) settle(at vfs.Node) syscall.Errno {
	for other, f := range t.below(at) {
		if number := f.upload(t, other); number != 0 {
			return number
		}
	}
	return 0
}

// below are the files that are open at or below a place.
func (t *tree) below(at vfs.Node) map[vfs.Node]*file {
	found := map[vfs.Node]*file{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, f := range t.files {
		if other == at || at.IsDir() && strings.HasPrefix(other.Path(), at.Path()+"/") {
			found[other] = f
		}
	}
	return found
}

// unlink removes something. Programs that have the file open can't use it any more: there is no place where it could go on.
func (t *tree) unlink(at vfs.Node) error {
	t.mu.Lock()
	f := t.files[at]
	t.mu.Unlock()
	if f == nil {
		return at.Remove()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := at.Remove(); err != nil {
		return err
	}
	for h := range f.handles {
		h.gone = true
	}
	return nil
}
