package voltree

import (
	"context"

	"github.com/skerry-dev/skerry/internal/cas"
)

// Blobs hands over the blobs that a tree is made of and refers to; chunked says that a blob is a manifest, whose chunks are referred to as
// well. Where visit returns false for a blob, what that refers to is left out: visit has had it before. Errors: those of from and of visit;
// fault.DataLoss.
func Blobs(ctx context.Context, from cas.Source, root string, visit func(digest string, chunked bool) (bool, error)) error {
	w := walker{r: NewReader(from, 0), visit: visit}
	if fresh, err := visit(root, false); err != nil || !fresh {
		return err
	}
	e, err := w.r.Root(ctx, root)
	if err != nil {
		return err
	}
	return w.folder(ctx, e.Pages)
}

type walker struct {
	r     *Reader
	visit func(string, bool) (bool, error)
}

// folder walks what is at a digest: a page, or an index of pages.
func (w *walker) folder(ctx context.Context, digest string) error {
	if fresh, err := w.visit(digest, false); err != nil || !fresh {
		return err
	}
	l, err := w.r.load(ctx, digest)
	if err != nil {
		return err
	}
	for _, row := range l.rows {
		if err := w.folder(ctx, row.Digest); err != nil {
			return err
		}
	}
	for i := range l.entries {
		e := &l.entries[i]
		switch {
		case e.Type == Folder:
			err = w.folder(ctx, e.Pages)
		case e.Content.Digest != "":
			_, err = w.visit(e.Content.Digest, e.Content.Chunked)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
