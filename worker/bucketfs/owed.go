package bucketfs

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rclone/rclone/vfs"
)

// How long to wait before what could not be uploaded is tried again.
const (
	firstWait = time.Second
	longest   = time.Minute
)

// owed are files that were closed and could not be uploaded. They are in the cache until they are.
type owed struct {
	mu    sync.Mutex
	files map[vfs.Node]bool
	wake  chan struct{} // has a token when there is one more
}

// owe has a file uploaded later.
func (t *tree) owe(at vfs.Node) {
	t.owed.mu.Lock()
	t.owed.files[at] = true
	t.owed.mu.Unlock()
	select {
	case t.owed.wake <- struct{}{}:
	default:
	}
}

// settleLater tries again and again to upload what is owed, until ctx ends.
func (t *tree) settleLater(ctx context.Context) {
	wait := firstWait
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-t.owed.wake:
		case <-ctx.Done():
			return
		}
		for wait = firstWait; t.owes() > 0; wait = min(2*wait, longest) {
			timer.Reset(wait)
			select {
			case <-timer.C:
				t.settleOwed()
			case <-ctx.Done():
				return
			}
		}
	}
}

// settleOwed tries once.
func (t *tree) settleOwed() {
	t.owed.mu.Lock()
	var files []vfs.Node
	for at := range t.owed.files {
		files = append(files, at)
	}
	t.owed.mu.Unlock()
	for _, at := range files {
		if err := t.uploadAgain(at); err != nil && !errors.Is(err, syscall.ENOENT) {
			continue
		}
		t.owed.mu.Lock()
		delete(t.owed.files, at)
		t.owed.mu.Unlock()
	}
}

func (t *tree) uploadAgain(at vfs.Node) error {
	h, number := t.open(at, os.O_WRONLY)
	if number != 0 {
		return number
	}
	h.file.mu.Lock()
	h.dirty = true
	_, err := h.open.WriteAt(nil, 0) // rclone opens a file when it is first used
	h.file.mu.Unlock()
	if err != nil {
		return errors.Join(err, h.open.Close())
	}
	if number := h.Fsync(context.Background(), 0); number != 0 {
		err = number
	}
	h.dirty = false // what it owes is known
	if number := h.Release(context.Background()); number != 0 && err == nil {
		err = number
	}
	return err
}

// owes is how many files are owed.
func (t *tree) owes() int {
	t.owed.mu.Lock()
	defer t.owed.mu.Unlock()
	return len(t.owed.files)
}

// finish uploads what is owed for the last time, and says what is lost.
func (t *tree) finish() {
	t.settleOwed()
	t.owed.mu.Lock()
	defer t.owed.mu.Unlock()
	for at := range t.owed.files {
		t.log.Error("a file was not uploaded and is lost", "path", at.Path())
	}
}
