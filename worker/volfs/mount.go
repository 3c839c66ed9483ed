package volfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/voltree"
)

// maxRequest is the most bytes that the kernel reads or writes at a time.
const maxRequest = 1 << 20

// Mount mounts the file system in a folder of this host. What mounts it must not use it: a process that is killed while it waits for itself
// never ends.
func (f *FS) Mount(dir string) error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/fuse: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if f.cfg.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,max_read=%d,allow_other", fd, os.Geteuid(), os.Getegid(), maxRequest)
	if err := unix.Mount("skerry-volume", dir, "fuse.skerry", flags, options); err != nil {
		return errors.Join(fmt.Errorf("mount: %w", err), unix.Close(fd))
	}
	server, err := fuse.NewServer(f, fmt.Sprintf("/dev/fd/%d", fd), &fuse.MountOptions{
		FsName: "skerry-volume", Name: "skerry", MaxBackground: 64, MaxWrite: maxRequest, DisableXAttrs: true, DisableReadDirPlus: true,
		ExplicitDataCacheControl: true,
		// What it says is of calls that this file system has not.
		Logger: slog.NewLogLogger(f.cfg.Log.Handler(), slog.LevelDebug),
	})
	if err != nil {
		return errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH), unix.Close(fd))
	}
	f.server, f.dir = server, dir
	go server.Serve() // it ends with the mount
	if err := readAhead(dir); err != nil {
		f.cfg.Log.Warn("the kernel reads volumes in small pieces, which is slow", "error", err)
	}
	return nil
}

// readAhead has the kernel ask for large pieces, which a file system of FUSE can't ask for itself.
func readAhead(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == dir {
			return os.WriteFile(fmt.Sprintf("/sys/class/bdi/%s/read_ahead_kb", fields[2]), []byte("1024"), 0)
		}
	}
	return fmt.Errorf("%s: is not mounted", dir)
}

// endGrace is how long the kernel may take to let go of a mount that nobody uses.
const endGrace = 5 * time.Second

// Unmount takes the mount down, and removes its folder. Whoever still has something of it open gets errors, at the latest after Close.
func (f *FS) Unmount() error {
	err := unix.Unmount(f.dir, 0)
	idle := err == nil
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(f.dir, unix.MNT_DETACH)
	}
	if err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	// Sandboxes began with copies of the mount in namespaces of their own, which go with the folder.
	if err := os.Remove(f.dir); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	if !idle {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		f.server.Wait()
		close(ended)
	}()
	t := time.NewTimer(endGrace)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	}
	return nil
}

// Close gives back the room that the file system has taken. It is not mounted any more.
func (f *FS) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if n.made {
			f.cfg.Nodes.take(-1)
		}
		n.mu.Lock()
		f.discard(n)
		n.mu.Unlock()
	}
	f.nodes = map[uint64]*inode{}
}

// Show shows another version, below the same root. False: something has changed that is not stored. What somebody still has open of the
// version before goes on as it was.
func (f *FS) Show(root voltree.Entry) bool {
	names, ok := f.show(root)
	for _, name := range names {
		f.server.EntryNotify(rootNode, name) // ENOENT: the kernel does not know it any more
	}
	f.server.InodeNotify(rootNode, 0, 0)
	return ok
}

func (f *FS) show(root voltree.Entry) (names []string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed.Load() > 0 {
		return nil, false
	}
	f.epoch++
	top := f.nodes[rootNode]
	for name := range top.children {
		names = append(names, name)
	}
	top.children, top.lower = map[string]*binding{}, root
	top.mu.Lock()
	top.mode, top.uid, top.gid, top.mtime, top.ctime = root.Mode, root.UID, root.GID, root.Modified, root.Modified
	top.mu.Unlock()
	f.links = map[uint64]*inode{}
	for id, n := range f.nodes {
		if id == rootNode {
			continue
		}
		n.parent, n.nlink = nil, 0
		if n.lookups == 0 {
			f.gone(n)
		}
	}
	return names, true
}

// Stored says that the version is what this file system shows, but for what has changed since. So what nobody uses need not be kept in
// memory. What can't be read of the version stays.
func (f *FS) Stored(ctx context.Context, root voltree.Entry) {
	f.mu.RLock()
	top := f.nodes[rootNode]
	f.mu.RUnlock()
	f.adopt(ctx, top, root)
}

// adopt has a folder be what the version has of it, and the folders in it.
func (f *FS) adopt(ctx context.Context, dir *inode, folder voltree.Entry) {
	for _, below := range f.rebase(dir, folder) {
		if e, err := f.cfg.Tree.Lookup(ctx, folder, below.name); err == nil && e.Type == voltree.Folder {
			f.adopt(ctx, below.node, e)
		}
	}
}

// rebase is adopt for one folder; it returns the folders in it that the volume has.
func (f *FS) rebase(dir *inode, folder voltree.Entry) (below []mark) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if dir.nlink == 0 {
		return nil
	}
	dir.lower = folder
	for name, b := range dir.children {
		n := b.node
		switch {
		case n == nil && !b.stored:
			delete(dir.children, name)
		case n == nil || !b.stored || b.storedID != n.id:
		case n.typ == voltree.Folder:
			below = append(below, mark{name: name, node: n})
			b.fromLower = b.clean()
		case b.clean():
			b.fromLower = true
		}
		if b.fromLower {
			f.settled(dir, name, n)
		}
	}
	return below
}

// settled has an inode be one that came from the version. The lock is held.
func (f *FS) settled(dir *inode, name string, n *inode) {
	if n.made {
		n.made = false
		f.cfg.Nodes.take(-1)
	}
	n.parent, n.name = dir, name
	f.drop(n)
}
