package volfs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// maxAhead is how many chunks are fetched ahead of a reader that goes straight on.
const maxAhead = 8

// sequence follows a file's reader.
type sequence struct {
	next   uint64 // the block behind the one that was read last
	until  uint64 // the first that was not asked for
	window uint64
}

// block returns what the volume has of a block of a file's content. No lock is held.
func (f *FS) block(ctx context.Context, n *inode, c voltree.Content, block uint64) ([]byte, error) {
	if !c.Chunked {
		whole, err := f.cfg.Blobs.Blob(ctx, c.Digest)
		if err != nil {
			return nil, err
		}
		if block > 0 || c.Offset > uint64(len(whole)) {
			return nil, fault.New(fault.DataLoss, "blob %s: is shorter than the file in it", c.Digest)
		}
		return whole[c.Offset:], nil
	}
	m, err := f.manifest(ctx, n, c)
	if err != nil {
		return nil, err
	}
	if block >= uint64(len(m.Chunks)) {
		return nil, fault.New(fault.DataLoss, "manifest %s: is shorter than the file", c.Digest)
	}
	f.ahead(n, m, block)
	chunk := m.Chunks[block]
	bytes, err := f.cfg.Blobs.Blob(ctx, chunk.Digest)
	if err == nil && len(bytes) != int(chunk.Size) {
		err = fault.New(fault.DataLoss, "chunk %s: has %d bytes, its manifest says %d", chunk.Digest, len(bytes), chunk.Size)
	}
	return bytes, err
}

// manifest returns the manifest of a file's content, which stays with the inode.
func (f *FS) manifest(ctx context.Context, n *inode, c voltree.Content) (*cas.Manifest, error) {
	n.mu.Lock()
	m, same := n.manifest, n.content == c
	n.mu.Unlock()
	if m != nil && same {
		return m, nil
	}
	m, err := f.cfg.Blobs.Manifest(ctx, c.Digest)
	if err != nil {
		return nil, err
	}
	if err := voltree.CheckManifest(m); err != nil {
		return nil, fault.Wrap(fault.DataLoss, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.content == c {
		n.manifest = m
	}
	return m, nil
}

// ahead has chunks fetched that a reader who goes straight on is going to read.
func (f *FS) ahead(n *inode, m *cas.Manifest, block uint64) {
	n.mu.Lock()
	s := &n.reader
	switch {
	case block+1 == s.next: // again the same
		n.mu.Unlock()
		return
	case block == s.next && block > 0 || block == 0:
		s.window = min(max(2*s.window, 1), maxAhead)
	default:
		s.window, s.until = 0, 0
	}
	s.next = block + 1
	from, to := max(s.until, block+1), min(block+1+s.window, uint64(len(m.Chunks)))
	s.until = max(s.until, to)
	n.mu.Unlock()
	for i := from; i < to; i++ {
		f.cfg.Blobs.Prefetch(m.Chunks[i].Digest)
	}
}

// Read reads a file: from what has changed, else from the volume.
func (f *FS) Read(cancel <-chan struct{}, in *fuse.ReadIn, into []byte) (fuse.ReadResult, fuse.Status) {
	f.mu.RLock()
	n := f.node(in.NodeId)
	f.mu.RUnlock()
	if n == nil {
		return nil, fuse.Status(unix.ESTALE)
	}
	ctx := asker(cancel, &in.InHeader)
	for {
		filled, need, err := n.read(in.Offset, into[:min(len(into), int(in.Size))])
		if err != nil {
			return nil, fuse.ToStatus(err)
		}
		if need == nil {
			return fuse.ReadResultData(filled), fuse.OK
		}
		if err := f.fill(ctx, n, need); err != nil {
			f.complain("a file can't be read", err)
			return nil, fuse.EIO
		}
		if need.unchanged(n) {
			return fuse.ReadResultData(filled), fuse.OK
		}
	}
}

// needs is what of a read has to come from the volume.
type needs struct {
	content voltree.Content
	base    uint64
	parts   []part
	into    [][]byte
}

// read reads what is here, and returns what has to come from the volume.
func (n *inode) read(offset uint64, into []byte) (filled []byte, need *needs, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if offset >= n.size {
		return nil, nil, nil
	}
	into = into[:min(uint64(len(into)), n.size-offset)]
	defer n.rest()
	for _, p := range parts(offset, uint64(len(into))) {
		at := p.block*BlockSize + uint64(p.begin) - offset
		piece := into[at : at+uint64(p.end-p.begin)]
		if n.data.has(p.block) {
			if err := n.data.readBlock(p, piece); err != nil {
				return nil, nil, err
			}
			continue
		}
		old := n.old(p.block)
		clear(piece[min(max(old, p.begin), p.end)-p.begin:])
		if p.begin >= old {
			continue
		}
		if need == nil {
			need = &needs{content: n.content, base: n.base}
		}
		p.end = min(p.end, old)
		need.parts, need.into = append(need.parts, p), append(need.into, piece[:p.end-p.begin])
	}
	return into, need, nil
}

// unchanged says whether the volume's part of the file is what it was when it was read.
func (w *needs) unchanged(n *inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.content == w.content && n.base == w.base
}

func (f *FS) fill(ctx context.Context, n *inode, w *needs) error {
	for i, p := range w.parts {
		bytes, err := f.block(ctx, n, w.content, p.block)
		if err != nil {
			return err
		}
		if int(p.end) > len(bytes) {
			return fault.New(fault.DataLoss, "blob %s: is shorter than the file in it", w.content.Digest)
		}
		copy(w.into[i], bytes[p.begin:p.end])
	}
	return nil
}
