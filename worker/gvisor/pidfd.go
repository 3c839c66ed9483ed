package gvisor

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// watch opens a process and closes done when it ends. The runtime's poller waits for it, so no thread and no helper process is held.
func watch(pid int, done chan<- struct{}) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		close(done)
		return nil, nil //nolint:nilnil // a process that has ended has no descriptor, and signal takes that
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("pidfd:%d", pid)) //nolint:gosec // descriptors are small and positive
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("process %d: %w", pid, err), f.Close())
	}
	go func() {
		// The goroutine ends with the process, which Delete kills. An error would mean a closed descriptor, and nobody else closes it.
		_ = raw.Read(ended)
		_ = f.Close()
		close(done)
	}()
	return f, nil
}

// ended tells whether the process of a pidfd has ended: then the descriptor is readable.
func ended(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // as above
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// signal kills the process of a pidfd.
func signal(f *os.File) error {
	if f == nil {
		return nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }); err != nil {
		return err
	}
	return failed
}
