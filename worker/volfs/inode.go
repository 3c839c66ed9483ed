package volfs

import (
	"hash/maphash"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// valid is how long the kernel may believe what it was told: nothing changes but through it, or it is told.
const valid = time.Hour

// inode is a file, a folder or something else that was looked at or made.
type inode struct {
	id  uint64 // by which the kernel knows it, never used again
	ino uint64 // that is shown
	typ voltree.Type

	// These are guarded by FS.mu.
	parent  *inode // of a folder, or of what came from the version; nil: it is in none any more
	name    string
	lookups uint64 // of the kernel
	nlink   uint32
	link    uint64 // its number in the volume, where it has several names
	made    bool   // it takes room
	all     bool   // nlink is how many names it has: none is in the version alone
	// Of a folder:
	lower    voltree.Entry       // what the version has; no Pages: nothing
	children map[string]*binding // names that were looked at, or that are not as in lower

	mu     sync.Mutex // guards what follows
	gen    uint64     // grows with every change of it
	mode   uint32
	uid    uint32
	gid    uint32
	mtime  int64 // nanoseconds
	ctime  int64
	target string
	size   uint64
	// What the volume has of a file's bytes: the first so many of them count, where no block of data is in their place.
	content  voltree.Content
	base     uint64
	manifest *cas.Manifest // of content, once it was read
	reader   sequence
	data     *data // nil: nothing has changed
	opens    int
}

// binding is what has a name in a folder, and what the volume has there.
type binding struct {
	node *inode // nil: nothing
	// fromLower says that the folder's lower has the same.
	fromLower bool
	// stored says that the volume has something there: the inode with the number, as it was at a generation.
	stored     bool
	storedID   uint64
	storedGen  uint64
	storedType voltree.Type
}

// clean says whether the volume has what is there.
func (b *binding) clean() bool {
	if b.node == nil {
		return !b.stored
	}
	return b.stored && b.storedID == b.node.id && b.storedGen == b.node.gen
}

// fromEntry makes an inode of what a version has.
func (f *FS) fromEntry(id uint64, e *voltree.Entry) *inode {
	n := &inode{
		id: id, typ: e.Type, mode: e.Mode, uid: e.UID, gid: e.GID, mtime: e.Modified, ctime: e.Modified, target: e.Target,
		size: e.Size, content: e.Content, base: e.Size, link: e.Inode,
	}
	if e.Type == voltree.Folder {
		n.children = map[string]*binding{}
		n.lower = *e
	}
	return n
}

// instantiate makes an inode of a name in a folder's lower. The lock is held.
func (f *FS) instantiate(dir *inode, e *voltree.Entry) *inode {
	b := &binding{fromLower: true, stored: true, storedType: e.Type}
	n := f.links[e.Inode]
	if e.Inode != 0 && n != nil && (n.gen > 0 || n.content == e.Content && n.size == e.Size) {
		n.nlink++
	} else {
		f.last++
		n = f.fromEntry(f.last, e)
		n.ino, n.nlink = f.number(dir, e), 1
		if e.Inode != 0 {
			f.links[e.Inode] = n
		}
	}
	if n.parent == nil {
		n.parent, n.name = dir, e.Name
	}
	b.node, b.storedID = n, n.id
	dir.children[e.Name] = b
	f.nodes[n.id] = n
	return n
}

// number is the inode number of what a version has in a folder. It is the same when it is looked at again, and another's when another version
// is shown.
func (f *FS) number(dir *inode, e *voltree.Entry) uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	if e.Inode != 0 {
		maphash.WriteComparable(&h, [2]uint64{f.epoch, e.Inode})
	} else {
		maphash.WriteComparable(&h, [2]uint64{f.epoch, dir.ino})
		_, _ = h.WriteString(e.Name) // it can't fail
	}
	return max(h.Sum64(), 2)
}

// newNode makes an inode that the volume does not have. The lock is held. False: there is no room.
func (f *FS) newNode(typ voltree.Type, mode uint32, owner fuse.Owner) (*inode, bool) {
	if !f.cfg.Nodes.take(1) {
		return nil, false
	}
	f.last++
	now := time.Now().UnixNano()
	n := &inode{id: f.last, typ: typ, mode: mode & 0o7777, uid: owner.Uid, gid: owner.Gid, mtime: now, ctime: now, gen: 1, nlink: 1, made: true, all: true}
	var h maphash.Hash
	h.SetSeed(f.seed)
	maphash.WriteComparable(&h, n.id)
	n.ino = max(h.Sum64(), 2)
	if typ == voltree.Folder {
		n.children = map[string]*binding{}
	}
	f.nodes[n.id] = n
	return n, true
}

