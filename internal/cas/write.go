package cas

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// writers is how many chunks are hashed and stored at a time.
const writers = 4

// Sink is where chunks go. Implemented by blob.Store. Implementations are safe for concurrent use.
type Sink interface {
	// Claim returns the size of a blob that is there and keeps it for those who are about to refer to it, or returns a fault.NotFound.
	Claim(ctx context.Context, digest string) (uint64, error)
	// Put stores a blob durably. Storing one twice is no error.
	Put(ctx context.Context, digest string, size uint64, r io.Reader) error
}

// Written says what a file cost.
type Written struct {
	// File names the manifest and has the size of the file.
	File payload.Ref
	// Chunks is how many there are, New how many of them were not stored yet; NewBytes is their size.
	Chunks, New, NewBytes uint64
}

// Write stores a file that is cut into chunks of the given sizes, and then its manifest. Chunks that are stored already are not stored
// again. A crash at any moment leaves chunks that nobody refers to, and that a collection removes.
func Write(ctx context.Context, to Sink, src io.ReaderAt, sizes []uint32, local []Range) (*Written, error) {
	m := &Manifest{Local: local, Chunks: make([]Chunk, len(sizes))}
	if local == nil {
		m.Local = []Range{}
	}
	var fresh, freshBytes atomic.Uint64
	g, gctx := errgroup.WithContext(ctx)
	next := make(chan int)
	starts := make([]uint64, len(sizes))
	for i, size := range sizes {
		if size == 0 || size > MaxChunk {
			return nil, fault.New(fault.Invalid, "chunk of %d bytes, want 1 to %d", size, MaxChunk)
		}
		starts[i] = m.Size
		m.Size += uint64(size)
	}
	for range writers {
		g.Go(func() error {
			buf := make([]byte, MaxChunk)
			for i := range next {
				data := buf[:sizes[i]]
				if _, err := src.ReadAt(data, int64(starts[i])); err != nil { //nolint:gosec // far below 2^63
					return fmt.Errorf("chunk at %d: %w", starts[i], err)
				}
				digest, isNew, err := put(gctx, to, data)
				if err != nil {
					return err
				}
				m.Chunks[i] = Chunk{Digest: digest, Size: sizes[i]}
				if isNew {
					fresh.Add(1)
					freshBytes.Add(uint64(len(data)))
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(next)
		for i := range sizes {
			select {
			case next <- i:
			case <-gctx.Done():
				return context.Cause(gctx)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	data, err := m.Encode()
	if err != nil {
		return nil, err
	}
	digest, _, err := put(ctx, to, data)
	if err != nil {
		return nil, err
	}
	return &Written{
		File: payload.Ref{Digest: digest, Size: m.Size}, Chunks: uint64(len(sizes)), New: fresh.Load(), NewBytes: freshBytes.Load(),
	}, nil
}

// put stores a blob unless it is there.
func put(ctx context.Context, to Sink, data []byte) (digest string, isNew bool, err error) {
	sum := sha256.Sum256(data)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	_, err = to.Claim(ctx, digest)
	if err == nil || !errors.Is(err, fault.NotFound) {
		return digest, false, err
	}
	return digest, true, to.Put(ctx, digest, uint64(len(data)), bytes.NewReader(data))
}

// Verify returns a fault.DataLoss unless data has the chunk's digest and size.
func (c Chunk) Verify(data []byte) error {
	if uint64(len(data)) == uint64(c.Size) && ident.Digest(data) == c.Digest {
		return nil
	}
	return fault.New(fault.DataLoss, "chunk %s: %d bytes with digest %s came, want %d bytes", c.Digest, len(data), ident.Digest(data), c.Size)
}
