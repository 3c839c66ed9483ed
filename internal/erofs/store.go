package erofs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Params says what Store makes an image of and where it puts it.
type Params struct {
	// Tar is the stream of the file system.
	Tar io.Reader
	// Dir is a folder for the file, which is gone when Store returns.
	Dir string
	// Sink takes the chunks and the manifest.
	Sink cas.Sink
	// Keep, if not nil, may move the whole file to a worker on the same host. What goes wrong there doesn't concern the image.
	Keep func(path string, image payload.Ref)
}

// Store makes an EROFS file of a tar stream and stores it: its reference has the digest of the manifest and the size of the file.
func Store(ctx context.Context, p Params) (done *cas.Written, err error) {
	spool, err := os.CreateTemp(p.Dir, "image-*.erofs")
	if err != nil {
		return nil, fmt.Errorf("image file: %w", err)
	}
	defer func() {
		if gone := os.Remove(spool.Name()); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		err = errors.Join(err, spool.Close())
	}()
	if done, err = write(ctx, p, spool); err != nil {
		return nil, err
	}
	if p.Keep != nil {
		p.Keep(spool.Name(), done.File)
	}
	return done, nil
}

// write makes and stores the file in spool.
func write(ctx context.Context, p Params, spool *os.File) (done *cas.Written, err error) {
	w := cas.NewWriter(ctx, p.Sink, spool)
	defer w.Abort()
	m, err := fromTar(ctx, p.Tar, spool, w)
	if err != nil {
		return nil, err
	}
	if m.sorted {
		m.cuts.Whole((m.blocks - m.data) * blockSize)
		if err = m.cut(); err == nil {
			w.Ready(m.super, 0)
			done, err = w.Finish(ctx, m.local())
		}
	} else {
		done, err = cas.Write(ctx, p.Sink, spool, m.sizes(), m.local())
	}
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return done, nil
}
