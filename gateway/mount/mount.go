// Package mount is the noun of trees of local files that clients send, kept by content.
package mount

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Limits of a tree.
const (
	// MaxFiles is the most files of a tree.
	MaxFiles = 100_000
	// MaxPath is the longest path in bytes.
	MaxPath = 4096
	// maxEncoded is more than the largest tree takes when encoded.
	maxEncoded = 1 << 30
)

// File is one file of a tree. Path is slash-separated below the root, or "." where the tree is one file. Mode has permission bits only.
type File struct {
	Path string      `json:"path"`
	Blob payload.Ref `json:"blob"`
	Mode uint32      `json:"mode"`
}

// Tree is a set of files, sorted by path. Its digest is that of its encoding, under which the blob store keeps it.
type Tree struct {
	Digest string
	Files  []File
}

// Store keeps which trees there are.
type Store interface {
	// AddTree records a tree; of one that is there it records that it was made again just now, as far as it is an hour ago or more.
	AddTree(ctx context.Context, digest string, numFiles int, numBytes uint64) error
	// HasTree says whether a tree is recorded.
	HasTree(ctx context.Context, digest string) (bool, error)
}

// Blobs keeps contents.
type Blobs interface {
	// Claim returns the length of a blob that is about to be referred to, or a fault.NotFound.
	Claim(ctx context.Context, digest string) (uint64, error)
	// Put stores a blob durably.
	Put(ctx context.Context, digest string, size uint64, r io.Reader) error
	// ReadAll returns a whole, verified blob, or a fault.NotFound.
	ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error)
}

// Service records and finds trees. It is safe for concurrent use.
type Service struct {
	store Store
	blobs Blobs
}

// New returns a service.
func New(store Store, blobs Blobs) *Service { return &Service{store: store, blobs: blobs} }

// Create records a tree and returns its digest. Where blobs are missing it records nothing and returns their digests instead, each once.
// Errors: fault.Invalid for files that can't make a tree.
func (s *Service) Create(ctx context.Context, files []File) (digest string, missing []string, err error) {
	sorted, err := arrange(files)
	if err != nil {
		return "", nil, err
	}
	missing, total, err := s.missing(ctx, sorted)
	if err != nil || len(missing) > 0 {
		return "", missing, err
	}
	encoded, err := json.Marshal(sorted)
	if err != nil {
		return "", nil, fmt.Errorf("tree: %w", err)
	}
	digest = ident.Digest(encoded)
	_, err = s.blobs.Claim(ctx, digest)
	if errors.Is(err, fault.NotFound) {
		err = s.blobs.Put(ctx, digest, uint64(len(encoded)), bytes.NewReader(encoded))
	}
	if err != nil {
		return "", nil, err
	}
	return digest, nil, s.store.AddTree(ctx, digest, len(sorted), total)
}

// missing returns the blobs that are not stored, and the sum of all sizes.
func (s *Service) missing(ctx context.Context, files []File) (missing []string, total uint64, err error) {
	sizes := map[string]uint64{}
	for _, f := range files {
		total += f.Blob.Size
		if size, seen := sizes[f.Blob.Digest]; seen {
			if size != f.Blob.Size {
				return nil, 0, fault.New(fault.Invalid, "file %q: size %d and %d for the same digest", f.Path, f.Blob.Size, size)
			}
			continue
		}
		sizes[f.Blob.Digest] = f.Blob.Size
		size, err := s.blobs.Claim(ctx, f.Blob.Digest)
		switch {
		case errors.Is(err, fault.NotFound):
			missing = append(missing, f.Blob.Digest)
		case err != nil:
			return nil, 0, err
		case size != f.Blob.Size:
			return nil, 0, fault.New(fault.Invalid, "file %q: size %d, but the blob of its digest has %d", f.Path, f.Blob.Size, size)
		}
	}
	return missing, total, nil
}

// Tree returns a recorded tree. Errors: fault.NotFound, fault.DataLoss.
func (s *Service) Tree(ctx context.Context, digest string) (*Tree, error) {
	if err := s.Check(ctx, digest); err != nil {
		return nil, err
	}
	encoded, err := s.blobs.ReadAll(ctx, digest, maxEncoded)
	if err != nil {
		return nil, fmt.Errorf("tree %q: %w", digest, err)
	}
	t := &Tree{Digest: digest}
	if err := json.Unmarshal(encoded, &t.Files); err != nil {
		return nil, fault.New(fault.DataLoss, "tree %q: %w", digest, err)
	}
	return t, nil
}

// Check returns a fault.NotFound unless the tree is recorded.
func (s *Service) Check(ctx context.Context, digest string) error {
	if err := ident.CheckDigest(digest); err != nil {
		return err
	}
	have, err := s.store.HasTree(ctx, digest)
	if err != nil {
		return err
	}
	if !have {
		return fault.New(fault.NotFound, "tree %q is not recorded; send its files again", digest)
	}
	return nil
}

// arrange checks files and returns them sorted by path.
func arrange(files []File) ([]File, error) {
	if len(files) == 0 {
		return nil, fault.New(fault.Invalid, "tree: no files; a mount needs at least one")
	}
	if len(files) > MaxFiles {
		return nil, fault.New(fault.Invalid, "tree: %d files, at most %d can be sent; leave some out with ignore=", len(files), MaxFiles)
	}
	sorted := append([]File(nil), files...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	paths := make(map[string]bool, len(sorted))
	for i, f := range sorted {
		if err := checkFile(f, len(sorted)); err != nil {
			return nil, err
		}
		if paths[f.Path] {
			return nil, fault.New(fault.Invalid, "file %q: given twice", f.Path)
		}
		paths[f.Path] = true
		sorted[i].Mode &= 0o777
	}
	for _, f := range sorted {
		for dir := f.Path; strings.Contains(dir, "/"); {
			dir = dir[:strings.LastIndexByte(dir, '/')]
			if paths[dir] {
				return nil, fault.New(fault.Invalid, "file %q: %q is a file, not a folder", f.Path, dir)
			}
		}
	}
	return sorted, nil
}

func checkFile(f File, count int) error {
	if err := ident.CheckDigest(f.Blob.Digest); err != nil {
		return fmt.Errorf("file %.200q: %w", f.Path, err)
	}
	if f.Path == "." {
		if count > 1 {
			return fault.New(fault.Invalid, `file ".": stands alone, but the tree has %d files`, count)
		}
		return nil
	}
	if len(f.Path) > MaxPath || strings.ContainsRune(f.Path, 0) {
		return fault.New(fault.Invalid, "file %.200q: paths have at most %d bytes, none of them zero", f.Path, MaxPath)
	}
	for part := range strings.SplitSeq(f.Path, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 {
			return fault.New(fault.Invalid, `file %.200q: want a relative path without empty, ".", ".." or overlong parts`, f.Path)
		}
	}
	return nil
}
