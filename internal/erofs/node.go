package erofs

import (
	"encoding/binary"
	"slices"
	"strings"
)

// node is an inode. Hard links are several names of one node.
type node struct {
	mode     uint16 // type and permissions
	uid, gid uint32
	mtime    uint64 // seconds
	size     uint64 // of a regular file
	block    uint32 // first block of contents, or of tail unless that is inline
	mark     uint32 // a hash of contents that are not large
	lower    bool   // its contents are in the image that a layer is put on
	rdev     uint32 // of a device
	target   string // of a symbolic link
	links    uint32
	children map[string]*node // of a directory

	// Set by image.number.
	ino    uint32
	nid    uint64
	parent *node // of a directory
	names  []string
	tail   []byte // a directory's entries or a link's target
	inline bool
}

func newDir() *node { return &node{mode: typeDir | 0o755, children: map[string]*node{}} }

// collect appends the node and all below it, parents before children, each once, and counts links.
func (n *node) collect(order []*node) []*node {
	if n.parent == nil {
		n.parent = n
	}
	if n.links++; n.links > 1 {
		return order
	}
	order = append(order, n)
	if n.mode&typeMask != typeDir {
		return order
	}
	n.links = 2
	n.names = append(n.names[:0], ".", "..")
	for name := range n.children {
		n.names = append(n.names, name)
	}
	slices.Sort(n.names)
	for _, name := range n.names {
		c := n.children[name]
		if c == nil {
			continue
		}
		if c.mode&typeMask == typeDir {
			c.parent = n
			n.links++
		}
		order = c.collect(order)
	}
	return order
}

// tailSize is the length that tail is going to have.
func (n *node) tailSize() int {
	switch n.mode & typeMask {
	case typeSymlink:
		return len(n.target)
	case typeDir:
		size := 0
		for part := range n.parts() {
			size = (size + blockSize - 1) &^ (blockSize - 1)
			size += len(part) * direntSize
			for _, name := range part {
				size += len(name)
			}
		}
		return size
	}
	return 0
}

// parts yields the names of a directory, as many at a time as fit into one block.
func (n *node) parts() func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		used, first := 0, 0
		for i, name := range n.names {
			need := direntSize + len(name)
			if used+need > blockSize {
				if !yield(n.names[first:i]) {
					return
				}
				used, first = 0, i
			}
			used += need
		}
		yield(n.names[first:])
	}
}

// dirents are the entries of a directory: per block their fixed parts, then their names.
func (n *node) dirents() []byte {
	var b []byte
	for part := range n.parts() {
		b = append(b, zeros[:-len(b)&(blockSize-1)]...)
		offset := len(part) * direntSize
		for _, name := range part {
			c := n.child(name)
			b = binary.LittleEndian.AppendUint64(b, c.nid)
			b = binary.LittleEndian.AppendUint16(b, uint16(offset)) //nolint:gosec // within a block
			b = append(b, c.direntType(), 0)
			offset += len(name)
		}
		b = append(b, strings.Join(part, "")...)
	}
	return b
}

func (n *node) child(name string) *node {
	switch name {
	case ".":
		return n
	case "..":
		return n.parent
	}
	return n.children[name]
}

func (n *node) direntType() byte {
	return map[uint16]byte{typeRegular: 1, typeDir: 2, typeChar: 3, typeBlock: 4, typeFifo: 5, typeSymlink: 7}[n.mode&typeMask]
}

// inode is the node's 64-byte form.
func (n *node) inode() []byte {
	b := make([]byte, inodeSize)
	le := binary.LittleEndian
	layout, size := dataFlatPlain, n.size
	if n.tail != nil {
		size = uint64(len(n.tail))
	}
	if n.inline {
		layout = dataFlatInline
	}
	le.PutUint16(b[0:], uint16(layoutExtended|layout<<dataLayoutShift)) //nolint:gosec // small constants
	le.PutUint16(b[4:], n.mode)
	le.PutUint64(b[8:], size)
	le.PutUint32(b[16:], n.block|n.rdev)
	le.PutUint32(b[20:], n.ino)
	le.PutUint32(b[24:], n.uid)
	le.PutUint32(b[28:], n.gid)
	le.PutUint64(b[32:], n.mtime)
	le.PutUint32(b[44:], n.links)
	return b
}

// device encodes a device's numbers as the kernel does.
func device(major, minor int64) uint32 {
	return uint32(minor&0xff | major<<8 | (minor&^0xff)<<12) //nolint:gosec // the kernel's own width
}

// numbers is the reverse of device.
func numbers(device uint32) (major, minor int64) {
	return int64(device >> 8 & 0xfff), int64(device&0xff | device>>12&^0xff)
}
