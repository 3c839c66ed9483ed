package erofs

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// loader reads the metadata of an image that this package has written.
type loader struct {
	meta  []byte
	start uint64 // where it begins in the file
	inode uint64 // where inodes are counted from in the file
	data  uint64 // blocks of the superblock and all contents
	names uint64 // as image.names

	seen map[uint64]*node // by nid; nil while a directory is being read
}

// load returns the root of an image's tree: the nodes of its files say where their contents are in it. Errors: fault.DataLoss for a file that is
// no image of ours.
func load(file io.ReaderAt, m *cas.Manifest) (*node, *loader, error) {
	if len(m.Local) != 2 || m.Local[1].Offset+m.Local[1].Size != m.Size || m.Local[0].Offset != 0 || m.Local[0].Size != blockSize || m.Size%blockSize != 0 {
		return nil, nil, fault.New(fault.DataLoss, "image file: its manifest has no metadata at its end")
	}
	l := &loader{start: m.Local[1].Offset, meta: make([]byte, m.Local[1].Size), data: m.Local[1].Offset / blockSize, seen: map[uint64]*node{}}
	super := make([]byte, blockSize)
	if _, err := file.ReadAt(super, 0); err != nil {
		return nil, nil, fault.New(fault.DataLoss, "image file: %w", err)
	}
	if _, err := file.ReadAt(l.meta, int64(l.start)); err != nil { //nolint:gosec // below m.Size
		return nil, nil, fault.New(fault.DataLoss, "image file: %w", err)
	}
	s, le := super[superOffset:], binary.LittleEndian
	if le.Uint32(s) != superMagic || s[12] != blockBits || le.Uint32(s[80:]) != 0 {
		return nil, nil, fault.New(fault.DataLoss, "image file: it has no superblock of ours")
	}
	l.inode = uint64(le.Uint32(s[40:])) * blockSize
	root, err := l.node(uint64(le.Uint16(s[14:])))
	if err != nil {
		return nil, nil, err
	}
	if root.mode&typeMask != typeDir {
		return nil, nil, damaged("the root is no directory")
	}
	return root, l, nil
}

func damaged(what string) error { return fault.New(fault.DataLoss, "image file: damaged: %s", what) }

// piece returns a part of the metadata by its place in the file.
func (l *loader) piece(at, size uint64) ([]byte, error) {
	end := l.start + uint64(len(l.meta))
	if at < l.start || at > end || size > end-at {
		return nil, damaged("a place outside of the metadata")
	}
	return l.meta[at-l.start:][:size], nil
}

// node reads an inode, and what is below a directory.
func (l *loader) node(nid uint64) (*node, error) {
	if n, ok := l.seen[nid]; ok {
		if n == nil || n.mode&typeMask == typeDir {
			return nil, damaged("a directory with two names")
		}
		return n, nil
	}
	if nid > uint64(len(l.meta)) {
		return nil, damaged("an inode outside of the metadata")
	}
	at := l.inode + nid<<slotBits
	b, err := l.piece(at, inodeSize)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	format := le.Uint16(b)
	if format&1 != layoutExtended || le.Uint16(b[2:]) != 0 {
		return nil, damaged("an inode of another form")
	}
	n := &node{mode: le.Uint16(b[4:]), uid: le.Uint32(b[24:]), gid: le.Uint32(b[28:]), mtime: le.Uint64(b[32:])}
	size, block := le.Uint64(b[8:]), le.Uint32(b[16:])
	switch n.mode & typeMask {
	case typeRegular:
		n.size, n.block, n.lower = size, block, true
		if size > 0 && (block == 0 || uint64(block) > l.data || n.blocks() > l.data-uint64(block)) {
			return nil, damaged("contents outside of the file")
		}
	case typeDir, typeSymlink:
		l.seen[nid] = nil
		place := uint64(block) * blockSize
		if format>>dataLayoutShift == dataFlatInline {
			place = at + inodeSize
		}
		tail, err := l.piece(place, size)
		if err != nil {
			return nil, err
		}
		if n.target = string(tail); n.mode&typeMask == typeDir {
			n.target, n.children = "", map[string]*node{}
			if err := l.directory(n, tail); err != nil {
				return nil, err
			}
		}
	default:
		n.rdev = block
	}
	l.seen[nid] = n
	return n, nil
}

// directory reads the entries of a directory: per block their fixed parts, then their names.
func (l *loader) directory(dir *node, tail []byte) error {
	le := binary.LittleEndian
	for len(tail) > 0 {
		part := tail[:min(len(tail), blockSize)]
		tail = tail[len(part):]
		if len(part) < direntSize {
			return damaged("a directory's block")
		}
		first := int(le.Uint16(part[8:]))
		if first < direntSize || first%direntSize != 0 || first > len(part) {
			return damaged("a directory's block")
		}
		for at := 0; at < first; at += direntSize {
			from, to := int(le.Uint16(part[at+8:])), len(part)
			if at+direntSize < first {
				to = int(le.Uint16(part[at+direntSize+8:]))
			}
			if from < first || to < from || to > len(part) {
				return damaged("a directory's names")
			}
			name := string(bytes.TrimRight(part[from:to], "\x00"))
			if name == "." || name == ".." {
				continue
			}
			n, err := l.node(le.Uint64(part[at:]))
			if err != nil {
				return err
			}
			dir.children[name] = n
			l.names += inodeSize + direntSize + uint64(len(name)+len(n.target))
		}
	}
	return nil
}
