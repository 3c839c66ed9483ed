// Package pidfd follows processes of the host that are not our children, and ends them.
package pidfd

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Process is a process of the host that is not our child. A signal can't reach another process that got its number.
type Process struct {
	done chan struct{} // closed when it has ended

	mu    sync.Mutex
	pidfd *os.File // nil when it has ended: the descriptor is closed under mu, so that no signal meets it closing
}

// Watch follows a process to its end. The runtime's poller waits for it, so no thread and no helper process is held.
func Watch(pid int) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		close(p.done)
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	p.pidfd = os.NewFile(uintptr(fd), fmt.Sprintf("pidfd:%d", pid)) //nolint:gosec // descriptors are small and positive
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("process %d: %w", pid, err), p.pidfd.Close())
	}
	go func() {
		// The goroutine ends with the process, which Delete kills. An error would mean a closed descriptor, and nobody else closes it.
		_ = raw.Read(ended)
		p.forget()
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the process has ended, or was given up.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether the process has not ended yet.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd == nil {
		return false
	}
	raw, err := p.pidfd.SyscallConn()
	over := true
	if err == nil {
		err = raw.Control(func(fd uintptr) { over = ended(fd) })
	}
	return err == nil && !over
}

// Release gives up a process that nobody wants to follow; done is closed.
func (p *Process) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd != nil {
		_ = p.pidfd.Close() // the goroutine that reads it ends, and forgets it
	}
}

func (p *Process) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.pidfd.Close() // nothing was written
	p.pidfd = nil
}

// ended tells whether the process of a pidfd has ended: then the descriptor is readable.
func ended(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // as above
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// Kill sends SIGKILL; a process that has ended is no error.
func (p *Process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd == nil {
		return nil
	}
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if errors.Is(failed, unix.ESRCH) {
		failed = nil
	}
	return errors.Join(err, failed)
}
