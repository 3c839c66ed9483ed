package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Protocols of this release. A number is what worker and keeper say to one another: a change that the other side may ignore leaves it alone.
const (
	// OldestProtocol is the oldest that this release still speaks: at least that of the release before.
	OldestProtocol = 1
	NewestProtocol = 1
)

// What the worker asks the keeper. Hello comes first and never changes.
const (
	opHello  = "hello"
	opOpen   = "open"   // an image; the answer has its session
	opAdopt  = "adopt"  // the same, of one that is mounted
	opResume = "resume" // go on with the session of a keeper that has died
	opGive   = "give"   // an image back
	opSettle = "settle" // what earlier workers had and this one has not taken over is given back, and what is left of earlier keepers goes
	opStop   = "stop"   // end, if nobody has an image open
)

// What the keeper asks the worker.
const (
	opBlob     = "blob"
	opProfile  = "profile"
	opRemember = "remember"
)

// hello is what both sides say first.
type hello struct {
	Oldest  int    `json:"oldest"` // of the protocols that it speaks
	Newest  int    `json:"newest"`
	Release string `json:"release"`
}

// with returns the protocol that both sides speak.
func (h hello) with(other hello) (protocol int, err error) {
	protocol = min(h.Newest, other.Newest)
	if protocol < max(h.Oldest, other.Oldest) {
		return 0, fault.New(fault.Precondition, "keeper of release %s: speaks protocols %d to %d, release %s speaks %d to %d",
			h.Release, h.Oldest, h.Newest, other.Release, other.Oldest, other.Newest)
	}
	return protocol, nil
}

// imageArgs is an image, and with opResume what the kernel said of its session.
type imageArgs struct {
	Image  payload.Ref `json:"image"`
	Kernel []byte      `json:"kernel,omitempty"`
}

// opened is where an image is. With a Kernel its session comes along, so that another keeper can go on with it.
type opened struct {
	Path   string `json:"path"`
	Kernel []byte `json:"kernel,omitempty"`
}

// blobArgs names a blob of at most so many bytes.
type blobArgs struct {
	Digest string `json:"digest"`
	Limit  int64  `json:"limit"`
}

// profileArgs is an image's profile, or names it.
type profileArgs struct {
	Image  string   `json:"image"`
	Chunks []uint32 `json:"chunks,omitempty"`
}

// folder is where one keeper has what the worker has to find: its lock, its socket, its mounts.
type folder string

func (f folder) lock() string   { return filepath.Join(string(f), "lock") }
func (f folder) socket() string { return filepath.Join(string(f), "socket") }
func (f folder) images() string { return filepath.Join(string(f), "images") }

// take takes the keeper's lock, which ends with its process. It waits for another keeper that has it: one that is ending, for no worker
// starts a second one.
func (f folder) take(ctx context.Context) (*os.File, error) {
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
		return nil, fmt.Errorf("keeper folder %q: another keeper has it: %w", string(f), context.Cause(ctx))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keeper folder %q: %w", string(f), err), file.Close())
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

// alive says whether a keeper has the folder.
func (f folder) alive() (bool, error) {
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

// ends waits for the end of a keeper that can't be reached, and says whether it came soon.
func (f folder) ends(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	file, err := f.take(ctx)
	return err == nil && file.Close() == nil
}

// ours checks that the other end of a connection is a process of this user.
func ours(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil { //nolint:gosec // a descriptor
		return err
	}
	if asked != nil {
		return fmt.Errorf("peer of the socket: %w", asked)
	}
	if me := os.Geteuid(); int(peer.Uid) != me {
		return fault.New(fault.Denied, "peer of the socket: process %d is of user %d, want %d", peer.Pid, peer.Uid, me)
	}
	return nil
}