// bind has an inode have a name, or with nil nothing. The lock is held.
func (f *FS) bind(at name, n *inode) {
	b := at.dir.children[at.name]
	if b == nil {
		b = &binding{}
		at.dir.children[at.name] = b
	}
	b.node, b.fromLower = n, false
	if n != nil {
		n.parent, n.name = at.dir, at.name
	} else if !b.stored && at.dir.lower.Pages == "" {
		delete(at.dir.children, at.name)
	}
	f.touch(at.dir)
}

// touch notes that a folder has other entries. The lock is held.
func (f *FS) touch(dir *inode) {
	dir.mu.Lock()
	defer dir.mu.Unlock()
	f.changes(dir)
	dir.mtime = dir.ctime
}

// changes notes a change of an inode, whose lock is held.
func (f *FS) changes(n *inode) {
	n.gen++
	n.ctime = time.Now().UnixNano()
	f.changed.Add(1)
}

// unlinked takes a name from an inode. The lock is held.
func (f *FS) unlinked(n *inode) {
	n.mu.Lock()
	n.nlink--
	f.changes(n)
	n.mu.Unlock()
	if n.nlink == 0 {
		n.parent = nil
	}
	f.drop(n)
}

// Forget hears that the kernel has forgotten an inode.
func (f *FS) Forget(id, times uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[id]
	if n == nil {
		return
	}
	n.lookups -= min(times, n.lookups)
	f.drop(n)
}

// drop forgets an inode if nothing needs it. The lock is held.
func (f *FS) drop(n *inode) {
	for n != nil && n.id != rootNode && n.lookups == 0 {
		if n.nlink == 0 {
			f.gone(n)
			return
		}
		dir := n.parent
		if len(n.children) > 0 || n.link != 0 || dir == nil {
			return
		}
		b := dir.children[n.name]
		if b == nil || b.node != n || !b.fromLower || !b.clean() {
			return
		}
		delete(dir.children, n.name)
		delete(f.nodes, n.id)
		n = dir
	}
}

// gone ends an inode that has no name and that nobody knows. The lock is held.
func (f *FS) gone(n *inode) {
	if f.nodes[n.id] != n {
		return
	}
	delete(f.nodes, n.id)
	if n.link != 0 && f.links[n.link] == n {
		delete(f.links, n.link)
	}
	if n.made {
		f.cfg.Nodes.take(-1)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	f.discard(n)
}

// attributes tells what an inode is. The lock of the tree is held.
func (f *FS) attributes(n *inode, out *fuse.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out.Ino, out.Size, out.Blksize = n.ino, n.size, 4096
	out.Mode, out.Nlink = kinds[n.typ]|n.mode, n.nlink
	out.Uid, out.Gid = n.uid, n.gid
	switch n.typ {
	case voltree.Folder:
		out.Nlink, out.Size = 2, 4096
		if n.parent == nil && n.id != rootNode {
			out.Nlink = 0
		}
	case voltree.Symlink:
		out.Size = uint64(len(n.target))
	case voltree.File:
		if n.link != 0 && !n.all && n.nlink == 1 {
			out.Nlink = 2 // the other is in a folder that nobody has looked at, or was
		}
	case voltree.FIFO, voltree.Socket:
	}
	out.Blocks = (out.Size + 511) / 512
	out.Mtime, out.Mtimensec = seconds(n.mtime)
	out.Ctime, out.Ctimensec = seconds(n.ctime)
	out.Atime, out.Atimensec = out.Mtime, out.Mtimensec
}

func seconds(nano int64) (sec uint64, nsec uint32) {
	t := time.Unix(0, nano)
	return uint64(t.Unix()), uint32(t.Nanosecond()) //nolint:gosec // before 1970 the kernel takes it as negative
}

// kinds are the types in the kernel's terms.
var kinds = map[voltree.Type]uint32{
	voltree.File: syscall.S_IFREG, voltree.Folder: syscall.S_IFDIR, voltree.Symlink: syscall.S_IFLNK, voltree.FIFO: syscall.S_IFIFO,
	voltree.Socket: syscall.S_IFSOCK,
}

// tell answers with an inode, which the kernel knows from now on. The lock is held.
func (f *FS) tell(n *inode, out *fuse.EntryOut) {
	n.lookups++
	out.NodeId, out.Generation = n.id, 1
	out.SetEntryTimeout(valid)
	out.SetAttrTimeout(valid)
	f.attributes(n, &out.Attr)
}
