// Package volfs is the file system by which a container has a volume: a version's tree, read as it is needed, below what the container has
// changed.
//
// The tree of what was looked at or changed is in memory; the bytes of changed files are in files of their own on this host's disk, 4 MiB
// blocks at a time, so that a small change of a large file is small. Changes takes all that has changed at one instant, while writers go on;
// Settle has it be clean once it is stored. Nothing that a container says is ever a path or a name of this host.
package volfs

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// BlockSize is how many bytes of a file are copied for a change of one of them; a file's chunks have this size.
const BlockSize = voltree.ChunkSize

// Blobs is where bytes that have not changed come from. Implemented by worker/volume. Its methods are safe for concurrent use.
type Blobs interface {
	// Blob returns a whole, verified blob, which must not be changed. Errors: fault.NotFound, fault.DataLoss, fault.Unavailable.
	Blob(ctx context.Context, digest string) ([]byte, error)
	// Manifest returns a manifest. Errors: as Blob.
	Manifest(ctx context.Context, digest string) (*cas.Manifest, error)
	// Prefetch has a blob at hand soon, if there is room.
	Prefetch(digest string)
}

// Config says what a file system shows. Fields without a default are needed.
type Config struct {
	Upper    string // an empty folder, for the bytes of changed files
	Root     voltree.Entry
	Path     string          // of Root in the volume; "" is the volume's own root
	Missing  bool            // the volume has no Root yet
	Tree     *voltree.Reader // of the version's folders
	Blobs    Blobs
	Bytes    *Room // of changed files
	Nodes    *Room // files and folders that are made
	ReadOnly bool
	Log      *slog.Logger
}

// Room is how much there may be of something, in a file system and in all together. It is safe for concurrent use.
type Room struct {
	max   int64
	used  atomic.Int64
	above *Room
}

// NewRoom returns room for max of something, within another's; nil: within none.
func NewRoom(maximum int64, above *Room) *Room { return &Room{max: maximum, above: above} }

// take takes n, which may be negative; false, and nothing is taken, if there is no room.
func (r *Room) take(n int64) bool {
	if r == nil {
		return true
	}
	if r.used.Add(n) > r.max && n > 0 {
		r.used.Add(-n)
		return false
	}
	if !r.above.take(n) {
		r.used.Add(-n)
		return false
	}
	return true
}

// free is how much there is room for.
func (r *Room) free() int64 {
	left := r.max - r.used.Load()
	if r.above != nil {
		left = min(left, r.above.free())
	}
	return max(left, 0)
}

// FS is a file system. Its methods, those for the kernel as well, are safe for concurrent use.
type FS struct {
	fuse.RawFileSystem // answers what is not here

	cfg    Config
	seed   maphash.Seed
	server *fuse.Server
	dir    string // where it is mounted

	// The lock is that of the tree: who may have which names. Behind it come the locks of inodes, for their bytes and attributes. Whoever
	// changes bytes holds this one for reading, so that Changes is at one instant.
	mu      sync.RWMutex
	nodes   map[uint64]*inode
	links   map[uint64]*inode // files with several names, by their number in the volume
	last    uint64            // id of an inode
	epoch   uint64            // grows when another version is shown
	handles map[uint64]*listing
	listed  int // bytes in those
	files   atomic.Uint64

	changed     atomic.Uint64 // grows with every change
	rootChanged atomic.Bool   // other permissions or another owner
	spoke       atomic.Int64  // when a failed read was last logged
}

const rootNode uint64 = fuse.FUSE_ROOT_ID

// New describes a file system that is not mounted yet.
func New(cfg Config) *FS {
	f := &FS{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), cfg: cfg, seed: maphash.MakeSeed(), nodes: map[uint64]*inode{},
		links: map[uint64]*inode{}, handles: map[uint64]*listing{}, last: rootNode,
	}
	root := f.fromEntry(rootNode, &cfg.Root)
	root.ino, root.nlink, root.lookups = rootNode, 1, 1
	f.nodes[rootNode] = root
	if cfg.Missing && !cfg.ReadOnly {
		f.rootChanged.Store(true)
		f.changed.Add(1)
	}
	return f
}

// String names the file system.
func (f *FS) String() string { return "skerry-volume" }

// Changed says whether anything may have changed since the instant of the last Changes that was settled.
func (f *FS) Changed() bool { return f.changed.Load() > 0 }

// node returns an inode that the kernel knows. A lock is held.
func (f *FS) node(id uint64) *inode { return f.nodes[id] }

// name is a name in a folder.
type name struct {
	dir  *inode
	name string
}

// fact is what a folder of the version says of a name.
type fact struct {
	asked bool
	pages string // of the folder that was asked
	entry *voltree.Entry
}

// with finds what has the names and calls do with it, nil where there is nothing, with the lock held. What has to be read first is read
// without the lock.
func (f *FS) with(ctx context.Context, names []name, do func(found []*inode) fuse.Status) fuse.Status {
	facts, found := make([]fact, len(names)), make([]*inode, len(names))
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		unknown := -1
		for i, n := range names {
			if n.dir.typ != voltree.Folder {
				return fuse.ENOTDIR
			}
			var ok bool
			if found[i], ok = f.peek(n, &facts[i]); !ok {
				unknown = i
				break
			}
		}
		if unknown < 0 {
			return do(found)
		}
		n := names[unknown]
		folder := n.dir.lower
		f.mu.Unlock()
		entry, err := f.cfg.Tree.Lookup(ctx, folder, n.name)
		f.mu.Lock()
		switch {
		case err == nil:
			facts[unknown] = fact{true, folder.Pages, &entry}
		case errors.Is(err, fault.NotFound):
			facts[unknown] = fact{true, folder.Pages, nil}
		default:
			f.complain("a folder can't be read", err)
			return fuse.EIO
		}
	}
}

// peek finds what has a name, if that is known.
func (f *FS) peek(n name, known *fact) (found *inode, ok bool) {
	if b := n.dir.children[n.name]; b != nil {
		return b.node, true
	}
	if n.dir.lower.Pages == "" {
		return nil, true
	}
	if !known.asked || known.pages != n.dir.lower.Pages {
		return nil, false
	}
	if known.entry == nil {
		return nil, true
	}
	return f.instantiate(n.dir, known.entry), true
}

// complain logs what can't be read, of very much some.
func (f *FS) complain(what string, err error) {
	now := time.Now().Unix()
	if last := f.spoke.Load(); last != now && f.spoke.CompareAndSwap(last, now) {
		f.cfg.Log.Error("a volume's container gets an I/O error", "why", what, "error", err)
	}
}

// asker is the context of a request.
func asker(cancel <-chan struct{}, h *fuse.InHeader) context.Context {
	return &fuse.Context{Caller: h.Caller, Cancel: cancel}
}
