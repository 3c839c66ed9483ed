package cas

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of a bundle.
const (
	// MaxBundle is the length of the longest encoded bundle in bytes.
	MaxBundle = 1 << 20
	// maxBundleFiles is how many files a bundle has at most.
	maxBundleFiles = 4096
)

// bundleFormat names the encoding. A reader refuses others.
const bundleFormat = "skerry.bundle.1"

// Bundle is a set of files that belong together, each known by the digest of its whole content.
type Bundle struct {
	Format string `json:"format"`
	// Root is the content that says what the others are.
	Root  string `json:"root"`
	Files []File `json:"files"`
}

// File is a file of a bundle.
type File struct {
	// Content is the digest of the whole content, Size its length in bytes.
	Content string `json:"content"`
	Size    uint64 `json:"size"`
	// Manifest is the digest of the manifest that says of which chunks the content is.
	Manifest string `json:"manifest"`
}

// Encode returns the form in which a bundle is stored.
func (b *Bundle) Encode() ([]byte, error) {
	b.Format = bundleFormat
	if err := b.check(); err != nil {
		return nil, err
	}
	data, err := json.Marshal(b)
	if err == nil && len(data) > MaxBundle {
		err = fault.New(fault.Exhausted, "bundle: %d files are too many", len(b.Files))
	}
	return data, err
}

// DecodeBundle reads what Encode wrote. Errors: fault.DataLoss for anything else.
func DecodeBundle(data []byte) (*Bundle, error) {
	b := &Bundle{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(b)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("data after its end")
		}
	}
	if err == nil {
		err = b.check()
	}
	if err != nil {
		return nil, fault.New(fault.DataLoss, "bundle: %w", err)
	}
	return b, nil
}

func (b *Bundle) check() error {
	if b.Format != bundleFormat {
		return fault.New(fault.Invalid, "format %.40q is not known; want %q", b.Format, bundleFormat)
	}
	if len(b.Files) > maxBundleFiles {
		return fault.New(fault.Invalid, "%d files, at most %d", len(b.Files), maxBundleFiles)
	}
	seen := make(map[string]bool, len(b.Files))
	for i, f := range b.Files {
		if err := errors.Join(ident.CheckDigest(f.Content), ident.CheckDigest(f.Manifest)); err != nil {
			return fault.New(fault.Invalid, "file %d: %w", i, err)
		}
		if f.Size > MaxBundled || seen[f.Content] {
			return fault.New(fault.Invalid, "file %d: is there twice, or has more than %d bytes", i, uint64(MaxBundled))
		}
		seen[f.Content] = true
	}
	if !seen[b.Root] {
		return fault.New(fault.Invalid, "its root %.80q is none of its files", b.Root)
	}
	return nil
}

// MaxBundled is the size of the largest file of a bundle in bytes.
const MaxBundled = 1 << 40

// Bytes is the size of all files together.
func (b *Bundle) Bytes() (n uint64) {
	for _, f := range b.Files {
		n += f.Size
	}
	return n
}
