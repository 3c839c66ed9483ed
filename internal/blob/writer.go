package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"os"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Add keeps data as a blob durably, and names it; stored is false where it was there already and was claimed instead.
func (s *Store) Add(ctx context.Context, data []byte) (ref payload.Ref, stored bool, err error) {
	ref = payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	if _, err := s.Claim(ctx, ref.Digest); err == nil || !errors.Is(err, fault.NotFound) {
		return ref, false, err
	}
	if b, ok := s.home.(*bucket); ok {
		if err := b.upload(ctx, ref.Digest, bytes.NewReader(data)); err != nil {
			return ref, false, named(ref.Digest, err)
		}
		return ref, true, nil
	}
	w, err := s.Create(ctx)
	if err != nil {
		return ref, false, err
	}
	defer w.Abort()
	if _, err := w.file.Write(data); err != nil {
		return ref, false, named(ref.Digest, err)
	}
	return ref, true, w.commit(ref.Digest)
}

// Create begins a blob whose digest is not known yet. The caller ends it with Commit, CommitAs or Abort. The end of ctx fails a commit.
func (s *Store) Create(ctx context.Context) (*Writer, error) {
	f, err := os.CreateTemp(s.staging, "blob-")
	if err != nil {
		return nil, stored("blob", err)
	}
	return &Writer{ctx: ctx, store: s, file: f, hash: sha256.New()}, nil
}

// Writer takes the bytes of one blob. It is not safe for concurrent use.
type Writer struct {
	ctx   context.Context //nolint:containedctx // of Create
	store *Store
	file  *os.File
	hash  hash.Hash
	size  uint64
	done  bool
}

// Write takes the next bytes. Errors: fault.Exhausted over MaxSize.
func (w *Writer) Write(p []byte) (int, error) {
	if w.size+uint64(len(p)) > MaxSize {
		return 0, fault.New(fault.Exhausted, "blob: larger than %d bytes", uint64(MaxSize))
	}
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += uint64(n)
	if err != nil {
		return n, stored("blob", err)
	}
	return n, nil
}

// Commit syncs and names the blob.
func (w *Writer) Commit() (payload.Ref, error) {
	ref := payload.Ref{Digest: "sha256:" + hex.EncodeToString(w.hash.Sum(nil)), Size: w.size}
	return ref, w.commit(ref.Digest)
}

// CommitAs is Commit for a blob that was announced. Errors: fault.Invalid where the content is another.
func (w *Writer) CommitAs(digest string, size uint64) error {
	if w.size != size {
		w.Abort()
		if w.size > size {
			return fault.New(fault.Invalid, "blob %q: more than the %d bytes announced", digest, size)
		}
		return fault.New(fault.Invalid, "blob %q: %d bytes announced, %d came", digest, size, w.size)
	}
	if got := "sha256:" + hex.EncodeToString(w.hash.Sum(nil)); got != digest {
		w.Abort()
		return fault.New(fault.Invalid, "blob %q: the content's digest is %s", digest, got)
	}
	return w.commit(digest)
}

func (w *Writer) commit(digest string) error {
	defer w.Abort()
	if err := w.store.home.put(w.ctx, digest, w.file); err != nil {
		return named(digest, err)
	}
	return nil
}

// Abort forgets what was written. After a commit it does nothing.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	// The staged file is private and unsynced; what can't be removed now goes when the store is next opened.
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
