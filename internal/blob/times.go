package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
func (s *Store) Claim(_ context.Context, digest string) (uint64, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return 0, err
	}
	s.times.RLock()
	defer s.times.RUnlock()
	info, err := os.Stat(s.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, missing(digest)
	}
	if err == nil && time.Since(info.ModTime()) > claimStep {
		err = os.Chtimes(s.path(digest), time.Time{}, time.Now())
	}
	if err != nil {
		return 0, fmt.Errorf("blob %q: %w", digest, err)
	}
	return uint64(info.Size()), nil
}

// Entry is a blob that is stored.
type Entry struct {
	payload.Ref
	Time time.Time // of the last commit or claim
}

// List hands all blobs to f, in the order of their digests, until f fails. Blobs that come or go meanwhile may be left out.
func (s *Store) List(ctx context.Context, f func(Entry) error) error {
	list := s.bucket.List(&blob.ListOptions{Prefix: keyPrefix})
	for {
		o, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list of blobs: %w", err)
		}
		e := Entry{Ref: payload.Ref{Digest: "sha256:" + path.Base(o.Key), Size: uint64(o.Size)}, Time: o.ModTime}
		if o.IsDir || ident.CheckDigest(e.Digest) != nil {
			continue
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// Remove removes a blob whose time is before a moment, and says whether it did. A blob that is not there is no error; nor is one that was
// committed or claimed since then, which stays. Readers that have it open read on.
func (s *Store) Remove(_ context.Context, digest string, before time.Time) (bool, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return false, err
	}
	s.times.Lock()
	defer s.times.Unlock()
	info, err := os.Stat(s.path(digest))
	if err == nil && info.ModTime().Before(before) {
		err = os.Remove(s.path(digest))
	} else if err == nil {
		return false, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("blob %q: %w", digest, err)
	}
	return true, nil
}
