package lazyfs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// readAheadKiB is how much the kernel reads around a page that is not there, at most what one request may ask for.
const readAheadKiB = "1024"

// maxRequest is the most bytes that the kernel asks for at a time.
const maxRequest = 1 << 20

// Session is what another process needs to go on serving a mount when the one that serves it has died. As long as any process has the
// device, the kernel keeps what readers wait for.
type Session struct {
	Device *os.File // a descriptor of the mount's device
	Kernel []byte   // what the kernel said when the mount was made
}

// Copy is the session with a descriptor of its own.
func (s Session) Copy() (Session, error) {
	fd, err := unix.FcntlInt(s.Device.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return Session{}, err
	}
	return Session{Device: os.NewFile(uintptr(fd), s.Device.Name()), Kernel: s.Kernel}, nil //nolint:gosec // not negative
}

// session begins to serve a file at a new mount. Its Device is the caller's to close.
func (f *file) session(dir string) (*fuse.Server, Session, error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, Session{}, fmt.Errorf("/dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d,allow_other", fd, os.Geteuid(), os.Getegid(), maxRequest)
	if err := unix.Mount("skerry", dir, "fuse.skerry", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_RDONLY, options); err != nil {
		return nil, Session{}, errors.Join(err, unix.Close(fd))
	}
	server, session, err := f.serve(fd)
	if err != nil {
		return nil, Session{}, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	if err := readAhead(dir); err != nil {
		f.log.Warn("the kernel reads images in small pieces, which is slow", "error", err)
	}
	return server, session, nil
}

// resume begins to serve a file at a mount whose server has died. What its readers wait for is asked again.
func (f *file) resume(s Session) (*fuse.Server, error) {
	if err := resend(s.Device); err != nil {
		return nil, err
	}
	// The library begins with what the kernel says at a mount. It hears that from a socket, which then becomes the device.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1]) //nolint:errcheck // nobody listens
	if _, err := unix.Write(pair[1], s.Kernel); err != nil {
		return nil, errors.Join(err, unix.Close(pair[0]))
	}
	server, err := f.server(pair[0])
	if err != nil {
		return nil, errors.Join(err, unix.Close(pair[0]))
	}
	if err := unix.Dup3(int(s.Device.Fd()), pair[0], unix.O_CLOEXEC); err != nil {
		return nil, errors.Join(err, unix.Close(pair[0]))
	}
	go server.Serve()
	return server, nil
}

// serve begins with the device of a new mount, which it takes over.
func (f *file) serve(fd int) (*fuse.Server, Session, error) {
	another, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) //nolint:gosec // not negative
	if err != nil {
		return nil, Session{}, errors.Join(err, unix.Close(fd))
	}
	device := os.NewFile(uintptr(another), "/dev/fuse") //nolint:gosec // not negative
	server, err := f.server(fd)
	if err != nil {
		return nil, Session{}, errors.Join(err, device.Close(), unix.Close(fd))
	}
	go server.Serve()
	kernel := server.KernelSettings()
	told := unsafe.Slice((*byte)(unsafe.Pointer(kernel)), unsafe.Sizeof(*kernel)) //nolint:gosec // the bytes that came from the kernel
	return server, Session{Device: device, Kernel: told}, nil
}

func (f *file) server(fd int) (*fuse.Server, error) {
	return fuse.NewServer(f, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		FsName: "skerry", Name: "skerry", MaxBackground: 64, MaxWrite: maxRequest, DisableXAttrs: true, DisableReadDirPlus: true,
		// What it says is of calls that this file system has not.
		Logger: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
	})
}

// resumable says whether the kernel can ask again what a server that has died was asked. Where it can't, readers would wait for ever.
func (s Session) resumable() bool {
	if len(s.Kernel) != int(unsafe.Sizeof(fuse.InitIn{})) {
		return false
	}
	kernel := *(*fuse.InitIn)(unsafe.Pointer(&s.Kernel[0])) //nolint:gosec // of that length
	return kernel.Flags64()&fuse.CAP_HAS_RESEND != 0
}

// resend has the kernel ask again what it was not answered.
func resend(device *os.File) error {
	const notifyResend = 7
	out := fuse.OutHeader{Length: uint32(unsafe.Sizeof(fuse.OutHeader{})), Status: notifyResend}
	_, err := unix.Write(int(device.Fd()), unsafe.Slice((*byte)(unsafe.Pointer(&out)), out.Length)) //nolint:gosec // as the kernel wants it
	if err != nil {
		return fmt.Errorf("the kernel does not ask again: %w", err)
	}
	return nil
}

// readAhead has the kernel ask for large pieces of a mount's file. A file system of FUSE can't say so itself, and the kernel's own choice is
// an eighth of this. It asks nothing of the mount: a process that is killed while it waits for itself never ends.
func readAhead(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == dir {
			return os.WriteFile(fmt.Sprintf("/sys/class/bdi/%s/read_ahead_kb", fields[2]), []byte(readAheadKiB), 0)
		}
	}
	return fmt.Errorf("%s: is not mounted", dir)
}

// Mounted says whether the image with a digest is mounted in a folder of a Store, and where its file is.
func Mounted(dir, digest string) (path string, ok bool, err error) {
	mounted, err := mountsBelow(dir)
	dir = filepath.Join(dir, digest[len("sha256:"):])
	return filepath.Join(dir, fileName), slices.Contains(mounted, dir), err
}

// takeDown ends a mount. Whoever still has its file open gets errors. Idle says that nobody had.
func takeDown(dir string) (idle bool, err error) {
	if err = unix.Unmount(dir, 0); err == nil {
		idle = true
	} else {
		err = unix.Unmount(dir, unix.MNT_DETACH)
	}
	// Sandboxes of other images began with copies of the mount in namespaces of their own, which would keep it alive as long as they live: they
	// go with the folder.
	if gone := os.Remove(dir); err == nil && !errors.Is(gone, os.ErrNotExist) {
		err = gone
	}
	return idle, err
}

// Sweep takes the mounts below a folder down, but for those of some folders, and removes what is left.
func Sweep(dir string, but ...string) error {
	mounted, err := mountsBelow(dir)
	if err != nil {
		return fmt.Errorf("lazy images: %w", err)
	}
	spared := map[string]bool{}
	for _, d := range but {
		spared[d] = true
	}
	for _, m := range mounted {
		if spared[m] {
			continue
		}
		// Its server is gone: what still has files of it open gets errors.
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("lazy images: unmount %s: %w", m, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); !spared[path] {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	if len(but) > 0 {
		return nil
	}
	return os.RemoveAll(dir)
}
