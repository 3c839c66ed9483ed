package output

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// segment is what a spill grows and forgets by, in bytes.
const segment = 1 << 20

var errNoSpill = errors.New("keep output: the disk has no room")

// spill keeps the bytes of a stream from first to end in a file. Segments that are forgotten leave their place in the file to later ones, so
// that a full disk still takes them. Its user guards it.
type spill struct {
	store      *Store
	file       *os.File
	first, end uint64
	base       uint64  // number of the segment that slots begins with
	slots      []int64 // places in the file of the segments that are kept, in segments
	made       int64   // places that the file has
}

// newSpill begins a spill at an offset. Errors: the disk has no room.
func newSpill(store *Store, offset uint64) (*spill, error) {
	if store.dir == "" {
		return nil, errNoSpill
	}
	f, err := store.create()
	if err != nil {
		return nil, err
	}
	return &spill{store: store, file: f, first: offset, end: offset, base: offset / segment}, nil
}

// write appends p, forgetting the oldest segment where there is no room for another. An error means that p is not kept in whole.
func (s *spill) write(p []byte) error {
	for len(p) > 0 {
		at, in := s.end/segment, s.end%segment
		if at >= s.base+uint64(len(s.slots)) {
			if err := s.extend(); err != nil {
				return err
			}
		}
		n := min(len(p), int(segment-in)) //nolint:gosec // at most segment
		slot := s.slots[at-s.base]
		if _, err := s.file.WriteAt(p[:n], slot*segment+int64(in)); err != nil { //nolint:gosec // at most segment
			return err
		}
		s.end += uint64(n) //nolint:gosec // counts are positive
		p = p[n:]
	}
	return nil
}

// extend gives the segment at the end a place.
func (s *spill) extend() error {
	if s.made == SpillLimit/segment || !s.store.reserve(segment) {
		return s.recycle()
	}
	// A full disk shows here and not in the middle of a segment.
	err := unix.Fallocate(int(s.file.Fd()), 0, s.made*segment, segment)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		s.store.unreserve(segment)
		return s.recycle()
	}
	s.slots = append(s.slots, s.made)
	s.made++
	return nil
}

// recycle gives the segment at the end the place of the oldest.
func (s *spill) recycle() error {
	if len(s.slots) == 0 {
		return errNoSpill
	}
	s.slots = append(s.slots[1:], s.slots[0])
	s.base++
	s.first = max(s.first, s.base*segment)
	return nil
}

// read returns at most n bytes from an offset on, which lies between first and end.
func (s *spill) read(offset uint64, n int) ([]byte, error) {
	at, in := offset/segment, offset%segment
	n = min(n, int(segment-in), int(s.end-offset)) //nolint:gosec // the first two are at most segment
	p := make([]byte, n)
	_, err := s.file.ReadAt(p, s.slots[at-s.base]*segment+int64(in)) //nolint:gosec // at most segment
	return p, err
}

// close gives the disk back.
func (s *spill) close() {
	_ = s.file.Close() // it has no name: what it holds goes with it
	s.store.unreserve(s.made * segment)
}
