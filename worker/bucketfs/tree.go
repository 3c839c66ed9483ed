package bucketfs

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/rclone/rclone/vfs"
	"golang.org/x/sys/unix"
)

// attributesFor is how long the kernel takes attributes and names for true.
const attributesFor = time.Second

// tree is the mounted bucket.
type tree struct {
	vfs     *vfs.VFS
	cache   string        // folder of files that are open
	uploads chan struct{} // a token for each that runs
	log     *slog.Logger

	mu    sync.Mutex
	files map[vfs.Node]*file // that are open

	owed owed
}

// errno logs errors that are none of the program's.
func (t *tree) errno(doing, path string, err error) syscall.Errno {
	number, known := errno(err)
	if !known {
		t.log.Error("a bucket's file has failed", "doing", doing, "path", path, "error", err)
	}
	return number
}

// room says whether the disk of the cache takes more.
func (t *tree) room(bytes int) error {
	var at unix.Statfs_t
	if err := unix.Statfs(t.cache, &at); err != nil {
		return err
	}
	if at.Bavail*uint64(at.Bsize) < reserveBytes+uint64(bytes) { //nolint:gosec // a block has a size
		return syscall.ENOSPC
	}
	return nil
}

// node is a file or folder.
type node struct {
	fs.Inode
	tree *tree
	at   vfs.Node
}

var (
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

// of returns the node of a file or folder, the same for the same.
func (t *tree) of(at vfs.Node) *node {
	if n, ok := at.Aux(t).(*node); ok {
		return n
	}
	n := &node{tree: t, at: at}
	at.SetAux(t, n)
	return n
}

// attributes: everything belongs to root and may be used by everybody in the container.
func attributes(at vfs.Node, out *fuse.Attr) {
	const blockBytes = 512
	out.Ino, out.Size = at.Inode(), uint64(max(0, at.Size())) //nolint:gosec // not negative
	out.Blocks, out.Blksize = (out.Size+blockBytes-1)/blockBytes, 1<<20
	out.Mode, out.Nlink = syscall.S_IFREG|0o777, 1
	if at.IsDir() {
		out.Mode, out.Nlink = syscall.S_IFDIR|0o777, 2
	}
	changed := at.ModTime()
	out.SetTimes(&changed, &changed, &changed)
}

// now is what rclone has at the node's place. Where folders are renamed, it may not be what it was when the kernel looked it up.
func (n *node) now() (vfs.Node, error) { return n.tree.vfs.Stat(n.Path(nil)) }

func (n *node) dir() (*vfs.Dir, syscall.Errno) {
	at, err := n.now()
	if err != nil {
		return nil, n.tree.errno("look up", n.Path(nil), err)
	}
	d, ok := at.(*vfs.Dir)
	if !ok {
		return nil, syscall.ENOTDIR
	}
	return d, 0
}

// child enters what a folder has into the kernel's tree.
func (n *node) child(ctx context.Context, at vfs.Node, out *fuse.EntryOut) *fs.Inode {
	attributes(at, &out.Attr)
	out.SetEntryTimeout(attributesFor)
	out.SetAttrTimeout(attributesFor)
	return n.NewInode(ctx, n.tree.of(at), fs.StableAttr{Mode: out.Mode & syscall.S_IFMT, Ino: at.Inode()})
}

// Getattr returns the attributes.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	at, err := n.now()
	if err != nil {
		at = n.at // it was removed, and somebody has it open
	}
	attributes(at, &out.Attr)
	out.SetTimeout(attributesFor)
	return 0
}

// Setattr sets the size. Modes, owners and times are not kept in buckets: setting them does nothing.
func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if size > MaxFileBytes {
			return syscall.EFBIG
		}
		if number := n.truncate(h, int64(size)); number != 0 { //nolint:gosec // within MaxFileBytes
			return number
		}
	}
	return n.Getattr(ctx, h, out)
}

func (n *node) truncate(h fs.FileHandle, size int64) syscall.Errno {
	open, ok := h.(*handle)
	if !ok {
		at, err := n.now()
		if err != nil {
			return n.tree.errno("truncate", n.Path(nil), err)
		}
		made, number := n.tree.open(at, os.O_WRONLY)
		if number != 0 {
			return number
		}
		open = made
		defer func() { _ = made.Release(context.Background()) }() // what it could not upload is owed, and logged
	}
	return open.truncate(size)
}

// Lookup finds what is in a folder.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d, number := n.dir()
	if number != 0 {
		return nil, number
	}
	at, err := d.Stat(name)
	if err != nil {
		return nil, n.tree.errno("look up", d.Path()+"/"+name, err)
	}
	return n.child(ctx, at, out), 0
}

// Readdir lists a folder.
func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	d, number := n.dir()
	if number != 0 {
		return nil, number
	}
	all, err := d.ReadDirAll()
	if err != nil {
		return nil, n.tree.errno("list", d.Path(), err)
	}
	entries := make([]fuse.DirEntry, len(all))
	for i, at := range all {
		mode := uint32(syscall.S_IFREG)
		if at.IsDir() {
			mode = syscall.S_IFDIR
		}
		entries[i] = fuse.DirEntry{Name: at.Name(), Mode: mode, Ino: at.Inode()}
	}
	return fs.NewListDirStream(entries), 0
}

// Statfs has no limits to tell: a bucket has none.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const blockBytes, blocks, files = 4096, 1 << 38, 1 << 40
	out.Bsize, out.Frsize, out.NameLen = blockBytes, blockBytes, 255
	out.Blocks, out.Bfree, out.Bavail, out.Files, out.Ffree = blocks, blocks, blocks, files, files
	return 0
}
