package volfs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/voltree"
)

// GetAttr tells what something is.
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.node(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	out.SetTimeout(valid)
	f.attributes(n, &out.Attr)
	return fuse.OK
}

// SetAttr changes size, permissions, owner or times.
func (f *FS) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if f.cfg.ReadOnly {
		return fuse.EROFS
	}
	if size, ok := in.GetSize(); ok {
		if size > voltree.MaxFile {
			return fuse.Status(unix.EFBIG)
		}
		if status := f.change(cancel, &in.InHeader, nil, func(n *inode) error { return f.resize(n, size) }); status != fuse.OK {
			return status
		}
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.node(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	f.set(n, in)
	out.SetTimeout(valid)
	f.attributes(n, &out.Attr)
	return fuse.OK
}

// set changes attributes other than the size.
func (f *FS) set(n *inode, in *fuse.SetAttrIn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := false
	if mode, ok := in.GetMode(); ok {
		n.mode, changed = mode&0o7777, true
	}
	if uid, ok := in.GetUID(); ok {
		n.uid, changed = uid, true
	}
	if gid, ok := in.GetGID(); ok {
		n.gid, changed = gid, true
	}
	if changed {
		f.changes(n)
		f.rootChanged.CompareAndSwap(false, n.id == rootNode)
	}
	if mtime, ok := in.GetMTime(); ok {
		f.changes(n)
		n.mtime = mtime.UnixNano()
	}
}

// Create makes a file and opens it.
func (f *FS) Create(cancel <-chan struct{}, in *fuse.CreateIn, text string, out *fuse.CreateOut) fuse.Status {
	at, status := f.changing(in.NodeId, text)
	if status != fuse.OK {
		return status
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return f.make(asker(cancel, &in.InHeader), at, voltree.File, in.Mode, in.Owner, &out.EntryOut, func(n *inode) { n.opens++ })
}

// Open opens a file.
func (f *FS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	writes := in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY
	if writes && f.cfg.ReadOnly {
		return fuse.EROFS
	}
	if in.Flags&syscall.O_TRUNC != 0 && writes {
		if status := f.change(cancel, &in.InHeader, nil, func(n *inode) error { return f.resize(n, 0) }); status != fuse.OK {
			return status
		}
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.node(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	if n.typ != voltree.File {
		return fuse.EINVAL
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opens++
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// Release hears that a file is closed.
func (f *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if n := f.node(in.NodeId); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.opens--
		n.rest()
	}
}

// Flush has nothing to write, and the kernel need not say so again.
func (f *FS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Fsync has nothing to write: what makes bytes last is a commit.
func (f *FS) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.ENOSYS }

// Fallocate has a file be at least so long.
func (f *FS) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	switch {
	case f.cfg.ReadOnly:
		return fuse.EROFS
	case in.Mode != 0:
		return fuse.Status(unix.EOPNOTSUPP)
	case in.Offset > voltree.MaxFile || in.Length > voltree.MaxFile-in.Offset:
		return fuse.Status(unix.EFBIG)
	case int64(in.Length) > f.cfg.Bytes.free(): //nolint:gosec // at most MaxFile
		return fuse.Status(unix.ENOSPC)
	}
	return f.change(cancel, &in.InHeader, nil, func(n *inode) error {
		return f.resize(n, max(n.size, in.Offset+in.Length))
	})
}

// StatFs tells how much may be written until the next commit.
func (f *FS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	free := f.cfg.Bytes.free()
	var disk unix.Statfs_t
	if unix.Statfs(f.cfg.Upper, &disk) == nil {
		free = min(free, int64(disk.Bavail)*disk.Bsize) //nolint:gosec // no disk has more
	}
	out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, voltree.MaxName
	out.Blocks = uint64(f.cfg.Bytes.max) / pageSize                            //nolint:gosec // not negative
	out.Bfree, out.Bavail = uint64(free)/pageSize, uint64(free)/pageSize       //nolint:gosec // not negative
	out.Files, out.Ffree = uint64(f.cfg.Nodes.max), uint64(f.cfg.Nodes.free()) //nolint:gosec // not negative
	return fuse.OK
}
