package volfs

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// Cut is a changed file as it was at an instant. Those who write to the file go on: what they are about to change is put aside first. It is
// for one goroutine; Close ends it.
type Cut struct {
	Size uint64

	fs      *FS
	node    *inode
	gen     uint64
	content voltree.Content
	base    uint64

	// These are guarded by the inode's lock.
	ends  []uint32        // as in data
	saved map[uint64]bool // blocks that are in aside
	done  map[uint64]bool // blocks that have been read
	path  string
	aside *os.File // or nil
	own   *data    // that the file had and has no longer; or nil
}

// cut takes a file as it is. Both locks are held.
func (f *FS) cut(n *inode) *Cut {
	c := &Cut{
		Size: n.size, fs: f, node: n, gen: n.gen, content: n.content, base: n.base, ends: slices.Clone(n.data.ends),
		saved: map[uint64]bool{}, done: map[uint64]bool{}, path: n.data.path + ".cut",
	}
	n.data.cut = c
	return c
}

// Blocks is how many blocks the file has.
func (c *Cut) Blocks() uint64 { return (c.Size + BlockSize - 1) / BlockSize }

// save puts a block aside from which the bytes from begin on are about to be changed.
func (c *Cut) save(d *data, block uint64, begin uint32) error {
	if block >= uint64(len(c.ends)) || c.ends[block] == 0 || begin >= c.ends[block]-1 || c.saved[block] || c.done[block] {
		return nil
	}
	if c.aside == nil {
		file, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		c.aside = file
	}
	bytes := make([]byte, c.ends[block]-1)
	if err := d.readBlock(part{block: block, end: uint32(len(bytes))}, bytes); err != nil { //nolint:gosec // at most BlockSize
		return err
	}
	if _, err := c.aside.WriteAt(bytes, int64(block*BlockSize)); err != nil { //nolint:gosec // below MaxFile
		return err
	}
	c.saved[block] = true
	return nil
}

// inherit takes over data that the file no longer has.
func (c *Cut) inherit(d *data) {
	d.cut = nil
	c.own = d
}

// Unchanged returns the chunk of a block that the volume has already.
func (c *Cut) Unchanged(ctx context.Context, block uint64) (chunk cas.Chunk, ok bool, err error) {
	if !c.content.Chunked || c.here(block) {
		return cas.Chunk{}, false, nil
	}
	m, err := c.fs.manifest(ctx, c.node, c.content)
	if err != nil {
		return cas.Chunk{}, false, err
	}
	end := min((block+1)*BlockSize, c.Size)
	if block >= uint64(len(m.Chunks)) || end > c.base || uint64(m.Chunks[block].Size) != end-block*BlockSize {
		return cas.Chunk{}, false, nil
	}
	return m.Chunks[block], true, nil
}

func (c *Cut) here(block uint64) bool { return block < uint64(len(c.ends)) && c.ends[block] > 0 }

// ReadBlock reads a block.
func (c *Cut) ReadBlock(ctx context.Context, block uint64) ([]byte, error) {
	start := block * BlockSize
	bytes := make([]byte, min(c.Size-start, BlockSize))
	if c.here(block) {
		return bytes, c.readHere(block, bytes)
	}
	if c.base <= start {
		return bytes, nil
	}
	old, err := c.fs.block(ctx, c.node, c.content, block)
	if err != nil {
		return nil, err
	}
	copy(bytes, old[:min(c.base-start, uint64(len(old)))])
	return bytes, nil
}

func (c *Cut) readHere(block uint64, into []byte) (err error) {
	n := c.node
	n.mu.Lock()
	defer n.mu.Unlock()
	whole := part{block: block, end: uint32(len(into))} //nolint:gosec // at most BlockSize
	switch {
	case c.saved[block]:
		err = (&data{file: c.aside, path: c.path}).readBlock(whole, into)
	case c.own != nil:
		err = c.own.readBlock(whole, into)
	case n.data != nil && n.data.cut == c:
		defer n.rest()
		err = n.data.readBlock(whole, into)
	default:
		err = errors.New("a file's bytes are gone")
	}
	if end := int(c.ends[block] - 1); end < len(into) {
		clear(into[end:]) // it was written since
	}
	c.done[block] = err == nil
	return err
}

// close ends it. The inode's lock is held.
func (c *Cut) close() {
	if c.aside != nil {
		_ = c.aside.Close() // nobody reads it any more
		_ = os.Remove(c.path)
		c.aside = nil
	}
	if c.own != nil {
		c.own.remove()
		c.own = nil
	}
	if d := c.node.data; d != nil && d.cut == c {
		d.cut = nil
	}
}

// Close gives back what it holds.
func (c *Cut) Close() {
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	c.close()
}
