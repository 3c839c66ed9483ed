package process

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit/output"
)

// Process is one that init started, running or ended. It is safe for concurrent use.
type Process struct {
	spec      Spec
	pid       int
	startedAt time.Time
	tty       *os.File // nil without a terminal
	stdout    *output.Stream
	stderr    *output.Stream
	input     input
	expiry    *time.Timer // nil without a timeout
	timedOut  atomic.Bool

	status  syscall.WaitStatus // set before reaped is closed
	reaped  chan struct{}
	readers []*reader
	done    chan struct{} // closed when it was reaped and its output is complete
}

// Exit says how a process ended: Code if it exited, Signal if that ended it.
type Exit struct {
	Code       int
	Signal     syscall.Signal
	CoreDumped bool
	TimedOut   bool // by its timeout's signal
}

// ID is the one it was started with.
func (p *Process) ID() string { return p.spec.ID }

// PID is its number in the container.
func (p *Process) PID() int { return p.pid }

// Argv is what it was started with; read only.
func (p *Process) Argv() []string { return p.spec.Argv }

// Workdir is where it was started.
func (p *Process) Workdir() string { return p.spec.Workdir }

// StartedAt is when it was started.
func (p *Process) StartedAt() time.Time { return p.startedAt }

// Terminal says whether it has a terminal.
func (p *Process) Terminal() bool { return p.tty != nil }

// Stdout is what it writes to standard output, or its terminal.
func (p *Process) Stdout() *output.Stream { return p.stdout }

// Stderr is what it writes to standard error.
func (p *Process) Stderr() *output.Stream { return p.stderr }

// Done is closed when it has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how it ended; only once Done is closed.
func (p *Process) Exit() Exit {
	if p.status.Signaled() {
		return Exit{Signal: p.status.Signal(), CoreDumped: p.status.CoreDump(), TimedOut: p.timedOut.Load()}
	}
	return Exit{Code: p.status.ExitStatus()}
}

// exited notes the status of a reaped process; its output is completed in the background, then ended is called. The table calls it once.
func (p *Process) exited(ws syscall.WaitStatus, ended func()) {
	if p.expiry != nil {
		p.expiry.Stop()
	}
	p.status = ws
	close(p.reaped)
	go func() {
		p.finish()
		ended()
	}()
}

// finish takes what the process had written, ends its streams, and gives its files back.
func (p *Process) finish() {
	for _, r := range p.readers {
		r.finish()
	}
	p.stdout.Close()
	p.stderr.Close()
	p.input.end()
	close(p.done)
}

// forget gives the memory and disk of its output back.
func (p *Process) forget() {
	p.stdout.Abandon()
	p.stderr.Abandon()
}

// Resize sets the terminal's size. Errors: fault.Precondition without one.
func (p *Process) Resize(size *unix.Winsize) error {
	if p.tty == nil {
		return fault.New(fault.Precondition, "process %q: has no terminal", p.ID())
	}
	if err := setSize(p.tty, size); err != nil {
		return fault.New(fault.Precondition, "process %q: resize its terminal: %w", p.ID(), err)
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
