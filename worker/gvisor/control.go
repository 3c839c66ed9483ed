package gvisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Methods of the server that each sentry has on a socket in the state folder. They belong to the version of runsc that tools/runsc pins.
const (
	methodWait       = "containerManager.Wait"
	methodSignal     = "containerManager.Signal"
	methodMount      = "containerManager.Mount"
	methodPause      = "containerManager.Pause"
	methodResume     = "containerManager.Resume"
	methodCheckpoint = "containerManager.Checkpoint"
	methodSaveFiles  = "containerManager.FSSave"
)

// maxReply bounds an answer in bytes: the sentry is on the guest's side of the wall.
const maxReply = 1 << 20

// request and reply are the two messages of a call, in JSON. Files go as rights with the request's first byte.
type (
	request struct {
		Method string `json:"method"`
		Arg    any    `json:"arg"`
	}
	reply struct {
		Success bool            `json:"success"`
		Err     string          `json:"err"`
		Result  json.RawMessage `json:"result"`
	}
)

// call asks the sentry of a sandbox for something; files are passed with arg and stay the caller's. What the command line of runsc does the
// same way takes tens of milliseconds to start it. Errors: fault.Unavailable if the sandbox is gone or doesn't answer.
func (r *Runtime) call(ctx context.Context, sandbox, method string, arg any, files ...*os.File) error {
	conn, err := r.dial(ctx, sandbox)
	if err != nil {
		return fault.New(fault.Unavailable, "sandbox %q: %w", sandbox, err)
	}
	defer conn.Close()                                                          //nolint:errcheck // what was to be said has been answered
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) }) // fails on a closed connection alone
	defer stop()
	var answer reply
	if err = send(conn, request{method, arg}, files); err == nil {
		err = json.NewDecoder(io.LimitReader(conn, maxReply)).Decode(&answer)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fault.New(fault.Unavailable, "sandbox %q: %s: %w", sandbox, method, err)
	case !answer.Success:
		return &refusal{sandbox, method, answer.Err}
	}
	return nil
}

// refusal is the error of a sentry that has answered.
type refusal struct{ sandbox, method, text string }

func (r *refusal) Error() string {
	return fmt.Sprintf("sandbox %q: %s: %.2000s", r.sandbox, r.method, r.text)
}

// dial connects to a sentry. The path of its socket may be longer than an address can be, hence the way round.
func (r *Runtime) dial(ctx context.Context, sandbox string) (*net.UnixConn, error) {
	var fd int
	err := error(unix.ENOENT)
	for _, path := range r.socketPaths(sandbox) {
		if fd, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

func send(conn *net.UnixConn, m request, files []*os.File) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	n, _, err := conn.WriteMsgUnix(data, rights, nil)
	if err == nil && n < len(data) {
		_, err = conn.Write(data[n:])
	}
	return err
}

// nudge is the signal that init takes as "dial again".
const nudge = unix.SIGUSR1

// place is a container in a sandbox, as the sentry knows it.
type place struct {
	runtime           *Runtime
	sandbox, id, name string
}

// Nudge tells the container's init that there is something to dial again: it gets SIGUSR1. Errors: fault.Unavailable if the sandbox is gone.
func (p *place) Nudge(ctx context.Context) error {
	return p.signal(ctx, nudge)
}

func (p *place) signal(ctx context.Context, sig unix.Signal) error {
	return p.runtime.call(ctx, p.sandbox, methodSignal, struct {
		CID   string
		Signo int32
	}{p.id, int32(sig)})
}

// Mount shows an EROFS file, read-only, at a folder of the container's root that is there. It stays as long as the container, or until init
// unmounts it. A sandbox that has such a mount can't be restored from a checkpoint. Errors: fault.Unavailable if the sandbox is gone.
func (p *place) Mount(ctx context.Context, image, target string) error {
	f, err := os.Open(image)
	if err != nil {
		return fmt.Errorf("sandbox %q: mount: %w", p.sandbox, err)
	}
	defer f.Close()
	return p.runtime.call(ctx, p.sandbox, methodMount, struct {
		ContainerID, Source, Destination, FsType string
	}{p.id, filepath.Base(image), target, "erofs"}, f)
}
