package lazyfs

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/skerry-dev/skerry/internal/cas"
)

// fileName is the file in every mount.
const fileName = "root.erofs"

// The nodes of a mount. Nothing that the kernel remembers of one depends on the process that serves it, so that another can go on.
const (
	rootNode uint64 = fuse.FUSE_ROOT_ID
	fileNode uint64 = 2
)

// unchanging is how long the kernel may believe what it was told; images never change.
const unchanging = time.Hour

// interruptedPatience is how long a read goes on when its reader got a signal. It can't end at once with EINTR: the reader may be in a page
// fault, where that would be SIGBUS, and runtimes send themselves signals all the time. It has to end before a killed sandbox that waits
// for its read, and can't die before, is given up.
const interruptedPatience = 15 * time.Second

// maxLines is how many failed reads of an image are logged in one second.
const maxLines = 16

// file is an image whose contents are fetched as they are read: a file system with that one file.
type file struct {
	fuse.RawFileSystem // answers what is not below

	image    string // its manifest's digest
	manifest *cas.Manifest
	local    map[int][]byte // the chunks of metadata
	chunks   *Chunks
	ahead    *ahead
	opens    *opens
	log      *slog.Logger

	mu    sync.Mutex
	spoke time.Time // the begin of the second in which failed reads were last logged
	lines int       // how many in it
}

// StatFs tells nothing, and that is no error.
func (f *file) StatFs(<-chan struct{}, *fuse.InHeader, *fuse.StatfsOut) fuse.Status { return fuse.OK }

// Lookup finds the file.
func (f *file) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if in.NodeId != rootNode || name != fileName {
		return fuse.ENOENT
	}
	out.NodeId = fileNode
	out.SetEntryTimeout(unchanging)
	out.SetAttrTimeout(unchanging)
	return f.attributes(fileNode, &out.Attr)
}

// GetAttr tells size and permissions.
func (f *file) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(unchanging)
	return f.attributes(in.NodeId, &out.Attr)
}

func (f *file) attributes(node uint64, out *fuse.Attr) fuse.Status {
	out.Ino, out.Nlink, out.Blksize = node, 1, 4096
	switch node {
	case rootNode:
		out.Mode = fuse.S_IFDIR | 0o555
	case fileNode:
		out.Mode, out.Size = fuse.S_IFREG|0o444, f.manifest.Size
		out.Blocks = (f.manifest.Size + 511) / 512
	default:
		return fuse.ENOENT
	}
	return fuse.OK
}

// OpenDir opens the folder.
func (f *file) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

// ReadDir lists the file.
func (f *file) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if in.Offset == 0 {
		out.AddDirEntry(fuse.DirEntry{Name: fileName, Ino: fileNode, Mode: fuse.S_IFREG})
	}
	return fuse.OK
}

// Open lets the kernel keep what it has read before.
func (f *file) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return fuse.EROFS
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	f.opens.add()
	return fuse.OK
}

// Release hears that the last descriptor of an Open, and the last mapping of it, has gone.
func (f *file) Release(<-chan struct{}, *fuse.ReleaseIn) { f.opens.remove() }

// Flush has nothing to write.
func (f *file) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Read reads from the chunks at an offset. What can't be had, or is not what it should be, is EIO.
func (f *file) Read(cancel <-chan struct{}, in *fuse.ReadIn, dest []byte) (fuse.ReadResult, fuse.Status) {
	ctx := &fuse.Context{Caller: in.Caller, Cancel: cancel}
	at := in.Offset
	if at >= f.manifest.Size {
		return fuse.ReadResultData(nil), fuse.OK
	}
	dest = dest[:min(uint64(len(dest)), uint64(in.Size), f.manifest.Size-at)]
	for rest := dest; len(rest) > 0; {
		index, start := f.manifest.At(at)
		data, err := f.chunk(ctx, index)
		if err != nil {
			f.complain(err, f.manifest.Chunks[index].Digest, at)
			return nil, fuse.EIO
		}
		data = data[at-start:]
		if len(rest) == len(dest) && len(data) >= len(dest) {
			return fuse.ReadResultData(data[:len(dest)]), fuse.OK // all of it is in one chunk
		}
		n := copy(rest, data)
		rest, at = rest[n:], at+uint64(n) //nolint:gosec // not negative
	}
	return fuse.ReadResultData(dest), fuse.OK
}

// chunk returns the bytes of one chunk.
func (f *file) chunk(ctx context.Context, index int) ([]byte, error) {
	if data := f.local[index]; data != nil {
		return data, nil
	}
	f.ahead.reads(index)
	return f.chunks.get(ctx, f.manifest.Chunks[index], interruptedPatience)
}

// complain logs a failed read, of very many a few a second.
func (f *file) complain(err error, chunk string, offset uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.spoke) >= time.Second {
		f.spoke, f.lines = now, 0
	}
	if f.lines++; f.lines > maxLines {
		return
	}
	f.log.Error("read of an image failed: the container gets an I/O error", "image", f.image, "offset", offset, "chunk", chunk, "error", err)
}

// opens counts the open files of a mount. It is safe for concurrent use.
type opens struct {
	mu      sync.Mutex
	open    int
	unknown bool   // others are open, of which the process that went before knew
	closed  func() // called when the last is closed; or nil
}

func (o *opens) add() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open++
}

func (o *opens) remove() {
	o.mu.Lock()
	o.open = max(o.open-1, 0)
	last := o.open == 0 && !o.unknown && o.closed != nil
	o.mu.Unlock()
	if last {
		o.closed()
	}
}

// forget has nobody else have it open: all that used it have given it back.
func (o *opens) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unknown = false
}

func (o *opens) any() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open > 0 || o.unknown
}
