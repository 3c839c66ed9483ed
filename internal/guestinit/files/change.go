package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/guestinit/account"
)

// eof is nil at the end of a file, or trouble.
func eof(path string, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return trouble(path, err)
}

// MakeDirectory makes a directory, with parents those above it as well, and then one that is there is no error. Mode 0 is 0755.
func (t *Tree) MakeDirectory(path string, parents bool, mode uint32) error {
	if err := check(path); err != nil {
		return err
	}
	if mode > 0o7777 {
		return refuse(Other, path, "mode %o: want at most 7777", mode)
	}
	if parents {
		if err := makeParents(path); err != nil {
			return err
		}
	}
	err := os.Mkdir(path, 0o755) //nolint:gosec // as mkdir makes it
	if parents && errors.Is(err, fs.ErrExist) {
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			return nil
		}
	}
	if err == nil && mode != 0 {
		err = os.Chmod(path, permissions(mode))
	}
	return trouble(path, err)
}

func makeParents(path string) error {
	return trouble(path, os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // as mkdir -p makes them
}

// permissions are mode bits of the system in Go's terms.
func permissions(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, goes := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= goes
		}
	}
	return m
}

// Remove removes a file, a link itself, or a directory; with recursive all that is in it.
func (t *Tree) Remove(path string, recursive bool) error {
	if err := check(path); err != nil {
		return err
	}
	if filepath.Clean(path) == "/" {
		return refuse(PermissionDenied, path, "the root is not to be removed")
	}
	st, err := os.Lstat(path)
	if err == nil && recursive && st.IsDir() {
		return trouble(path, os.RemoveAll(path)) // by directory handles, so that no link leads it elsewhere
	}
	if err == nil {
		err = os.Remove(path)
	}
	return trouble(path, err)
}

// Move renames a file or directory. A file in its place is replaced.
func (t *Tree) Move(path, to string) error {
	if err := errors.Join(check(path), check(to)); err != nil {
		return err
	}
	if st, err := os.Lstat(to); err == nil && st.IsDir() {
		return refuse(AlreadyExists, to, "it is a directory")
	}
	if _, err := os.Lstat(path); err != nil {
		return trouble(path, err)
	}
	return trouble(to, os.Rename(path, to))
}

// Changes are what of a file to change.
type Changes struct {
	Mode         *uint32 // nil: as it is
	Owner, Group string  // name or number; empty: as it is
}

// Change changes what a file or what a link leads to has, and describes it.
func (t *Tree) Change(path string, c Changes) (Info, error) {
	if err := check(path); err != nil {
		return Info{}, err
	}
	uid, gid := -1, -1
	if c.Owner != "" {
		u, err := account.Lookup(c.Owner)
		if err != nil {
			return Info{}, refuse(NotFound, path, "%w", err)
		}
		uid = int(u.UID)
	}
	if c.Group != "" {
		g, err := account.LookupGroup(c.Group)
		if err != nil {
			return Info{}, refuse(NotFound, path, "%w", err)
		}
		gid = int(g)
	}
	if uid >= 0 || gid >= 0 { // before the mode: it takes set-id bits away
		if err := os.Chown(path, uid, gid); err != nil {
			return Info{}, trouble(path, err)
		}
	}
	if c.Mode != nil {
		if *c.Mode > 0o7777 {
			return Info{}, refuse(Other, path, "mode %o: want at most 7777", *c.Mode)
		}
		if err := os.Chmod(path, permissions(*c.Mode)); err != nil {
			return Info{}, trouble(path, err)
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		return Info{}, trouble(path, err)
	}
	return t.info(path, st), nil
}
