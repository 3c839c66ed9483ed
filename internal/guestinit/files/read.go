package files

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Part is which bytes of a file to read.
type Part struct {
	Offset  uint64
	Length  uint64 // 0: all
	MaxSize uint64 // refuse a larger file; 0: none is
}

// Reader reads a file that was opened. It is for one goroutine.
type Reader struct {
	Info Info // as it was opened
	file *os.File
	path string
	left uint64 // bytes to read at most
	read uint64
	max  uint64 // more bytes are refused; 0: none are
}

// Open opens a file to read; links are followed. Only files have bytes: pipes and devices could wait or go on for ever.
func (t *Tree) Open(path string, p Part) (*Reader, error) {
	if err := check(path); err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, notRegular(path, st.IsDir()) // before it is opened, which others may notice
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, trouble(path, err)
	}
	r, err := t.reader(f, path, p)
	if err != nil {
		_ = f.Close() // read only
		return nil, err
	}
	return r, nil
}

func notRegular(path string, dir bool) error {
	if dir {
		return refuse(IsDirectory, path, "is a directory")
	}
	return refuse(NotSupported, path, "is a pipe, a socket or a device; read it with a process")
}

func (t *Tree) reader(f *os.File, path string, p Part) (*Reader, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, trouble(path, err)
	}
	if !st.Mode().IsRegular() {
		return nil, notRegular(path, st.IsDir())
	}
	r := &Reader{Info: t.info(path, st), file: f, path: path, left: ^uint64(0), max: p.MaxSize}
	if p.MaxSize > 0 && r.Info.Size > p.MaxSize {
		return nil, refuse(TooLarge, path, "has %d bytes, more than %d", r.Info.Size, p.MaxSize)
	}
	if r.Info.Size > 0 { // a file of the kernel's has none, and content
		r.left = r.Info.Size - min(r.Info.Size, p.Offset)
	}
	if p.Length > 0 {
		r.left = min(r.left, p.Length)
	}
	if p.Offset > 0 && r.left > 0 {
		if _, err := f.Seek(int64(min(p.Offset, 1<<62)), io.SeekStart); err != nil { //nolint:gosec // bounded
			return nil, trouble(path, err)
		}
	}
	return r, nil
}

// Read reads on. It returns io.EOF at the end of the file or part.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left < uint64(len(p)) {
		p = p[:r.left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p)
	r.left -= uint64(n)                                   //nolint:gosec // counts are positive
	if r.read += uint64(n); r.max > 0 && r.read > r.max { //nolint:gosec // counts are positive
		return 0, refuse(TooLarge, r.path, "has more than %d bytes", r.max)
	}
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, trouble(r.path, err)
}

// Close gives the file back.
func (r *Reader) Close() { _ = r.file.Close() }
