package process

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/guestinit/output"
)

// gatherTime is how long lines that come fast are left in the pipe, to be read together. To wake a reader for each costs their writer, who
// shares its processors, more than all else.
const gatherTime = time.Millisecond

// readSize is how much is read at a time, in bytes.
const readSize = 32 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// reader moves what a process writes from a pipe or terminal into a stream.
type reader struct {
	from  *os.File
	to    *output.Stream
	ended chan struct{} // closed when the process has
	done  chan struct{} // closed when pump has ended
}

func newReader(from *os.File, to *output.Stream) *reader {
	return &reader{from: from, to: to, ended: make(chan struct{}), done: make(chan struct{})}
}

// pump reads until the end, an error, or finish.
func (r *reader) pump() {
	defer close(r.done)
	pooled := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(pooled)
	buf := *pooled
	var last time.Time
	for {
		n, err := r.from.Read(buf)
		_, _ = r.to.Write(buf[:n]) // streams take everything
		if err != nil {
			return // the end: EOF, EIO of a terminal, the deadline of finish
		}
		if n < len(buf) && time.Since(last) < gatherTime {
			select {
			case <-time.After(gatherTime):
			case <-r.ended:
			}
		}
		last = time.Now()
	}
}

// finish is called once the process is reaped: everything it wrote is in the pipe by then. It moves that into the stream without waiting
// for the pipe's end, since a daemon that the process left behind may hold it open for ever. What such a daemon writes later is thrown
// away, so that it doesn't die of a closed pipe.
func (r *reader) finish() {
	r.to.Rest()
	close(r.ended)
	_ = r.from.SetReadDeadline(past) // fails only if the file is not pollable, and then pump has ended by itself
	<-r.done
	_ = r.from.SetReadDeadline(time.Time{})
	if ended := r.drain(); ended {
		_ = r.from.Close() // read only
		return
	}
	r.to.Close()
	go func() {
		_, _ = io.Copy(io.Discard, readerOnly{r.from})
		_ = r.from.Close()
	}()
}

// drain reads until nothing is there, and says whether the end was reached.
func (r *reader) drain() (ended bool) {
	raw, err := r.from.SyscallConn()
	if err != nil {
		return true
	}
	pooled := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(pooled)
	buf := *pooled
	for {
		var n int
		var readErr error
		if err := raw.Read(func(fd uintptr) bool {
			n, readErr = syscall.Read(int(fd), buf) //nolint:gosec // file descriptors are small
			return true                             // never wait
		}); err != nil {
			return true
		}
		switch {
		case errors.Is(readErr, syscall.EINTR):
		case errors.Is(readErr, syscall.EAGAIN):
			return false
		case readErr != nil || n <= 0:
			return true
		default:
			_, _ = r.to.Write(buf[:n]) // streams take everything
		}
	}
}

// readerOnly hides the WriteTo of a file, which would splice past our buffer.
type readerOnly struct{ io.Reader }
