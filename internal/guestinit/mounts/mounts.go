// Package mounts shows images in a container that runs, writable. Three parts have a hand in it: init makes a folder for the image, the
// worker has gVisor mount the image's file there, read-only, and init lays a file system in memory over it at the place where it is wanted.
package mounts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// Dir is a folder of every sandbox that is there for this.
	Dir = "/__skerry/mnt"
	// Max is how many images may be shown at a time.
	Max = 64
	// minBytes is the least that may be written to one.
	minBytes = 1 << 20
)

// closed are places that are not for images, with all below them.
var closed = []string{"/proc", "/sys", "/dev", "/__skerry"}

// Mounts are the images of a container. It is safe for concurrent use.
type Mounts struct {
	dir string

	mu    sync.Mutex
	ready bool              // dir can be written
	next  int               // names of folders
	names map[string]string // of folders, by the place of their images
}

// New returns the mounts of a container that has none.
func New() *Mounts { return &Mounts{dir: Dir, names: map[string]string{}} }

// Prepare makes the place and a folder for its image, and returns the folder's name in Dir. What is shown at the place is taken away. Errors:
// fault.Invalid, fault.Exhausted, fault.Precondition where the container can have no mounts.
func (m *Mounts) Prepare(path string) (name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	place, err := resolve(path)
	if err != nil {
		return "", err
	}
	if err := m.begin(); err != nil {
		return "", err
	}
	if _, taken := m.names[place]; taken {
		if err := m.remove(place, unix.MNT_DETACH); err != nil {
			return "", err
		}
	}
	if len(m.names) >= Max {
		return "", fault.New(fault.Exhausted, "%d images are mounted, no more may be; unmount one", Max)
	}
	m.next++
	name = strconv.Itoa(m.next)
	for _, d := range []string{m.image(name), m.upper(name)} {
		if err := os.MkdirAll(d, 0o755); err != nil { //nolint:gosec // as mkdir makes it
			return "", fmt.Errorf("mount %.200q: %w", path, err)
		}
	}
	m.names[place] = name
	return name, nil
}

func (m *Mounts) image(name string) string { return filepath.Join(m.dir, name, "image") }
func (m *Mounts) upper(name string) string { return filepath.Join(m.dir, name, "upper") }

// begin makes Dir a folder that can be written: a file system in memory, of names alone.
func (m *Mounts) begin() error {
	if m.ready {
		return nil
	}
	if _, err := os.Stat(m.dir); err != nil {
		return fault.New(fault.Precondition, "this sandbox was made by an earlier release and can't mount images; make it again: %w", err)
	}
	if err := unix.Mount("skerry", m.dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=0755"); err != nil {
		return fault.New(fault.Precondition, "images can't be mounted: %w", err)
	}
	m.ready = true
	return nil
}

// resolve makes a folder with the folders above it, and returns its path without links.
func resolve(path string) (string, error) {
	if !filepath.IsAbs(path) || len(path) >= unix.PathMax {
		return "", fault.New(fault.Invalid, "mount %.200q: want an absolute path", path)
	}
	if err := allowed(filepath.Clean(path)); err != nil {
		return "", err
	}
	if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // as mkdir makes it
		return "", fault.New(fault.Invalid, "mount %.200q: %w", path, err)
	}
	place, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fault.New(fault.Invalid, "mount %.200q: %w", path, err)
	}
	return place, allowed(place)
}

func allowed(path string) error {
	if path == "/" || slices.ContainsFunc(closed, func(c string) bool { return path == c || strings.HasPrefix(path, c+"/") }) {
		return fault.New(fault.Invalid, "mount %.200q: not at /, nor in %s", path, strings.Join(closed, ", "))
	}
	return nil
}

// Bind shows, at a place that was prepared, the image that is mounted in its folder, or an empty folder. What is written to it is memory of the
// container, at most so many bytes. Errors: fault.NotFound if the place was not prepared, fault.Precondition.
func (m *Mounts) Bind(path string, empty bool, bytes uint64) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	place, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fault.New(fault.NotFound, "mount %.200q: %w", path, err)
	}
	name, ok := m.names[place]
	if !ok {
		return fault.New(fault.NotFound, "mount %.200q: it was not prepared", path)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fault.New(fault.Precondition, "mount %.200q: %w", path, err), m.remove(place, unix.MNT_DETACH))
		}
	}()
	size := "size=" + strconv.FormatUint(max(bytes, minBytes), 10) + ",mode=0755"
	if empty {
		return unix.Mount("skerry", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, size)
	}
	if err := unix.Mount("skerry", m.upper(name), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, size); err != nil {
		return err
	}
	files, work := filepath.Join(m.upper(name), "files"), filepath.Join(m.upper(name), "work")
	for _, d := range []string{files, work} {
		if err := os.Mkdir(d, 0o755); err != nil { //nolint:gosec // as mkdir makes it
			return err
		}
	}
	if err := like(files, m.image(name)); err != nil {
		return err
	}
	return unix.Mount("skerry", place, "overlay", unix.MS_NOSUID|unix.MS_NODEV,
		"lowerdir="+m.image(name)+",upperdir="+files+",workdir="+work)
}

// like gives a folder the owner and the mode of another: the root of an overlay shows those of its upper layer.
func like(folder, other string) error {
	var stat unix.Stat_t
	if err := unix.Stat(other, &stat); err != nil {
		return err
	}
	return errors.Join(unix.Chown(folder, int(stat.Uid), int(stat.Gid)), unix.Chmod(folder, stat.Mode&0o7777))
}

// Unbind takes away what is shown at a place. Errors: fault.NotFound, fault.Precondition if it is in use.
func (m *Mounts) Unbind(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	place, err := filepath.EvalSymlinks(path)
	if err == nil && m.names[place] == "" {
		err = errors.New("no image is mounted there")
	}
	if err != nil {
		return fault.New(fault.NotFound, "unmount %.200q: %w", path, err)
	}
	return m.remove(place, 0)
}

// remove unmounts what there is of a place, the outer first.
func (m *Mounts) remove(place string, flags int) error {
	name := m.names[place]
	if err := unmount(place, flags); err != nil {
		return fault.New(fault.Precondition, "unmount %.200q: %w", place, err)
	}
	// Nobody else has files of these open.
	err := errors.Join(unmount(m.upper(name), unix.MNT_DETACH), unmount(m.image(name), unix.MNT_DETACH), os.RemoveAll(filepath.Join(m.dir, name)))
	if err != nil {
		return fmt.Errorf("unmount %.200q: %w", place, err)
	}
	delete(m.names, place)
	return nil
}

// unmount takes away the upper mount of a folder; one where nothing is mounted is no error.
func unmount(path string, flags int) error {
	if err := unix.Unmount(path, flags); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
