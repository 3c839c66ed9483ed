package guestinit

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// process is one that init started, running or ended.
type process struct {
	id             string
	pid            int
	stdout, stderr *ring
	tty            *os.File // nil without a terminal

	input     *os.File // standard input or the terminal; nil without
	inputMu   sync.Mutex
	inputOver bool // guarded by inputMu

	status  syscall.WaitStatus // set before reaped is closed
	reaped  chan struct{}
	readers []*reader
	done    chan struct{} // closed when it was reaped and its output is complete
}

// exited notes the status of a reaped process; its output is completed in the background. The table calls it once.
func (p *process) exited(ws syscall.WaitStatus) {
	p.status = ws
	close(p.reaped)
	go p.finish()
}

// finish takes what the process had written, ends its streams, and gives its files back.
func (p *process) finish() {
	for _, r := range p.readers {
		r.finish()
	}
	p.stdout.Close()
	p.stderr.Close()
	p.closeInput()
	close(p.done)
}

func (p *process) closeInput() {
	if p.input == nil {
		return
	}
	// Ends a write that is under way and holds the lock: with the process gone it could not go on.
	_ = p.input.SetWriteDeadline(time.Unix(1, 0)) // fails if it is closed already
	p.inputMu.Lock()
	defer p.inputMu.Unlock()
	p.inputOver = true
	_ = p.input.Close() // nothing is buffered; closed already after an end of input
}

// write gives the process input. Errors: fault.Precondition if there is none or it is closed.
func (p *process) write(ctx context.Context, data []byte, eof bool) error {
	p.inputMu.Lock()
	defer p.inputMu.Unlock()
	if p.input == nil || p.inputOver {
		return fault.New(fault.Precondition, "process %q: standard input is closed", p.id)
	}
	if eof && p.tty != nil {
		data = append(data[:len(data):len(data)], 4) // ^D: a terminal's end of input
	}
	stop := context.AfterFunc(ctx, func() { _ = p.input.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := p.input.Write(data)
	if !stop() {
		return errors.Join(context.Cause(ctx), p.input.SetWriteDeadline(time.Time{}))
	}
	if err == nil && eof && p.tty == nil {
		p.inputOver = true
		err = p.input.Close()
	}
	if err != nil {
		return fault.New(fault.Precondition, "process %q: standard input: %w", p.id, err)
	}
	return nil
}

// resize sets the terminal's size. Errors: fault.Precondition without one.
func (p *process) resize(size *unix.Winsize) error {
	if p.tty == nil {
		return fault.New(fault.Precondition, "process %q: has no terminal", p.id)
	}
	if err := setSize(p.tty, size); err != nil {
		return fault.New(fault.Precondition, "process %q: resize its terminal: %w", p.id, err)
	}
	return nil
}

// setSize is pty.Setsize, but safe while another goroutine closes the terminal.
func setSize(tty *os.File, size *unix.Winsize) error {
	raw, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) }) //nolint:gosec // descriptors are small
	return errors.Join(err, set)
}

// gatherTime is how long lines that come fast are left in the pipe, to be read together. To wake a reader for each costs their writer, who
// shares its processors, more than all else.
const gatherTime = time.Millisecond

// reader moves what a process writes from a pipe or terminal into a ring.
type reader struct {
	from  *os.File
	to    *ring
	ended chan struct{} // closed when the process has
	done  chan struct{} // closed when pump has ended
}

func newReader(from *os.File, to *ring) *reader {
	return &reader{from: from, to: to, ended: make(chan struct{}), done: make(chan struct{})}
}

// pump reads until the end, an error, or finish.
func (r *reader) pump() {
	defer close(r.done)
	buf := make([]byte, 32<<10)
	var last time.Time
	for {
		n, err := r.from.Read(buf)
		_, _ = r.to.Write(buf[:n]) // rings take everything
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

// finish is called once the process is reaped: everything it wrote is in the pipe by then. It moves that into the ring without waiting
// for the pipe's end, since a daemon that the process left behind may hold it open for ever. What such a daemon writes later is thrown
// away, so that it doesn't die of a closed pipe.
func (r *reader) finish() {
	r.to.rest()
	close(r.ended)
	_ = r.from.SetReadDeadline(time.Unix(1, 0)) // fails only if the file is not pollable, and then pump has ended by itself
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
	buf := make([]byte, 32<<10)
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
			_, _ = r.to.Write(buf[:n]) // rings take everything
		}
	}
}

// readerOnly hides the WriteTo of a file, which would splice past our buffer.
type readerOnly struct{ io.Reader }
