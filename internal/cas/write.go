package cas

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// writers is how many chunks are hashed and stored at a time; they mostly wait for a disk.
const writers = 8

// Sink is where chunks go. Implemented by blob.Store. Implementations are safe for concurrent use.
type Sink interface {
	// Add keeps data as a blob durably, and names it; stored is false where it was there already and was claimed instead.
	Add(ctx context.Context, data []byte) (ref payload.Ref, stored bool, err error)
}

// Written says what a file cost.
type Written struct {
	// File names the manifest and has the size of the file.
	File payload.Ref
	// Chunks is how many there are, New how many of them were not stored yet; NewBytes is their size. Chunks that are stored already are
	// not stored again.
	Chunks, New, NewBytes uint64
}

// Writer stores a file while it is being written: a chunk is read and stored as soon as it is said to be there. It is for one goroutine.
// A crash at any moment leaves chunks that nobody refers to, and that a collection removes.
type Writer struct {
	ctx   context.Context //nolint:containedctx // of the group that stores
	to    Sink
	src   io.ReaderAt
	group *errgroup.Group
	queue chan piece

	manifest    Manifest
	mu          sync.Mutex
	fresh, size uint64 // of chunks that were not there
	closed      bool
}

// piece is a chunk that is there to be stored.
type piece struct {
	index  int
	offset uint64
	size   uint32
}

// NewWriter returns a Writer of the file src. The caller ends it with Finish or Abort.
func NewWriter(ctx context.Context, to Sink, src io.ReaderAt) *Writer {
	w := &Writer{to: to, src: src, queue: make(chan piece, 4*writers)}
	w.group, w.ctx = errgroup.WithContext(ctx)
	for range writers {
		w.group.Go(w.store)
	}
	return w
}

// Reserve adds a chunk that follows those before it, and is stored when Ready is called with what Reserve returns.
func (w *Writer) Reserve(size uint32) (index int, offset uint64) {
	index, offset = len(w.manifest.Chunks), w.manifest.Size
	w.mu.Lock()
	w.manifest.Chunks = append(w.manifest.Chunks, Chunk{Size: size})
	w.mu.Unlock()
	w.manifest.Size += uint64(size)
	return index, offset
}

// Keep adds a chunk that is stored already. The caller has claimed it.
func (w *Writer) Keep(c Chunk) {
	w.mu.Lock()
	w.manifest.Chunks = append(w.manifest.Chunks, c)
	w.mu.Unlock()
	w.manifest.Size += uint64(c.Size)
}

// Ready says that the bytes of a chunk are in the file. Errors show in Finish.
func (w *Writer) Ready(index int, offset uint64) {
	select {
	case w.queue <- piece{index, offset, w.manifest.Chunks[index].Size}:
	case <-w.ctx.Done():
	}
}

// Abort ends the storing and waits for what is under way. After Finish it does nothing.
func (w *Writer) Abort() {
	if !w.closed {
		w.closed = true
		close(w.queue)
		_ = w.group.Wait() // nobody wants the chunks
	}
}

// Finish waits for all chunks and stores the manifest.
func (w *Writer) Finish(ctx context.Context, local []Range) (*Written, error) {
	w.closed = true
	close(w.queue)
	if err := w.group.Wait(); err != nil {
		return nil, err
	}
	w.manifest.Local = append([]Range{}, local...)
	data, err := w.manifest.Encode()
	if err != nil {
		return nil, err
	}
	ref, _, err := w.to.Add(ctx, data)
	if err != nil {
		return nil, err
	}
	return &Written{
		File: payload.Ref{Digest: ref.Digest, Size: w.manifest.Size}, Chunks: uint64(len(w.manifest.Chunks)), New: w.fresh, NewBytes: w.size,
	}, nil
}

// store takes pieces until there are no more.
func (w *Writer) store() error {
	buf := make([]byte, MaxChunk)
	for p := range w.queue {
		if p.size == 0 || p.size > MaxChunk {
			return fault.New(fault.Invalid, "chunk of %d bytes, want 1 to %d", p.size, MaxChunk)
		}
		data := buf[:p.size]
		if _, err := w.src.ReadAt(data, int64(p.offset)); err != nil { //nolint:gosec // far below 2^63
			return fmt.Errorf("chunk at %d: %w", p.offset, err)
		}
		ref, stored, err := w.to.Add(w.ctx, data)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.manifest.Chunks[p.index].Digest = ref.Digest
		if stored {
			w.fresh++
			w.size += uint64(p.size)
		}
		w.mu.Unlock()
	}
	return nil
}

// Write stores a file that is there, cut into chunks of the given sizes.
func Write(ctx context.Context, to Sink, src io.ReaderAt, sizes []uint32, local []Range) (*Written, error) {
	w := NewWriter(ctx, to, src)
	for _, size := range sizes {
		w.Ready(w.Reserve(size))
	}
	return w.Finish(ctx, local)
}

// Verify returns a fault.DataLoss unless data has the chunk's digest and size.
func (c Chunk) Verify(data []byte) error {
	if uint64(len(data)) == uint64(c.Size) && ident.Digest(data) == c.Digest {
		return nil
	}
	return fault.New(fault.DataLoss, "chunk %s: %d bytes with digest %s came, want %d bytes", c.Digest, len(data), ident.Digest(data), c.Size)
}
