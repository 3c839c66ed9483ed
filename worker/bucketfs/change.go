package bucketfs

import (
	"context"
	"os"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/rclone/rclone/vfs"
	"golang.org/x/sys/unix"
)

// Open opens a file.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	at, err := n.now()
	if err != nil {
		return nil, 0, n.tree.errno("open", n.Path(nil), err)
	}
	h, number := n.tree.open(at, int(flags))
	if number != 0 {
		return nil, 0, number
	}
	return h, 0, 0
}

// Create makes a file. It is in the bucket when it is closed.
func (n *node) Create(ctx context.Context, name string, flags, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	d, number := n.dir()
	if number != 0 {
		return nil, nil, 0, number
	}
	if number := n.tree.nameable(d, name); number != 0 {
		return nil, nil, 0, number
	}
	at, err := d.Create(name, int(flags))
	if err != nil {
		return nil, nil, 0, n.tree.errno("create", path.Join(d.Path(), name), err)
	}
	h, number := n.tree.open(at, int(flags)|os.O_CREATE)
	if number != 0 {
		return nil, nil, 0, number
	}
	h.dirty = true // it is made though nothing is written
	return n.child(ctx, at, out), h, 0, 0
}

// maxKey is how long a key may be, in bytes.
const maxKey = 1024

// nameable refuses what can't be the name of an object.
func (t *tree) nameable(d *vfs.Dir, name string) syscall.Errno {
	if len(path.Join(d.Fs().Root(), d.Path(), name)) > maxKey {
		return syscall.ENAMETOOLONG
	}
	return 0
}

// Mkdir makes a folder. It is in this mount alone until there is a file in it.
func (n *node) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d, number := n.dir()
	if number != 0 {
		return nil, number
	}
	if number := n.tree.nameable(d, name); number != 0 {
		return nil, number
	}
	if _, err := d.Stat(name); err == nil {
		return nil, syscall.EEXIST
	}
	made, err := d.Mkdir(name)
	if err != nil {
		return nil, n.tree.errno("make folder", path.Join(d.Path(), name), err)
	}
	return n.child(ctx, made, out), 0
}

// Unlink removes a file.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno { return n.remove(name, false) }

// Rmdir removes a folder that is empty.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno { return n.remove(name, true) }

func (n *node) remove(name string, folder bool) syscall.Errno {
	d, number := n.dir()
	if number != 0 {
		return number
	}
	at, err := d.Stat(name)
	if err == nil && at.IsDir() != folder {
		if folder {
			return syscall.ENOTDIR
		}
		return syscall.EISDIR
	}
	if err == nil {
		err = n.tree.unlink(at)
	}
	return n.tree.errno("remove", path.Join(d.Path(), name), err)
}

// Rename copies within the bucket and removes what was copied: a folder file by file, so that what sees the bucket meanwhile sees parts of it at
// both places.
func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	d, number := n.dir()
	other, ok := parent.(*node)
	if number != 0 || !ok {
		return syscall.ENOTDIR
	}
	to, number := other.dir()
	if number != 0 {
		return number
	}
	if flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	if number := n.tree.nameable(to, newName); number != 0 {
		return number
	}
	at, err := d.Stat(name)
	if err != nil {
		return n.tree.errno("rename", path.Join(d.Path(), name), err)
	}
	if number := n.replaceable(at, to, newName, flags); number != 0 {
		return number
	}
	// What is open has to be there to be copied.
	if number := n.tree.settle(at); number != 0 {
		return number
	}
	if err := d.Rename(name, newName, to); err != nil {
		return n.tree.errno("rename", path.Join(d.Path(), name), err)
	}
	if moved, ok := at.(*vfs.Dir); ok {
		moved.ForgetAll() // what rclone knows of the files in it is where they were
	}
	return 0
}

// replaceable says whether something may take a name, and makes room for a folder.
func (n *node) replaceable(at vfs.Node, to *vfs.Dir, newName string, flags uint32) syscall.Errno {
	there, err := to.Stat(newName)
	switch {
	case err != nil:
		return 0 // there is nothing, or the copy will say why not
	case flags&unix.RENAME_NOREPLACE != 0:
		return syscall.EEXIST
	case at.IsDir() && !there.IsDir():
		return syscall.ENOTDIR
	case !at.IsDir() && there.IsDir():
		return syscall.EISDIR
	case at.IsDir():
		return n.tree.errno("replace", there.Path(), there.Remove())
	}
	return n.tree.settle(there)
}
