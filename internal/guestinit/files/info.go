// Package files works on the files of a container as root. Any of them may be hostile: a pipe that nobody writes to, a device, a link, a
// directory without end.
package files

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/guestinit/account"
)

const (
	// MaxPath is how long a path may be, in bytes.
	MaxPath = 4096
	// MaxList is how many files a directory may have that is listed; so many names are memory of the container.
	MaxList = 1 << 20
	// ListFrame is how many files are listed at a time.
	ListFrame = 1000
)

// Type is what kind of file it is.
type Type uint8

// The types.
const (
	Special Type = iota // a socket, a pipe, a device
	Regular
	Directory
	Symlink
)

// Info describes a file.
type Info struct {
	Name, Path   string
	Type         Type
	Size         uint64
	Mode         uint32 // permission, set-id and sticky bits
	Owner, Group string
	UID, GID     uint32
	Modified     time.Time
	Target       string // of a symbolic link
}

// Tree is the files of a container. It is safe for concurrent use.
type Tree struct{ names account.Names }

// New returns the files of this container.
func New() *Tree { return &Tree{} }

// check says whether a path can be one.
func check(path string) error {
	if !filepath.IsAbs(path) || len(path) > MaxPath || strings.ContainsRune(path, 0) {
		return refuse(Other, path, "want an absolute path of at most %d bytes", MaxPath)
	}
	return nil
}

// Stat describes a file; a symbolic link itself.
func (t *Tree) Stat(path string) (Info, error) {
	if err := check(path); err != nil {
		return Info{}, err
	}
	st, err := os.Lstat(path)
	if err != nil {
		return Info{}, trouble(path, err)
	}
	return t.info(path, st), nil
}

func (t *Tree) info(path string, st fs.FileInfo) Info {
	i := Info{Name: filepath.Base(path), Path: path, Modified: st.ModTime(), Size: uint64(max(0, st.Size()))}
	switch mode := st.Mode(); {
	case mode.IsRegular():
		i.Type = Regular
	case mode.IsDir():
		i.Type = Directory
	case mode&fs.ModeSymlink != 0:
		i.Type = Symlink
		i.Target, _ = os.Readlink(path) // it may have gone meanwhile
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		i.Mode, i.UID, i.GID = sys.Mode&0o7777, sys.Uid, sys.Gid
		i.Owner, i.Group = t.names.User(i.UID), t.names.Group(i.GID)
	}
	return i
}

// List calls f with the files of a directory by name, ListFrame at a time. Errors: f's.
func (t *Tree) List(ctx context.Context, path string, f func([]Info) error) error {
	if err := check(path); err != nil {
		return err
	}
	dir, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return trouble(path, err)
	}
	names, err := readNames(ctx, path, dir)
	_ = dir.Close() // read only
	if err != nil {
		return err
	}
	for frame := range slices.Chunk(names, ListFrame) {
		infos := make([]Info, 0, len(frame))
		for _, name := range frame {
			at := filepath.Join(path, name)
			if st, err := os.Lstat(at); err == nil { // else it has gone
				infos = append(infos, t.info(at, st))
			}
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := f(infos); err != nil {
			return err
		}
	}
	return nil
}

func readNames(ctx context.Context, path string, dir *os.File) ([]string, error) {
	var names []string
	for {
		some, err := dir.Readdirnames(4096)
		names = append(names, some...)
		switch {
		case len(names) > MaxList:
			return nil, refuse(TooLarge, path, "it has more than %d files", MaxList)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && len(some) == 0: // io.EOF, or what it is otherwise
			slices.Sort(names)
			return names, eof(path, err)
		}
	}
}
