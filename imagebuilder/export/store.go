package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Store makes an EROFS file of the tar stream in a file of the folder tmp, which is gone when Store returns, and puts it into blobs.
func Store(ctx context.Context, r io.Reader, tmp string, blobs build.Blobs) (ref payload.Ref, err error) {
	spool, err := os.CreateTemp(tmp, "image-*.erofs")
	if err != nil {
		return payload.Ref{}, fmt.Errorf("image file: %w", err)
	}
	// Without a name nothing is left of it however the process ends.
	defer func() { err = errors.Join(err, spool.Close()) }()
	if err := os.Remove(spool.Name()); err != nil {
		return payload.Ref{}, fmt.Errorf("image file: %w", err)
	}
	if err := FromTar(ctx, r, spool); err != nil {
		return payload.Ref{}, err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return payload.Ref{}, fmt.Errorf("image file: %w", err)
	}
	w, err := blobs.Create(ctx)
	if err != nil {
		return payload.Ref{}, fmt.Errorf("image blob: %w", err)
	}
	if _, err := io.Copy(w, spool); err != nil {
		w.Abort()
		return payload.Ref{}, fmt.Errorf("image blob: %w", err)
	}
	if ref, err = w.Commit(); err != nil {
		return payload.Ref{}, fmt.Errorf("image blob: %w", err)
	}
	return ref, nil
}
