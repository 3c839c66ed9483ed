package lazyfs

import (
	"context"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/skerry-dev/skerry/internal/cas"
)

// fileName is the file in every mount.
const fileName = "root.erofs"

// unchanging is how long the kernel may believe what it was told; images never change.
const unchanging = time.Hour

// interruptedPatience is how long a read goes on when its reader got a signal. It can't end at once with EINTR: the reader may be in a page
// fault, where that would be SIGBUS, and runtimes send themselves signals all the time. It has to end before a killed sandbox that waits
// for its read, and can't die before, is given up.
const interruptedPatience = 15 * time.Second

// maxLines is how many failed reads of an image are logged in one second.
const maxLines = 16

// root is the folder of a mount, with its one file.
type root struct {
	fs.Inode

	file *file
}

var _ fs.NodeOnAdder = (*root)(nil)

// OnAdd enters the file.
func (r *root) OnAdd(ctx context.Context) {
	r.AddChild(fileName, r.NewPersistentInode(ctx, r.file, fs.StableAttr{Mode: fuse.S_IFREG, Ino: 2}), false)
}

// file is an image whose contents are fetched as they are read.
type file struct {
	fs.Inode

	image    string // its manifest's digest
	manifest *cas.Manifest
	local    map[int][]byte // the chunks of metadata
	chunks   *Chunks
	ahead    *ahead
	log      *slog.Logger

	mu    sync.Mutex
	spoke time.Time // the begin of the second in which failed reads were last logged
	lines int       // how many in it
}

var (
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
)

// Getattr tells size and permissions.
func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size, out.Blksize = fuse.S_IFREG|0o444, f.manifest.Size, 4096
	out.Blocks = (f.manifest.Size + 511) / 512
	return 0
}

// Open lets the kernel keep what it has read before.
func (f *file) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read reads from the chunks at an offset. What can't be had, or is not what it should be, is EIO.
func (f *file) Read(ctx context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	at := uint64(off) //nolint:gosec // the kernel gives none below 0
	if at >= f.manifest.Size {
		return fuse.ReadResultData(nil), 0
	}
	dest = dest[:min(uint64(len(dest)), f.manifest.Size-at)]
	for rest := dest; len(rest) > 0; {
		index, start := f.manifest.At(at)
		data, err := f.chunk(ctx, index)
		if err != nil {
			f.complain(err, f.manifest.Chunks[index].Digest, at)
			return nil, syscall.EIO
		}
		data = data[at-start:]
		if len(rest) == len(dest) && len(data) >= len(dest) {
			return fuse.ReadResultData(data[:len(dest)]), 0 // all of it is in one chunk
		}
		n := copy(rest, data)
		rest, at = rest[n:], at+uint64(n) //nolint:gosec // not negative
	}
	return fuse.ReadResultData(dest), 0
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
