package volfs

import (
	"context"
	"encoding/binary"
	"unicode/utf8"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// folder returns a folder that the kernel knows, and checks a name in it.
func (f *FS) folder(id uint64, text string) (name, fuse.Status) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	dir := f.node(id)
	switch {
	case dir == nil:
		return name{}, fuse.Status(unix.ESTALE)
	case len(text) > voltree.MaxName:
		return name{}, fuse.Status(unix.ENAMETOOLONG)
	case !utf8.ValidString(text):
		return name{}, fuse.Status(unix.EILSEQ)
	}
	return name{dir, text}, fuse.OK
}

// changing is folder for what is to be changed.
func (f *FS) changing(id uint64, text string) (name, fuse.Status) {
	if f.cfg.ReadOnly {
		return name{}, fuse.EROFS
	}
	return f.folder(id, text)
}

// maxSubPath is the longest path of a part of a volume that is mounted by itself, in bytes, and maxSubDepth how many names it has at most.
const maxSubPath, maxSubDepth = 1024, 128

// fits says whether a name may be in its folder, with paths of some length and depth below it: what is too deep has no path in the volume.
// A lock is held.
func (n name) fits(length, depth int) fuse.Status {
	if n.dir.nlink == 0 {
		return fuse.ENOENT // the folder was removed
	}
	length, depth = length+len(n.name), depth+1
	for d := n.dir; d != nil && d.id != rootNode; d = d.parent {
		length, depth = length+1+len(d.name), depth+1
	}
	if length > voltree.MaxPath-maxSubPath || depth > voltree.MaxDepth-maxSubDepth {
		return fuse.Status(unix.ENAMETOOLONG)
	}
	return fuse.OK
}

// Lookup finds a name.
func (f *FS) Lookup(cancel <-chan struct{}, in *fuse.InHeader, text string, out *fuse.EntryOut) fuse.Status {
	at, status := f.folder(in.NodeId, text)
	if status != fuse.OK {
		return status
	}
	return f.with(asker(cancel, in), []name{at}, func(found []*inode) fuse.Status {
		if found[0] == nil {
			return fuse.ENOENT
		}
		f.tell(found[0], out)
		return fuse.OK
	})
}

// make makes something that has a name.
func (f *FS) make(ctx context.Context, at name, typ voltree.Type, mode uint32, owner fuse.Owner, out *fuse.EntryOut, set func(n *inode)) fuse.Status {
	return f.with(ctx, []name{at}, func(found []*inode) fuse.Status {
		if found[0] != nil {
			return fuse.Status(unix.EEXIST)
		}
		if status := at.fits(0, 0); status != fuse.OK {
			return status
		}
		n, ok := f.newNode(typ, mode, owner)
		if !ok {
			return fuse.Status(unix.ENOSPC)
		}
		// A folder with the set-group-id bit gives its group on.
		if at.dir.mode&unix.S_ISGID != 0 {
			n.gid = at.dir.gid
			if typ == voltree.Folder {
				n.mode |= unix.S_ISGID
			}
		}
		if set != nil {
			set(n)
		}
		f.bind(at, n)
		f.tell(n, out)
		return fuse.OK
	})
}

// Mknod makes a file, a FIFO or a socket.
func (f *FS) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, text string, out *fuse.EntryOut) fuse.Status {
	at, status := f.changing(in.NodeId, text)
	if status != fuse.OK {
		return status
	}
	for typ, kind := range kinds {
		if kind == in.Mode&unix.S_IFMT && typ != voltree.Folder && typ != voltree.Symlink {
			return f.make(asker(cancel, &in.InHeader), at, typ, in.Mode, in.Owner, out, nil)
		}
	}
	return fuse.EPERM // devices
}

// Mkdir makes a folder.
func (f *FS) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, text string, out *fuse.EntryOut) fuse.Status {
	at, status := f.changing(in.NodeId, text)
	if status != fuse.OK {
		return status
	}
	return f.make(asker(cancel, &in.InHeader), at, voltree.Folder, in.Mode, in.Owner, out, nil)
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, text string, out *fuse.EntryOut) fuse.Status {
	at, status := f.changing(in.NodeId, text)
	switch {
	case status != fuse.OK:
		return status
	case target == "":
		return fuse.ENOENT
	case len(target) > voltree.MaxTarget:
		return fuse.Status(unix.ENAMETOOLONG)
	case !utf8.ValidString(target):
		return fuse.Status(unix.EILSEQ)
	}
	return f.make(asker(cancel, in), at, voltree.Symlink, 0o777, in.Owner, out, func(n *inode) { n.target = target })
}

// Readlink tells where a symbolic link leads.
func (f *FS) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := f.node(in.NodeId)
	if n == nil || n.typ != voltree.Symlink {
		return nil, fuse.EINVAL
	}
	return []byte(n.target), fuse.OK
}

