package sandboxrpc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
)

// MountsDir is where the worker mounts what is bound elsewhere.
const MountsDir = "/__skerry/mnt"

// Bind mounts a directory of the worker's at a path.
func (s *Service) Bind(_ context.Context, req *connect.Request[guestv1.BindRequest]) (*connect.Response[guestv1.BindResponse], error) {
	name, path := req.Msg.GetName(), req.Msg.GetPath()
	if name == "" || name == ".." || name == "." || strings.ContainsRune(name, '/') {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "mount %q: want the name of a directory in %s", name, MountsDir))
	}
	if err := checkTarget(path); err != nil {
		return nil, fault.ToConnect(err)
	}
	source := filepath.Join(MountsDir, name)
	if _, err := os.Stat(source); err != nil {
		return nil, fault.ToConnect(fault.New(fault.NotFound, "mount %q: %w", name, err))
	}
	if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // a folder of the container, as mkdir makes it
		return nil, fault.ToConnect(fault.New(fault.Precondition, "mount at %q: %w", path, err))
	}
	if err := unix.Mount(source, path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return nil, fault.ToConnect(fault.New(fault.Precondition, "mount %q at %q: %w", name, path, err))
	}
	return connect.NewResponse(&guestv1.BindResponse{}), nil
}

// Unbind takes a mount away.
func (s *Service) Unbind(_ context.Context, req *connect.Request[guestv1.UnbindRequest]) (*connect.Response[guestv1.UnbindResponse], error) {
	path := req.Msg.GetPath()
	if err := checkTarget(path); err != nil {
		return nil, fault.ToConnect(err)
	}
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
	switch {
	case err == nil:
		return connect.NewResponse(&guestv1.UnbindResponse{}), nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EINVAL):
		return nil, fault.ToConnect(fault.New(fault.NotFound, "mount at %q: nothing is mounted there", path))
	default:
		return nil, fault.ToConnect(fault.New(fault.Precondition, "mount at %q: %w; end what uses it first", path, err))
	}
}

// checkTarget says whether something may be mounted at a path: not over what we need ourselves.
func checkTarget(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fault.New(fault.Invalid, "mount at %q: want an absolute path without dots", path)
	}
	for _, ours := range []string{"/__skerry", "/proc", "/sys", "/dev"} {
		if path == ours || path == "/" || strings.HasPrefix(path, ours+"/") {
			return fault.New(fault.Invalid, "mount at %q: not there; choose a directory of your own", path)
		}
	}
	return nil
}
