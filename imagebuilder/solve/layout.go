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

// layout gives BuildKit the blobs of an OCI layout, read-only: the folder may serve several builders at once.
type layout struct{ dir string }

var _ content.Store = layout{}

func (l layout) open(d digest.Digest) (*os.File, int64, error) {
	if err := d.Validate(); err != nil {
		return nil, 0, fmt.Errorf("blob %q: %w: %w", d, errdefs.ErrInvalidArgument, err)
	}
	f, err := os.Open(filepath.Join(l.dir, "blobs", d.Algorithm().String(), d.Encoded()))
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

// Info describes a blob.
func (l layout) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	f, size, err := l.open(d)
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: size}, f.Close()
}

// ReaderAt opens a blob.
func (l layout) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
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
func (layout) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errReadOnly
}

// Walk is refused: nothing looks for blobs.
func (layout) Walk(context.Context, content.WalkFunc, ...string) error { return errReadOnly }

// Delete is refused.
func (layout) Delete(context.Context, digest.Digest) error { return errReadOnly }

// Status is refused.
func (layout) Status(context.Context, string) (content.Status, error) {
	return content.Status{}, errReadOnly
}

// ListStatuses is refused.
func (layout) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, errReadOnly
}

// Abort is refused.
func (layout) Abort(context.Context, string) error { return errReadOnly }

// Writer is refused.
func (layout) Writer(context.Context, ...content.WriterOpt) (content.Writer, error) {
	return nil, errReadOnly
}

var _ io.Closer = sized{}
