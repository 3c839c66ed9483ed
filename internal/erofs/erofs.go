// Package erofs turns the tar stream of a root file system into one plain EROFS file that gVisor mounts as a container's root.
//
// gVisor's reader takes less than EROFS offers, and a lazy reader wants more than mkfs.erofs gives, hence a writer of our own:
//
//   - contents of regular files are whole blocks, never inline, so that the sandbox maps them;
//   - extended attributes are left out: gVisor refuses inodes that have any. File capabilities go with them;
//   - all metadata is in one piece at the end, so that a lazy reader has it at hand; contents come before it in the order of their paths.
//     Tars mostly come in that order, and then the file is written in one pass as the tar arrives;
//   - nothing depends on the time, the host or the order of the tar: the same file system gives the same bytes. Times of files are kept to
//     the second, because Python compares them with those in its compiled files.
//
// The file is then stored in chunks that are cut at the edges of files, so that images share them.
package erofs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"slices"

	"github.com/skerry-dev/skerry/internal/cas"
)

// Sizes of the format, in bytes.
const (
	blockBits   = 12
	blockSize   = 1 << blockBits
	superOffset = 1024
	inodeSize   = 64
	slotBits    = 5
	direntSize  = 12
)

const (
	superMagic       = 0xe0f5e1e2
	compatChecksum   = 1
	compatMtime      = 2
	layoutExtended   = 1
	dataFlatPlain    = 0
	dataFlatInline   = 2
	dataLayoutShift  = 1
	maxInlineTail    = blockSize - inodeSize
	maxNameLength    = 255
	maxSymlinkLength = 4095
)

// Type bits of an inode's mode.
const (
	typeFifo    = 0o010000
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeRegular = 0o100000
	typeSymlink = 0o120000
	typeMask    = 0o170000
)

// image writes one EROFS file: add gives it the contents, finish the rest.
type image struct {
	out    *os.File
	w      *bufio.Writer
	blocks uint64 // written so far
	sorted bool   // contents came in the order of their paths
	data   uint64 // blocks of the superblock and all contents
	root   *node
	order  []*node // every inode once, in the order of paths
	names  uint64  // bytes of metadata that the entries take at least
	unseen uint64  // bytes of contents since the disk was last looked at
	small  []byte  // the contents of one small file, or a piece of a large one

	// While contents come in the order of their paths, their chunks are stored at once.
	cuts  cas.Cutter
	store *cas.Writer // or nil
	super int         // the superblock's chunk, which is stored last
}

func newImage(out *os.File, store *cas.Writer) (*image, error) {
	m := &image{out: out, w: bufio.NewWriterSize(out, 1<<20), root: newDir(), store: store, sorted: true}
	if store != nil {
		m.super, _ = store.Reserve(blockSize)
	}
	// The superblock's place; finish fills it.
	return m, m.pad(zeros[:])
}

// cut stores the chunks that have ended.
func (m *image) cut() error {
	ended := m.cuts.Ended()
	if m.store == nil || len(ended) == 0 {
		return nil
	}
	if err := m.w.Flush(); err != nil {
		return err
	}
	for _, size := range ended {
		m.store.Ready(m.store.Reserve(size))
	}
	return nil
}

// pad writes b and zeros up to a whole block.
func (m *image) pad(b []byte) error {
	if _, err := m.w.Write(b); err != nil {
		return err
	}
	return m.fill(uint64(len(b)))
}

// fill ends what was written as n bytes with zeros up to a whole block, and counts the blocks.
func (m *image) fill(n uint64) error {
	if rest := n % blockSize; rest != 0 {
		if _, err := m.w.Write(zeros[:blockSize-rest]); err != nil {
			return err
		}
	}
	m.blocks += (n + blockSize - 1) / blockSize
	if m.blocks > MaxSize/blockSize {
		return tooLarge()
	}
	return nil
}

var zeros [blockSize]byte

