package volfs

import (
	"context"
	"sort"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/voltree"
)

// maxListed is how many bytes of names open folders of one file system may hold.
const maxListed = 256 << 20

// again says that something has to be read first.
const again = fuse.Status(-1)

// inventory are the names that the version has in a folder.
type inventory struct {
	folder voltree.Entry
	taken  bool
	names  []string
}

// empty says whether a folder is, or again where known is not of that folder. The lock is held.
func (f *FS) empty(dir *inode, known **inventory) fuse.Status {
	for _, b := range dir.children {
		if b.node != nil {
			return fuse.Status(unix.ENOTEMPTY)
		}
	}
	if dir.lower.Pages == "" {
		return fuse.OK
	}
	if *known == nil || (*known).folder.Pages != dir.lower.Pages || !(*known).taken {
		*known = &inventory{folder: dir.lower}
		return again
	}
	for _, name := range (*known).names {
		if dir.children[name] == nil {
			return fuse.Status(unix.ENOTEMPTY)
		}
	}
	return fuse.OK
}

// take reads an inventory, without the lock.
func (f *FS) take(ctx context.Context, known *inventory) fuse.Status {
	for e, err := range f.cfg.Tree.Entries(ctx, known.folder, "") {
		if err != nil {
			f.complain("a folder can't be read", err)
			return fuse.EIO
		}
		known.names = append(known.names, e.Name)
	}
	known.taken = true
	return fuse.OK
}

// listing is an open folder.
type listing struct {
	dir     *inode
	entries []listed // as they were when it was read from its beginning
	size    int      // bytes of names
}

type listed struct {
	name string
	ino  uint64
	mode uint32
}

// listedBytes is what an entry takes beside its name.
const listedBytes = 48

// OpenDir opens a folder.
func (f *FS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.node(in.NodeId)
	if n == nil || n.typ != voltree.Folder {
		return fuse.ENOTDIR
	}
	f.last++
	out.Fh = f.last
	f.handles[out.Fh] = &listing{dir: n}
	return fuse.OK
}

// ReadDir lists a folder as it was when the reader began.
func (f *FS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.mu.RLock()
	l := f.handles[in.Fh]
	f.mu.RUnlock()
	if l == nil {
		return fuse.Status(unix.EBADF)
	}
	if in.Offset == 0 {
		if status := f.list(asker(cancel, &in.InHeader), l); status != fuse.OK {
			return status
		}
	}
	f.mu.RLock()
	entries := l.entries
	f.mu.RUnlock()
	for i := in.Offset; i < uint64(len(entries)); i++ {
		e := &entries[i]
		if !out.AddDirEntry(fuse.DirEntry{Name: e.name, Ino: e.ino, Mode: e.mode, Off: i + 1}) {
			break
		}
	}
	return fuse.OK
}

// list takes the entries of a folder.
func (f *FS) list(ctx context.Context, l *listing) fuse.Status {
	for {
		f.mu.RLock()
		folder := l.dir.lower
		f.mu.RUnlock()
		var lower []voltree.Entry
		if folder.Pages != "" {
			for e, err := range f.cfg.Tree.Entries(ctx, folder, "") {
				if err != nil {
					f.complain("a folder can't be read", err)
					return fuse.EIO
				}
				lower = append(lower, e)
			}
		}
		if status := f.listWith(l, folder, lower); status != again {
			return status
		}
	}
}

func (f *FS) listWith(l *listing, folder voltree.Entry, lower []voltree.Entry) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := l.dir
	if dir.lower.Pages != folder.Pages {
		return again
	}
	up := dir
	if dir.parent != nil {
		up = dir.parent
	}
	entries := make([]listed, 0, 2+len(lower)+len(dir.children))
	entries = append(entries, listed{".", dir.ino, unix.S_IFDIR}, listed{"..", up.ino, unix.S_IFDIR})
	size := 0
	for i := range lower {
		e := &lower[i]
		if dir.children[e.Name] == nil {
			entries = append(entries, listed{e.Name, f.number(dir, e), kinds[e.Type]})
			size += listedBytes + len(e.Name)
		}
	}
	for name, b := range dir.children {
		if b.node != nil {
			entries = append(entries, listed{name, b.node.ino, kinds[b.node.typ]})
			size += listedBytes + len(name)
		}
	}
	if f.listed-l.size+size > maxListed {
		return fuse.Status(unix.ENOMEM)
	}
	sort.Slice(entries[2:], func(i, j int) bool { return entries[2+i].name < entries[2+j].name })
	f.listed += size - l.size
	l.entries, l.size = entries, size
	return fuse.OK
}

// ReleaseDir closes a folder.
func (f *FS) ReleaseDir(in *fuse.ReleaseIn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.handles[in.Fh]; l != nil {
		f.listed -= l.size
		delete(f.handles, in.Fh)
	}
}

// FsyncDir has nothing to write.
func (f *FS) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.ENOSYS }
