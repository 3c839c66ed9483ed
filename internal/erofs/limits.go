package erofs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Limits of an image: build steps are anybody's, and what they leave behind costs the builder and every worker.
const (
	// MaxSize is the size of the largest image in bytes. A file may have holes, so that what a step was let write is no limit to it.
	MaxSize = 256 << 30
	// maxPath is the length of the longest path of an entry in bytes: Linux's own.
	maxPath = 4096
	// minFree is how much of the disk an image leaves free in bytes, as build steps do. It is looked at as often as lookEvery bytes are written.
	minFree   = 1 << 30
	lookEvery = 64 << 20
)

func tooLarge() error {
	return fault.New(fault.Exhausted, "the image is larger than %d GiB", MaxSize>>30)
}

func tooMany() error {
	return fault.New(fault.Exhausted, "the image has too many files: their names and attributes take more than %d MiB", cas.MaxLocal>>20)
}

// named counts what an entry takes of the metadata, of which every worker holds all in memory.
func (m *image) named(name, target string) error {
	if m.names += inodeSize + direntSize + uint64(len(name)+len(target)); m.names > cas.MaxLocal {
		return tooMany()
	}
	return nil
}

// metadata is how many bytes the metadata is going to have at most, the superblock included; all inodes have their places.
func (m *image) metadata() uint64 {
	size, last := uint64(blockSize), m.order[len(m.order)-1]
	for _, n := range m.order {
		if tail := uint64(n.tailSize()); !n.inline { //nolint:gosec // not negative
			size += (tail + blockSize - 1) &^ (blockSize - 1)
		}
	}
	return size + last.nid<<slotBits + 2*blockSize
}

// leaveRoom is told of what is about to be written, and ends the image while others still find room on the disk.
func (m *image) leaveRoom(size uint64) error {
	if m.unseen += size; m.unseen < lookEvery {
		return nil
	}
	m.unseen = 0
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(m.out.Fd()), &stat); err != nil { //nolint:gosec // a descriptor
		return fmt.Errorf("image file: %w", err)
	}
	if free := stat.Bavail * uint64(stat.Bsize); free < minFree { //nolint:gosec // not negative
		return fault.New(fault.Exhausted, "the disk is full: %d MiB are left, %d have to be", free>>20, minFree>>20)
	}
	return nil
}

// large writes the contents of a large file.
func (m *image) large(r io.Reader, size int64) error {
	m.small = slices.Grow(m.small[:0], cas.Piece)[:cas.Piece]
	for size > 0 {
		part := min(size, lookEvery)
		if err := errors.Join(m.leaveRoom(uint64(part)), sparse(m.out, m.w, r, part, m.small)); err != nil { //nolint:gosec // not negative
			return err
		}
		size -= part
	}
	return nil
}

// sparse copies to a file that w writes to. Where pieces are zero nothing is written, so that holes stay holes; the last one is.
func sparse(out *os.File, w *bufio.Writer, r io.Reader, size int64, buf []byte) error {
	for left := size; left > 0; {
		piece := buf[:min(left, cas.Piece)]
		if _, err := io.ReadFull(r, piece); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if left -= int64(len(piece)); left > 0 && bytes.Equal(piece, nothing) {
			if err := w.Flush(); err != nil {
				return err
			}
			if _, err := out.Seek(cas.Piece, io.SeekCurrent); err != nil {
				return err
			}
			continue
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

var nothing = make([]byte, cas.Piece)
