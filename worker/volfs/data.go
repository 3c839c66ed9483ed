package volfs

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/voltree"
)

// data are the blocks of a file that are not, or may not be, as the volume has them. The inode's lock is held for all of it.
type data struct {
	path  string
	file  *os.File // nil: it is not open
	ends  []uint32 // of each block, 1 and how many bytes of it may be other than 0; 0: it is not here
	taken int64    // of the room for bytes
	cut   *Cut     // reads what was there at an instant; or nil
}

// pageSize is what room for bytes is taken by.
const pageSize = 4096

// has says whether a block is here.
func (d *data) has(block uint64) bool {
	return d != nil && block < uint64(len(d.ends)) && d.ends[block] > 0
}

// upper returns the inode's data, made where there is none.
func (f *FS) upper(n *inode) (*data, error) {
	if n.data == nil {
		f.mintPath(n)
	}
	return n.data, n.data.open()
}

func (f *FS) mintPath(n *inode) {
	serial := strconv.FormatUint(f.files.Add(1), 10)
	n.data = &data{path: filepath.Join(f.cfg.Upper, serial)}
}

func (d *data) open() (err error) {
	if d.file == nil {
		d.file, err = os.OpenFile(d.path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	}
	return err
}

// rest closes the file of an inode that nobody has open.
func (n *inode) rest() {
	if n.opens > 0 || n.data == nil || n.data.file == nil {
		return
	}
	_ = n.data.file.Close() // what was written is there
	n.data.file = nil
}

// discard forgets an inode's data. What a Cut still reads of it stays until that is closed.
func (f *FS) discard(n *inode) {
	d := n.data
	if d == nil {
		return
	}
	n.data = nil
	f.cfg.Bytes.take(-d.taken)
	if d.cut != nil {
		d.cut.inherit(d)
		return
	}
	d.remove()
}

func (d *data) remove() {
	if d.file != nil {
		_ = d.file.Close() // nobody reads it any more
		d.file = nil
	}
	_ = os.Remove(d.path) // one that was never written is not there
}

// reach notes that a block is here, with bytes up to an end in it. Errors: ENOSPC.
func (f *FS) reach(d *data, block uint64, end uint32) error {
	for uint64(len(d.ends)) <= block {
		d.ends = append(d.ends, 0)
	}
	before := d.ends[block]
	if before > end {
		return nil
	}
	more := pages(end)
	if before > 0 {
		more -= pages(before - 1)
	}
	if !f.cfg.Bytes.take(more) {
		return unix.ENOSPC
	}
	d.taken += more
	d.ends[block] = end + 1
	return nil
}

func pages(n uint32) int64 { return (int64(n) + pageSize - 1) / pageSize * pageSize }

// part is what of a block lies in a range of a file.
type part struct {
	block      uint64
	begin, end uint32
}

// parts cuts a range into what lies in each block.
func parts(offset, length uint64) (list []part) {
	for length > 0 {
		p := part{block: offset / BlockSize, begin: uint32(offset % BlockSize)} //nolint:gosec // below BlockSize
		n := min(length, BlockSize-uint64(p.begin))
		p.end = p.begin + uint32(n) //nolint:gosec // at most BlockSize
		list = append(list, p)
		offset, length = offset+n, length-n
	}
	return list
}

// old is how many bytes of a block the volume has that count.
func (n *inode) old(block uint64) uint32 {
	start := block * BlockSize
	if n.base <= start {
		return 0
	}
	return uint32(min(n.base-start, BlockSize)) //nolint:gosec // at most BlockSize
}

// readBlock reads a part of a block that is here; what was never written is 0.
func (d *data) readBlock(p part, into []byte) error {
	if err := d.open(); err != nil {
		return err
	}
	got, err := d.file.ReadAt(into, int64(p.block*BlockSize)+int64(p.begin)) //nolint:gosec // below MaxFile
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	clear(into[got:])
	return nil
}

// Write writes to a file, whose blocks are copied first where they are changed in part.
func (f *FS) Write(cancel <-chan struct{}, in *fuse.WriteIn, bytes []byte) (uint32, fuse.Status) {
	if f.cfg.ReadOnly {
		return 0, fuse.EROFS
	}
	if in.Offset > voltree.MaxFile || uint64(len(bytes)) > voltree.MaxFile-in.Offset {
		return 0, fuse.Status(unix.EFBIG)
	}
	status := f.change(cancel, &in.InHeader, parts(in.Offset, uint64(len(bytes))), func(n *inode) error {
		for _, p := range parts(in.Offset, uint64(len(bytes))) {
			at := p.block*BlockSize + uint64(p.begin) - in.Offset
			if err := f.writeBlock(n, p, bytes[at:at+uint64(p.end-p.begin)]); err != nil {
				return err
			}
			n.size = max(n.size, in.Offset+at+uint64(p.end-p.begin))
		}
		return nil
	})
	if status != fuse.OK {
		return 0, status
	}
	return uint32(len(bytes)), fuse.OK //nolint:gosec // one request's
}

// writeBlock writes a part of a block, of which nothing is missing.
func (f *FS) writeBlock(n *inode, p part, bytes []byte) error {
	d := n.data
	if d.cut != nil {
		if err := d.cut.save(d, p.block, p.begin); err != nil {
			return err
		}
	}
	if err := f.reach(d, p.block, p.end); err != nil {
		return err
	}
	_, err := d.file.WriteAt(bytes, int64(p.block*BlockSize)+int64(p.begin)) //nolint:gosec // below MaxFile
	return err
}

// change changes a file's bytes, after blocks that are changed in part were copied. The locks are held while do runs.
func (f *FS) change(cancel <-chan struct{}, h *fuse.InHeader, touched []part, do func(n *inode) error) fuse.Status {
	for {
		fetch, status := f.attempt(h.NodeId, touched, do)
		if fetch == nil {
			return status
		}
		if status := f.copyUp(asker(cancel, h), h.NodeId, fetch); status != fuse.OK {
			return status
		}
	}
}

// attempt calls do unless a block has to be copied first, which it returns.
func (f *FS) attempt(id uint64, touched []part, do func(n *inode) error) (fetch *part, status fuse.Status) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.node(id)
	if n == nil {
		return nil, fuse.Status(unix.ESTALE)
	}
	if n.typ != voltree.File {
		return nil, fuse.EINVAL
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, p := range touched {
		if old := n.old(p.block); !n.data.has(p.block) && old > 0 && (p.begin > 0 || p.end < old) {
			return &touched[i], fuse.OK
		}
	}
	if _, err := f.upper(n); err != nil {
		return nil, fuse.ToStatus(err)
	}
	defer n.rest()
	if err := do(n); err != nil {
		return nil, fuse.ToStatus(err)
	}
	f.changes(n)
	n.mtime = n.ctime
	return nil, fuse.OK
}

// copyUp copies a block that is about to be changed in part.
func (f *FS) copyUp(ctx context.Context, id uint64, p *part) fuse.Status {
	f.mu.RLock()
	n := f.node(id)
	f.mu.RUnlock()
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	n.mu.Lock()
	content := n.content
	n.mu.Unlock()
	bytes, err := f.block(ctx, n, content, p.block)
	if err != nil {
		f.complain("a file that is changed can't be read", err)
		return fuse.EIO
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.old(p.block)
	if n.content != content || n.data.has(p.block) || old == 0 {
		return fuse.OK // somebody was quicker
	}
	d, err := f.upper(n)
	if err == nil {
		err = f.reach(d, p.block, old)
	}
	if err == nil {
		_, err = d.file.WriteAt(bytes[:old], int64(p.block*BlockSize)) //nolint:gosec // below MaxFile
		if err != nil {
			d.ends[p.block] = 0 // it is read from the volume as before
		}
	}
	n.rest()
	return fuse.ToStatus(err)
}

// resize cuts a file off, or has it go on with zeros. Both locks are held.
func (f *FS) resize(n *inode, size uint64) error {
	if size < n.size {
		if err := f.cutOff(n, size); err != nil {
			return err
		}
	}
	n.base, n.size = min(n.base, size), size
	if n.base == 0 {
		n.content, n.manifest = voltree.Content{}, nil
	}
	return nil
}

func (f *FS) cutOff(n *inode, size uint64) error {
	if size == 0 {
		f.discard(n)
		return nil
	}
	d := n.data
	if d == nil {
		return nil
	}
	if err := d.open(); err != nil {
		return err
	}
	edge := size / BlockSize
	for i := edge; i < uint64(len(d.ends)); i++ {
		begin := uint32(0)
		if i == edge {
			begin = uint32(size % BlockSize) //nolint:gosec // below BlockSize
		}
		if d.cut != nil {
			if err := d.cut.save(d, i, begin); err != nil {
				return err
			}
		}
		if d.ends[i] > begin+1 {
			less := pages(d.ends[i]-1) - pages(begin)
			f.cfg.Bytes.take(-less)
			d.taken -= less
			d.ends[i] = begin + 1
		}
	}
	return d.file.Truncate(int64(size)) //nolint:gosec // below MaxFile
}
