package blob

import (
	"context"
	"errors"
	"io"
	"path"
	"time"

	"gocloud.dev/blob"

	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// claimStep is how much later than a blob's time a claim has to be to change it: claims are far more frequent than collections.
const claimStep = time.Hour

// Claim is Size for those who are about to refer to the blob: its time becomes now, or stays less than an hour older than that. Errors:
// fault.Invalid, fault.NotFound.
func (s *Store) Claim(ctx context.Context, digest string) (uint64, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return 0, err
	}
	return s.home.claim(ctx, digest)
}

// Entry is a blob that is stored.
type Entry struct {
	payload.Ref
	Time time.Time // of the last commit or claim
}

// List hands all blobs to f, in the order of their digests, until f fails. Blobs that come or go meanwhile may be left out.
func (s *Store) List(ctx context.Context, f func(Entry) error) error { return s.home.list(ctx, f) }

// Remove removes a blob whose time is before a moment, and says whether it did. A blob that is not there is no error; nor is one that was
// committed or claimed since then, which stays. Readers that have a file open read on. Of a bucket, one process removes at a time.
func (s *Store) Remove(ctx context.Context, digest string, before time.Time) (bool, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return false, err
	}
	return s.home.remove(ctx, digest, before)
}

// lister goes through the objects below a prefix whose names are digests, in their order.
type lister struct {
	ctx  context.Context //nolint:containedctx // of one listing
	list *blob.ListIterator
}

// next returns nil at the end.
func (l *lister) next() (*Entry, error) {
	for {
		o, err := l.list.Next(l.ctx)
		if errors.Is(err, io.EOF) {
			return nil, nil //nolint:nilnil // the end
		}
		if err != nil {
			return nil, stored("list of blobs", err)
		}
		e := Entry{Ref: payload.Ref{Digest: "sha256:" + path.Base(o.Key), Size: uint64(o.Size)}, Time: o.ModTime} //nolint:gosec // not negative
		if !o.IsDir && ident.CheckDigest(e.Digest) == nil {
			return &e, nil
		}
	}
}
