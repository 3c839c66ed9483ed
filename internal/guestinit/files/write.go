package files

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// TempPrefix begins the names of files that are being written.
const TempPrefix = ".skerry-write-"

// maxLinks is how many links lead on from one another.
const maxLinks = 40

// NewFile is a file to write.
type NewFile struct {
	Path        string // where it is a link, what that leads to is replaced
	MakeParents bool
	Mode        uint32 // 0: that of the file that is replaced, or 0644
	Exclusive   bool   // refuse a file that is there
}

// Writer writes a file that nobody sees before Commit. It is for one goroutine.
type Writer struct {
	tree      *Tree
	asked     string // the path that was asked for
	path      string // and where that leads
	temp      string
	file      *os.File
	mode      uint32
	uid, gid  int // -1: ours
	exclusive bool
}

// Create begins to write a file. Commit or Abort ends it.
func (t *Tree) Create(n NewFile) (*Writer, error) {
	if err := check(n.Path); err != nil {
		return nil, err
	}
	if n.Mode > 0o7777 {
		return nil, refuse(Other, n.Path, "mode %o: want at most 7777", n.Mode)
	}
	path, err := follow(n.Path)
	if err != nil {
		return nil, err
	}
	w := &Writer{tree: t, asked: n.Path, path: path, mode: n.Mode, uid: -1, gid: -1, exclusive: n.Exclusive}
	if err := w.inspect(); err != nil {
		return nil, err
	}
	if n.MakeParents {
		if err := makeParents(path); err != nil {
			return nil, err
		}
	}
	// In the same directory, for a file is renamed within a file system alone.
	w.temp = filepath.Join(filepath.Dir(path), TempPrefix+strconv.FormatUint(rand.Uint64(), 36))
	w.file, err = os.OpenFile(w.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, trouble(n.Path, err)
	}
	return w, nil
}

// follow finds where links lead, also to what is not there yet.
func follow(path string) (string, error) {
	at := filepath.Clean(path)
	for range maxLinks {
		st, err := os.Lstat(at)
		if err != nil || st.Mode()&fs.ModeSymlink == 0 {
			return at, nil //nolint:nilerr // what is not there yet is to be made
		}
		target, err := os.Readlink(at)
		if err != nil {
			return "", trouble(path, err)
		}
		if !filepath.IsAbs(target) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(at))
			if err != nil {
				return "", trouble(path, err)
			}
			target = filepath.Join(dir, target)
		}
		at = target
	}
	return "", trouble(path, unix.ELOOP)
}

// inspect takes over what the file has that is replaced.
func (w *Writer) inspect() error {
	st, err := os.Lstat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR): // the latter shows again, or parents are made
		if w.mode == 0 {
			w.mode = 0o644
		}
		return nil
	case err != nil:
		return trouble(w.asked, err)
	case w.exclusive:
		return refuse(AlreadyExists, w.asked, "already exists")
	case !st.Mode().IsRegular():
		return notRegular(w.asked, st.IsDir())
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		w.uid, w.gid = int(sys.Uid), int(sys.Gid)
		if w.mode == 0 {
			w.mode = sys.Mode & 0o7777
		}
	}
	return nil
}

// Write appends p.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	return n, trouble(w.asked, err)
}

// Commit puts the file at its path and describes it. With an error nothing is left.
func (w *Writer) Commit() (Info, error) {
	err := w.finish()
	if err == nil {
		err = w.place()
	}
	if err != nil {
		return Info{}, errors.Join(trouble(w.asked, err), w.Abort())
	}
	st, err := os.Lstat(w.path)
	if err != nil {
		return Info{}, trouble(w.asked, err) // others removed it meanwhile
	}
	return w.tree.info(w.asked, st), nil
}

func (w *Writer) finish() error {
	if w.uid >= 0 {
		if err := w.file.Chown(w.uid, w.gid); err != nil {
			return err
		}
	}
	return errors.Join(w.file.Chmod(permissions(w.mode)), w.file.Close())
}

func (w *Writer) place() error {
	if !w.exclusive {
		return os.Rename(w.temp, w.path)
	}
	// A link, unlike a rename, does not replace.
	if err := os.Link(w.temp, w.path); err != nil {
		return err
	}
	return os.Remove(w.temp)
}

// Abort leaves nothing.
func (w *Writer) Abort() error {
	_ = w.file.Close() // closed already after a commit that failed
	if err := os.Remove(w.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return trouble(w.asked, err)
	}
	return nil
}
