package gvisor

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Files is the writable layer of a container as it was at one moment: what differs from its image. It is on the disk, in files that have no
// names. All that is in it is the guest's and to be judged.
type Files struct {
	tree  *os.File // a tar whose files have, in place of their contents, their sizes and where the pages are
	pages *os.File
	saved []savedRange // in order
}

// savedRange is a part of the layer's memory, and where it is among the pages.
type savedRange struct{ start, end, at uint64 }

// maxPlan bounds, in bytes, what says which pages are saved, and of a single file where they are.
const maxPlan = 256 << 20

// SaveFiles takes the container's writable layer while nothing runs in the sandbox, and has it go on. Dir is where the files are, which take as
// much room as was written. What is in mounts is not part of it. Errors: fault.Unavailable if the sandbox is gone.
func (p *place) SaveFiles(ctx context.Context, dir string) (_ *Files, err error) {
	var files [4]*os.File // manifest, trees, what is known of pages, pages
	defer func() {
		for i, f := range files {
			if f != nil && (err != nil || i%2 == 0) {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for i := range files {
		if files[i], err = nameless(dir); err != nil {
			return nil, fmt.Errorf("sandbox %q: files: %w", p.sandbox, err)
		}
	}
	type path struct {
		Container string `json:"container_name"`
		Path      string `json:"path"`
	}
	if err := p.runtime.call(ctx, p.sandbox, methodSaveFiles, struct {
		Paths []path `json:"paths"`
	}{[]path{{p.name, "/"}}}, files[:]...); err != nil {
		return nil, err
	}
	saved, err := readPlan(files[2])
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: files: %w", p.sandbox, err)
	}
	return &Files{tree: files[1], pages: files[3], saved: saved}, nil
}

// nameless makes a file of which nothing is left however the process ends.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "files-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close gives the room back.
func (f *Files) Close() error { return errors.Join(f.tree.Close(), f.pages.Close()) }

// Each calls take with every entry, folders before what is in them, in any order besides. What overlay file systems leave for files that were
// removed is a character device 0:0, and folders that hide those of the image have an attribute that says so.
func (f *Files) Each(ctx context.Context, take func(h *tar.Header, content io.Reader) error) error {
	if _, err := f.tree.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	entries := tar.NewReader(f.tree)
	for ctx.Err() == nil {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.New(fault.DataLoss, "files: %w", err)
		}
		var content io.Reader = entries
		if h.Typeflag == tar.TypeReg {
			if content, err = f.content(h, entries); err != nil {
				return fmt.Errorf("files: %.200q: %w", h.Name, err)
			}
		}
		if err := take(h, content); err != nil {
			return fmt.Errorf("files: %.200q: %w", h.Name, err)
		}
	}
	return context.Cause(ctx)
}

// segment is a part of a file and where that is in the layer's memory.
type segment struct{ Start, End, Memory uint64 }

// content reads where a file's contents are, and gives its header their size.
func (f *Files) content(h *tar.Header, r io.Reader) (io.Reader, error) {
	const segmentSize = 24
	if h.Size < 8 || (h.Size-8)%segmentSize != 0 || h.Size > maxPlan {
		return nil, fault.New(fault.DataLoss, "%d bytes don't say where its contents are", h.Size)
	}
	var size uint64
	segments := make([]segment, (h.Size-8)/segmentSize)
	if err := errors.Join(binary.Read(r, binary.LittleEndian, &size), binary.Read(r, binary.LittleEndian, segments)); err != nil {
		return nil, fault.New(fault.DataLoss, "%w", err)
	}
	if size > 1<<62 {
		return nil, fault.New(fault.Exhausted, "its size is %d bytes", size)
	}
	end := uint64(0)
	for _, s := range segments {
		if s.Start < end || s.End <= s.Start {
			return nil, fault.New(fault.DataLoss, "parts of it overlap")
		}
		end = s.End
	}
	h.Size = int64(size) //nolint:gosec // checked above
	return io.LimitReader(&contentReader{files: f, segments: segments}, h.Size), nil
}

// contentReader reads a file's contents; between segments, and where no page is saved, are zeros without end.
type contentReader struct {
	files    *Files
	segments []segment
	at       uint64
}

func (c *contentReader) Read(b []byte) (int, error) {
	for len(c.segments) > 0 && c.segments[0].End <= c.at {
		c.segments = c.segments[1:]
	}
	size := uint64(len(b))
	if len(c.segments) == 0 {
		return c.zeros(b, size)
	}
	s := c.segments[0]
	if c.at < s.Start {
		return c.zeros(b, s.Start-c.at)
	}
	memory := s.Memory + c.at - s.Start
	size = min(size, s.End-c.at)
	saved := c.files.saved
	i := sort.Search(len(saved), func(i int) bool { return saved[i].end > memory })
	if i == len(saved) {
		return c.zeros(b, size)
	}
	if r := saved[i]; memory < r.start {
		return c.zeros(b, min(size, r.start-memory))
	} else if n, err := c.files.pages.ReadAt(b[:min(size, r.end-memory)], int64(r.at+memory-r.start)); n > 0 || err == nil { //nolint:gosec // readPlan has checked it
		c.at += uint64(n) //nolint:gosec // not negative
		return n, nil
	}
	return 0, fault.New(fault.DataLoss, "the pages end before the file does")
}

func (c *contentReader) zeros(b []byte, most uint64) (int, error) {
	n := min(uint64(len(b)), most)
	clear(b[:n])
	c.at += n
	return int(n), nil //nolint:gosec // at most len(b)
}

// readPlan reads which parts of the layer's memory are saved: the pages follow one another in the order of their places. It is a message of
// gVisor's, of which field 3 lists ranges with start (1), end (2) and whether they are saved (5).
func readPlan(f *os.File) ([]savedRange, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var size uint64
	if err := binary.Read(f, binary.LittleEndian, &size); err != nil || size > maxPlan {
		return nil, fault.New(fault.DataLoss, "%d bytes say where pages are: %w", size, err)
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(f, message); err != nil {
		return nil, fault.New(fault.DataLoss, "where pages are: %w", err)
	}
	var saved []savedRange
	var last, at uint64
	err := fields(message, func(number protowire.Number, _ uint64, b []byte) error {
		if number != 3 {
			return nil
		}
		var r savedRange
		committed := false
		if err := fields(b, func(number protowire.Number, v uint64, _ []byte) error {
			switch number {
			case 1:
				r.start = v
			case 2:
				r.end = v
			case 5:
				committed = v != 0
			}
			return nil
		}); err != nil {
			return err
		}
		if r.start < last || r.end <= r.start || r.end > 1<<62 {
			return errors.New("ranges overlap")
		}
		if last = r.end; committed {
			r.at = at
			at += r.end - r.start
			saved = append(saved, r)
		}
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.DataLoss, "where pages are: %w", err)
	}
	return saved, nil
}

// fields calls f with the fields of a message: the value of a number, or the bytes of anything else.
func fields(message []byte, f func(number protowire.Number, v uint64, b []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := f(number, v, b); err != nil {
			return err
		}
	}
	return nil
}