// Link gives a file one more name.
func (f *FS) Link(cancel <-chan struct{}, in *fuse.LinkIn, text string, out *fuse.EntryOut) fuse.Status {
	at, status := f.changing(in.NodeId, text)
	if status != fuse.OK {
		return status
	}
	return f.with(asker(cancel, &in.InHeader), []name{at}, func(found []*inode) fuse.Status {
		n := f.node(in.Oldnodeid)
		switch {
		case n == nil || n.nlink == 0:
			return fuse.ENOENT
		case n.typ != voltree.File:
			return fuse.EPERM // the volume has no others with several names
		case found[0] != nil:
			return fuse.Status(unix.EEXIST)
		case n.nlink >= maxLinks:
			return fuse.Status(unix.EMLINK)
		}
		if status := at.fits(0, 0); status != fuse.OK {
			return status
		}
		if n.link == 0 {
			n.link, n.all = newLink(), true
			f.links[n.link] = n
		}
		n.nlink++
		n.mu.Lock()
		f.changes(n) // so that all its names are put with the number
		n.mu.Unlock()
		f.bind(at, n)
		f.tell(n, out)
		return fuse.OK
	})
}

// maxLinks is how many names a file may have.
const maxLinks = 32000

// newLink chooses a number for a file that has several names.
func newLink() uint64 {
	return max(binary.BigEndian.Uint64([]byte(ident.Random(8))), 1)
}

// Unlink takes a name from what is no folder.
func (f *FS) Unlink(cancel <-chan struct{}, in *fuse.InHeader, text string) fuse.Status {
	at, status := f.changing(in.NodeId, text)
	if status != fuse.OK {
		return status
	}
	return f.with(asker(cancel, in), []name{at}, func(found []*inode) fuse.Status {
		switch {
		case found[0] == nil:
			return fuse.ENOENT
		case found[0].typ == voltree.Folder:
			return fuse.Status(unix.EISDIR)
		}
		f.bind(at, nil)
		f.unlinked(found[0])
		return fuse.OK
	})
}

// Rmdir removes an empty folder.
func (f *FS) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, text string) fuse.Status {
	at, status := f.changing(in.NodeId, text)
	if status != fuse.OK {
		return status
	}
	ctx := asker(cancel, in)
	var known *inventory
	for {
		status := f.with(ctx, []name{at}, func(found []*inode) fuse.Status {
			switch {
			case found[0] == nil:
				return fuse.ENOENT
			case found[0].typ != voltree.Folder:
				return fuse.ENOTDIR
			}
			if status := f.empty(found[0], &known); status != fuse.OK {
				return status
			}
			f.bind(at, nil)
			f.unlinked(found[0])
			return fuse.OK
		})
		if status != again {
			return status
		}
		if status := f.take(ctx, known); status != fuse.OK {
			return status
		}
	}
}

// Rename moves something, in place of what has the name.
func (f *FS) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	source, status := f.changing(in.NodeId, from)
	if status != fuse.OK {
		return status
	}
	target, status := f.changing(in.Newdir, to)
	if status != fuse.OK {
		return status
	}
	if in.Flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 {
		return fuse.EINVAL
	}
	ctx := asker(cancel, &in.InHeader)
	var known *inventory
	for {
		status := f.with(ctx, []name{source, target}, func(found []*inode) fuse.Status {
			return f.rename(source, target, found[0], found[1], in.Flags, &known)
		})
		if status != again {
			return status
		}
		if status := f.take(ctx, known); status != fuse.OK {
			return status
		}
	}
}

func (f *FS) rename(source, target name, n, other *inode, flags uint32, known **inventory) fuse.Status {
	switch {
	case n == nil:
		return fuse.ENOENT
	case flags&unix.RENAME_EXCHANGE != 0 && other == nil:
		return fuse.ENOENT
	case flags&unix.RENAME_NOREPLACE != 0 && other != nil:
		return fuse.Status(unix.EEXIST)
	case n == other:
		return fuse.OK
	case n.contains(target.dir) || other != nil && other.contains(source.dir) && flags&unix.RENAME_EXCHANGE != 0:
		return fuse.EINVAL
	}
	if status := target.takes(n); status != fuse.OK {
		return status
	}
	if flags&unix.RENAME_EXCHANGE != 0 {
		if status := source.takes(other); status != fuse.OK {
			return status
		}
		f.move(target, n)
		f.move(source, other)
		return fuse.OK
	}
	if other != nil {
		switch {
		case n.typ == voltree.Folder && other.typ != voltree.Folder:
			return fuse.ENOTDIR
		case n.typ != voltree.Folder && other.typ == voltree.Folder:
			return fuse.Status(unix.EISDIR)
		case other.typ == voltree.Folder:
			if status := f.empty(other, known); status != fuse.OK {
				return status
			}
		}
	}
	f.bind(source, nil)
	f.move(target, n)
	if other != nil {
		f.unlinked(other)
	}
	return fuse.OK
}

// move gives what has a name already another one.
func (f *FS) move(to name, n *inode) {
	n.mu.Lock()
	f.changes(n)
	n.mu.Unlock()
	f.bind(to, n)
}

// contains says whether a folder is n, or is somewhere in it.
func (n *inode) contains(dir *inode) bool {
	for d := dir; d != nil; d = d.parent {
		if d == n {
			return true
		}
	}
	return false
}

// takes says whether something with what is known to be in it may have the name.
func (n name) takes(node *inode) fuse.Status {
	length, depth := node.extent()
	if length > 0 {
		length++
	}
	return n.fits(length, depth)
}

// extent is the length of the longest path in a folder, and how many names are in one another.
func (n *inode) extent() (length, depth int) {
	for text, b := range n.children {
		if b.node == nil {
			continue
		}
		l, d := b.node.extent()
		if l > 0 {
			l++
		}
		length, depth = max(length, l+len(text)), max(depth, d+1)
	}
	return length, max(depth, int(n.lower.Totals.Depth))
}
