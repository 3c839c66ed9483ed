// Package cas keeps large files as chunks, in a store of blobs that are named by their content.
//
// A file is described by its Manifest, which is a blob itself: its digest names the whole content, because it holds the digests of all
// chunks. Files that have parts in common have chunks in common, as far as they were cut alike (see Cutter). Everything is verified when
// it is read. What nobody refers to any more goes by Collect.
package cas

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sort"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of a manifest.
const (
	// MaxChunk is the size of the largest chunk in bytes.
	MaxChunk = 4 << 20
	// MaxManifest is the length of the longest encoded manifest in bytes: that of a file of some hundred GiB.
	MaxManifest = 64 << 20
	// MaxLocal is how many bytes of a file its readers may have to hold in memory (Manifest.Local).
	MaxLocal = 256 << 20
	// meanChunk is the least size of chunks on average, where there are more than freeChunks: each costs its readers a file and a request.
	meanChunk, freeChunks = 64 << 10, 1024
)

// format names the encoding. A reader refuses others.
const format = "skerry.file.1"

// Manifest describes a file: its chunks follow one another without gaps.
type Manifest struct {
	Format string `json:"format"`
	Size   uint64 `json:"size"`
	// Local are the parts that a reader needs at hand before it begins, for it can't bear an error there. Each begins and ends with a chunk.
	Local  []Range `json:"local"`
	Chunks []Chunk `json:"chunks"`

	starts []uint64 // of chunks
}

// Range is a part of a file in bytes.
type Range struct {
	Offset uint64 `json:"offset"`
	Size   uint64 `json:"size"`
}

// Chunk is a piece of a file.
type Chunk struct {
	Digest string `json:"digest"`
	Size   uint32 `json:"size"`
}

// Encode returns the form in which a manifest is stored; the same manifest has the same form everywhere.
func (m *Manifest) Encode() ([]byte, error) {
	m.Format = format
	if err := m.check(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(m)
	if err == nil && len(data) > MaxManifest {
		err = fault.New(fault.Exhausted, "manifest: a file of %d chunks is too large", len(m.Chunks))
	}
	return data, err
}

// Decode reads what Encode wrote. Errors: fault.DataLoss for anything else.
func Decode(data []byte) (*Manifest, error) {
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(m)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("data after its end")
		}
	}
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return nil, fault.New(fault.DataLoss, "manifest: %w", err)
	}
	return m, nil
}

// check says what is wrong with a manifest, and sets where chunks begin.
func (m *Manifest) check() error {
	if m.Format != format {
		return fault.New(fault.Invalid, "format %.40q is not known; want %q", m.Format, format)
	}
	if uint64(len(m.Chunks)) > freeChunks+m.Size/meanChunk {
		return fault.New(fault.Invalid, "%d chunks are too many for %d bytes", len(m.Chunks), m.Size)
	}
	m.starts = make([]uint64, len(m.Chunks))
	edges := make(map[uint64]bool, len(m.Chunks)+1)
	var at uint64
	for i, c := range m.Chunks {
		if c.Size == 0 || c.Size > MaxChunk {
			return fault.New(fault.Invalid, "chunk %d: %d bytes, want 1 to %d", i, c.Size, MaxChunk)
		}
		if err := ident.CheckDigest(c.Digest); err != nil {
			return fault.New(fault.Invalid, "chunk %d: %w", i, err)
		}
		m.starts[i], edges[at] = at, true
		at += uint64(c.Size)
	}
	edges[at] = true
	if at != m.Size {
		return fault.New(fault.Invalid, "chunks have %d bytes, the file %d", at, m.Size)
	}
	var end, local uint64
	for _, r := range m.Local {
		if r.Size == 0 || r.Size > m.Size || r.Offset < end || r.Offset > m.Size-r.Size || !edges[r.Offset] || !edges[r.Offset+r.Size] {
			return fault.New(fault.Invalid, "local range of %d bytes at %d is not made of chunks, or out of order", r.Size, r.Offset)
		}
		end, local = r.Offset+r.Size, local+r.Size
	}
	if local > MaxLocal {
		return fault.New(fault.Invalid, "local ranges have %d bytes, at most %d may be", local, MaxLocal)
	}
	return nil
}

// At returns the index of the chunk with the byte at offset, and where that chunk begins. The offset is below m.Size.
func (m *Manifest) At(offset uint64) (index int, start uint64) {
	index = sort.Search(len(m.starts), func(i int) bool { return m.starts[i] > offset }) - 1
	return index, m.starts[index]
}

// Start is where a chunk begins.
func (m *Manifest) Start(index int) uint64 { return m.starts[index] }

// IsLocal says whether a chunk is part of a local range.
func (m *Manifest) IsLocal(index int) bool {
	at := m.starts[index]
	i := sort.Search(len(m.Local), func(i int) bool { return m.Local[i].Offset+m.Local[i].Size > at })
	return i < len(m.Local) && m.Local[i].Offset <= at
}
