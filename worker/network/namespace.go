package network

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// threadNetns is the network namespace of the calling thread.
const threadNetns = "/proc/thread-self/ns/net"

// makeNamespace makes a network namespace that lasts as a mount on path, and runs configure on a thread that is in it. configure must not
// start goroutines that use the network.
func makeNamespace(path string, configure func() error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY|unix.O_CLOEXEC, 0o400)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	done := make(chan error, 1)
	go func() { done <- inNewNamespace(path, configure) }()
	if err := <-done; err != nil {
		return errors.Join(fmt.Errorf("network namespace %s: %w", path, err), removeNamespace(path))
	}
	return nil
}

// inNewNamespace is the body of a goroutine of its own: where its thread can't go back to its namespace it stays locked, and the thread
// ends with the goroutine.
func inNewNamespace(path string, configure func() error) error {
	runtime.LockOSThread()
	origin, err := os.Open(threadNetns)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer origin.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("unshare: %w", err)
	}
	if err = unix.Mount(threadNetns, path, "", unix.MS_BIND, ""); err != nil {
		err = fmt.Errorf("mount: %w", err)
	} else {
		err = configure()
	}
	if back := unix.Setns(int(origin.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("go back to the host's namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// removeNamespace unmounts a namespace and removes its file; the namespace ends with its last process. None there is no error.
func removeNamespace(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// makeRunDir makes the folder of namespaces a shared mount, so that unmounting one there takes it from the mount namespaces of running
// sandboxes as well; a copy in one of those would keep it alive.
func makeRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder of network namespaces: %w", err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount folder of network namespaces %s: %w", dir, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share folder of network namespaces %s: %w", dir, err)
	}
	return nil
}

// removeRunDir unmounts and removes the folder with all in it; where there are endpoints to keep, what is not theirs alone.
func removeRunDir(dir, instance string, keep endpoints) error {
	points, err := mountsUnder(dir)
	if err != nil {
		return err
	}
	needed := func(path string) bool { return keep[path] != nil || len(keep) > 0 && path == dir }
	for i := len(points) - 1; i >= 0; i-- {
		if needed(points[i]) {
			continue
		}
		// EINVAL: propagation from another mount took it meanwhile.
		if err := unix.Unmount(points[i], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", points[i], err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, netnsPrefix(instance)+"*"))
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	for _, f := range append(files, dir) {
		if needed(f) {
			continue
		}
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove network namespaces: %w", err)
		}
	}
	return nil
}

// mountsUnder lists mount points at dir and below, in the order they were made.
func mountsUnder(dir string) ([]string, error) {
	const pointField = 4
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= pointField {
			continue
		}
		if p := unescape.Replace(fields[pointField]); p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return points, nil
}
