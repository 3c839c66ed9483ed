package beside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// endTimeout is how long a process that is found ending may take.
const endTimeout = 5 * time.Second

// Folder is where a process has what the worker has to find: its lock, its socket, its mounts.
type Folder string

func (f Folder) lock() string { return filepath.Join(string(f), "lock") }

// Socket is the path of the process's socket.
func (f Folder) Socket() string { return filepath.Join(string(f), "socket") }

// Mounts is the folder of its mounts.
func (f Folder) Mounts() string { return filepath.Join(string(f), "images") }

// Take takes the process's lock, which ends with its process. It waits for another that has it: one that is ending, for no worker
// starts a second one.
func (f Folder) Take(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(f.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	taken := make(chan error)
	go func() {
		err := lock(file)
		select {
		case taken <- err:
		case <-ctx.Done():
			_ = file.Close() // and with it the lock
		}
	}()
	select {
	case err = <-taken:
	case <-ctx.Done():
		return nil, fmt.Errorf("folder %q: another process has it: %w", string(f), context.Cause(ctx))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("folder %q: %w", string(f), err), file.Close())
	}
	return file, nil
}

func lock(file *os.File) error {
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Alive says whether a process has the folder.
func (f Folder) Alive() (bool, error) {
	file, err := os.Open(f.lock())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close() // its lock goes with it
	err = unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// Ends waits for the end of a process that can't be reached, and says whether it came soon.
func (f Folder) Ends(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	file, err := f.Take(ctx)
	return err == nil && file.Close() == nil
}

// Ours checks that the other end of a connection is a process of this user.
func Ours(conn *net.UnixConn) error {
	peer, err := credentials(conn)
	if err != nil {
		return err
	}
	if me := os.Geteuid(); int(peer.Uid) != me {
		return fault.New(fault.Denied, "peer of the socket: process %d is of user %d, want %d", peer.Pid, peer.Uid, me)
	}
	return nil
}

// credentials tells whose the other end of a connection is.
func credentials(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil { //nolint:gosec // a descriptor
		return nil, err
	}
	if asked != nil {
		return nil, fmt.Errorf("peer of the socket: %w", asked)
	}
	return peer, nil
}

// Listen makes the socket, for this user alone.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a keeper that has died
		return nil, err
	}
	// Its folder is this user's alone as well.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
