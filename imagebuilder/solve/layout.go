package solve

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layouts gives BuildKit the blobs of OCI layouts, read-only: a folder may serve several builders at once.
type layouts []string

var _ content.Store = layouts{}

func (l layouts) open(d digest.Digest) (*os.File, int64, error) {
	if err := d.Validate(); err != nil {
		return nil, 0, fmt.Errorf("blob %q: %w: %w", d, errdefs.ErrInvalidArgument, err)
	}
	f, err := l.find(d)
	if os.IsNotExist(err) {
		return nil, 0, fmt.Errorf("blob %q: %w", d, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // the first error counts
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// find opens a blob of the first layout that has it.
func (l layouts) find(d digest.Digest) (f *os.File, err error) {
	err = os.ErrNotExist
	for _, dir := range l {
		f, err = os.Open(filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded()))
		if !os.IsNotExist(err) {
			return f, err
		}
	}
	return nil, err
}

// Info describes a blob.
func (l layouts) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	f, size, err := l.open(d)
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: size}, f.Close()
}

// ReaderAt opens a blob.
func (l layouts) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	f, size, err := l.open(desc.Digest)
	if err != nil {
		return nil, err
	}
	return sized{f, size}, nil
}

type sized struct {
	*os.File
	size int64
}

func (s sized) Size() int64 { return s.size }

var errReadOnly = fmt.Errorf("base: read-only: %w", errdefs.ErrNotImplemented)

// Update is refused, as are all changes.
func (layouts) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errReadOnly
}

// Walk is refused: nothing looks for blobs.
func (layouts) Walk(context.Context, content.WalkFunc, ...string) error { return errReadOnly }

// Delete is refused.
func (layouts) Delete(context.Context, digest.Digest) error { return errReadOnly }

// Status is refused.
func (layouts) Status(context.Context, string) (content.Status, error) {
	return content.Status{}, errReadOnly
}

// ListStatuses is refused.
func (layouts) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, errReadOnly
}

// Abort is refused.
func (layouts) Abort(context.Context, string) error { return errReadOnly }

// Writer is refused.
func (layouts) Writer(context.Context, ...content.WriterOpt) (content.Writer, error) {
	return nil, errReadOnly
}

var _ io.Closer = sized{}
