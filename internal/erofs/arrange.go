package erofs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/skerry-dev/skerry/internal/cas"
)

// sizes cuts the image at the edges of its files.
func (m *image) sizes() []uint32 {
	var c cas.Cutter
	c.Whole(blockSize)
	for _, n := range m.order {
		if n.hasContent() {
			c.Part(n.blocks()*blockSize, n.mark)
		}
	}
	c.Whole((m.blocks - m.data) * blockSize)
	return c.Sizes()
}

// local is what gVisor reads where an error would end the sandbox: all but contents.
func (m *image) local() []cas.Range {
	return []cas.Range{{Size: blockSize}, {Offset: m.data * blockSize, Size: (m.blocks - m.data) * blockSize}}
}

func (n *node) hasContent() bool { return n.mode&typeMask == typeRegular && n.size > 0 }

// blocks is how many a regular file's contents take.
func (n *node) blocks() uint64 { return (n.size + blockSize - 1) / blockSize }

// arrange brings contents into the order of their paths, unless they came in it, and drops those of names that came again.
func (m *image) arrange() error {
	next, sorted := uint64(1), true
	for _, n := range m.order {
		if n.hasContent() {
			sorted = sorted && uint64(n.block) == next
			next += n.blocks()
		}
	}
	if sorted && next == m.blocks {
		m.cuts.End()
		return m.cut()
	}
	m.sorted = false
	if err := m.w.Flush(); err != nil {
		return err
	}
	spool, err := os.CreateTemp(filepath.Dir(m.out.Name()), "unsorted-")
	if err != nil {
		return err
	}
	return errors.Join(m.rewrite(spool), spool.Close())
}

// rewrite moves what was written to spool and writes it again in order.
func (m *image) rewrite(spool *os.File) error {
	// Without a name nothing is left of it however the process ends.
	if err := os.Remove(spool.Name()); err != nil {
		return err
	}
	if m.store != nil {
		m.store.Abort() // it reads the file
	}
	if _, err := m.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	m.w.Reset(spool)
	m.small = slices.Grow(m.small[:0], cas.Piece)[:cas.Piece]
	if err := errors.Join(sparse(spool, m.w, m.out, int64(m.blocks)*blockSize, m.small), m.w.Flush()); err != nil { //nolint:gosec // at most MaxSize
		return fmt.Errorf("sort contents: %w", err)
	}
	if err := m.out.Truncate(0); err != nil {
		return err
	}
	if _, err := m.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	m.w.Reset(m.out)
	m.blocks = 0
	if err := m.pad(zeros[:]); err != nil {
		return err
	}
	for _, n := range m.order {
		if !n.hasContent() {
			continue
		}
		size := n.blocks() * blockSize
		from := io.NewSectionReader(spool, int64(n.block)*blockSize, int64(size)) //nolint:gosec // within the file
		n.block = uint32(m.blocks)                                                //nolint:gosec // fill keeps the count within 32 bits
		if err := m.large(from, from.Size()); err != nil {
			return fmt.Errorf("sort contents: %w", err)
		}
		if err := m.fill(size); err != nil {
			return err
		}
	}
	return nil
}
