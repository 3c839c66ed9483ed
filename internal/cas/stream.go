package cas

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// streamWriters is how many chunks of a stream are stored at a time, beside the one that fills.
const streamWriters = 4

// Stream stores a file that is written from its beginning to its end, in chunks of Piece bytes. It is for one goroutine, and keeps few chunks
// in memory. What a stream that is not finished has stored nobody refers to, and a collection removes it.
type Stream struct {
	ctx   context.Context //nolint:containedctx // of the group that stores
	to    Sink
	group *errgroup.Group

	mu       sync.Mutex // of the manifest's digests
	manifest Manifest
	open     []byte
	ended    bool
}

// NewStream returns a Stream. The caller ends it with Finish or Abort.
func NewStream(ctx context.Context, to Sink) *Stream {
	s := &Stream{to: to}
	s.group, s.ctx = errgroup.WithContext(ctx)
	s.group.SetLimit(streamWriters)
	return s
}

var _ io.Writer = (*Stream)(nil)

// Write takes the next bytes. Its error is that of an earlier chunk.
func (s *Stream) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if s.open == nil {
			s.open = make([]byte, 0, Piece)
		}
		part := p[n:min(len(p), n+Piece-len(s.open))]
		s.open = append(s.open, part...)
		n += len(part)
		if len(s.open) == Piece {
			s.flush()
		}
		if s.ctx.Err() != nil {
			return n, context.Cause(s.ctx)
		}
	}
	return n, nil
}

// flush stores the chunk that has filled.
func (s *Stream) flush() {
	data := s.open
	s.open = nil
	if len(data) == 0 {
		return
	}
	s.mu.Lock()
	index := len(s.manifest.Chunks)
	s.manifest.Chunks = append(s.manifest.Chunks, Chunk{Size: uint32(len(data))}) //nolint:gosec // at most Piece
	s.mu.Unlock()
	s.manifest.Size += uint64(len(data))
	s.group.Go(func() error {
		ref, _, err := s.to.Add(s.ctx, data)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.manifest.Chunks[index].Digest = ref.Digest
		return nil
	})
}

// Size is how much has been written, in bytes.
func (s *Stream) Size() uint64 { return s.manifest.Size + uint64(len(s.open)) }

// Finish waits for all chunks, stores the manifest, and returns its digest.
func (s *Stream) Finish(ctx context.Context) (string, error) {
	s.flush()
	s.ended = true
	if err := s.group.Wait(); err != nil {
		return "", err
	}
	s.manifest.Local = []Range{}
	data, err := s.manifest.Encode()
	if err != nil {
		return "", err
	}
	ref, _, err := s.to.Add(ctx, data)
	return ref.Digest, err
}

// Abort waits for what is under way. After Finish it does nothing.
func (s *Stream) Abort() {
	if !s.ended {
		s.ended = true
		_ = s.group.Wait() // nobody wants the chunks
	}
}

// Reader reads a file at any offset, verified, with one chunk in memory. It is safe for concurrent use.
type Reader struct {
	ctx  context.Context //nolint:containedctx // reads have none
	from Source
	file *Manifest

	mu    sync.Mutex
	index int
	chunk []byte
}

// NewReader returns a Reader of a file; ctx is that of its reads.
func NewReader(ctx context.Context, from Source, file *Manifest) *Reader {
	return &Reader{ctx: ctx, from: from, file: file}
}

var _ io.ReaderAt = (*Reader)(nil)

// ReadAt implements io.ReaderAt. Errors: fault.NotFound, fault.DataLoss.
func (r *Reader) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, fmt.Errorf("offset %d", offset)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		at := uint64(offset) + uint64(n)
		if at >= r.file.Size {
			return n, io.EOF
		}
		index, start := r.file.At(at)
		if err := r.load(index); err != nil {
			return n, err
		}
		n += copy(p[n:], r.chunk[at-start:])
	}
	return n, nil
}

func (r *Reader) load(index int) error {
	if r.chunk != nil && r.index == index {
		return nil
	}
	c := r.file.Chunks[index]
	data, err := r.from.ReadAll(r.ctx, c.Digest, MaxChunk)
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	if err := c.Verify(data); err != nil {
		return err
	}
	r.index, r.chunk = index, data
	return nil
}