// add writes the contents of a regular file, and returns its first block and a hash of the contents unless they are large.
func (m *image) add(r io.Reader, size int64) (first, mark uint32, err error) {
	if size == 0 {
		return 0, 0, nil
	}
	if uint64(size) > MaxSize-m.blocks*blockSize { //nolint:gosec // not negative; fill keeps the blocks below MaxSize
		return 0, 0, tooLarge()
	}
	first = uint32(m.blocks) //nolint:gosec // fill keeps the count within 32 bits
	if size < cas.Large {
		m.small = slices.Grow(m.small[:0], int(size))[:size]
		if n, err := io.ReadFull(r, m.small); err != nil {
			if n == 0 || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, 0, err
		}
		mark = crc32.Checksum(m.small, castagnoli)
		err = errors.Join(m.leaveRoom(uint64(size)), m.pad(m.small))
	} else if err = m.large(r, size); err == nil {
		err = m.fill(uint64(size))
	}
	if err != nil {
		return 0, 0, err
	}
	m.cuts.Part((m.blocks-uint64(first))*blockSize, mark)
	return first, mark, m.cut()
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// finish writes metadata and superblock.
func (m *image) finish() error {
	m.order = m.root.collect(nil)
	if err := m.arrange(); err != nil {
		return err
	}
	super, err := m.describe()
	if err != nil {
		return err
	}
	_, err = m.out.WriteAt(super, 0)
	return err
}

// describe writes the metadata and returns the superblock. All contents have their blocks. Large directories and long link targets have
// blocks of their own, then come the inodes, each followed by its directory or target where that fits into the rest of a block.
func (m *image) describe() (super []byte, err error) {
	m.data = m.blocks
	if m.number(); m.metadata() > cas.MaxLocal {
		return nil, tooMany()
	}
	for _, n := range m.order {
		if n.tail == nil || n.inline {
			continue
		}
		n.block = uint32(m.blocks) //nolint:gosec // as above
		if err := m.pad(n.tail); err != nil {
			return nil, err
		}
	}
	meta := m.blocks
	if err := m.writeInodes(); err != nil {
		return nil, err
	}
	return m.superblock(meta), m.w.Flush()
}

// number gives every inode its place and then every directory its bytes, which name those places.
func (m *image) number() {
	var at uint64
	for i, n := range m.order {
		n.ino = uint32(i + 1) //nolint:gosec // a tar with 2^32 entries is larger than any image
		size := n.tailSize()
		n.inline = size > 0 && size <= maxInlineTail
		need := uint64(inodeSize)
		if n.inline {
			need += uint64(size) //nolint:gosec // sizes are positive
		}
		if at%blockSize+need > blockSize {
			at = (at + blockSize - 1) &^ (blockSize - 1)
		}
		n.nid = at >> slotBits
		at += (need + 1<<slotBits - 1) &^ (1<<slotBits - 1)
	}
	for _, n := range m.order {
		switch n.mode & typeMask {
		case typeDir:
			n.tail = n.dirents()
		case typeSymlink:
			n.tail = []byte(n.target)
		}
	}
}

func (m *image) writeInodes() error {
	var at uint64
	for _, n := range m.order {
		start := n.nid << slotBits
		if _, err := m.w.Write(zeros[:start-at]); err != nil {
			return err
		}
		b := n.inode()
		if n.inline {
			b = append(b, n.tail...)
		}
		if _, err := m.w.Write(b); err != nil {
			return err
		}
		at = start + uint64(len(b))
	}
	return m.fill(at)
}

func (m *image) superblock(metaBlock uint64) []byte {
	b := make([]byte, blockSize)
	s := b[superOffset:]
	le := binary.LittleEndian
	le.PutUint32(s[0:], superMagic)
	le.PutUint32(s[8:], compatChecksum|compatMtime)
	s[12] = blockBits
	le.PutUint16(s[14:], uint16(m.root.nid)) //nolint:gosec // the root is the first inode
	le.PutUint64(s[16:], uint64(len(m.order)))
	le.PutUint32(s[36:], uint32(m.blocks))  //nolint:gosec // fill keeps the count within 32 bits
	le.PutUint32(s[40:], uint32(metaBlock)) //nolint:gosec // as above
	// The kernel's crc32c is not inverted at its end, Go's is.
	le.PutUint32(s[4:], ^crc32.Checksum(s, castagnoli))
	return b
}
