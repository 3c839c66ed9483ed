// Package blob keeps immutable bytes under the digest of their content.
//
// A blob is staged in a local folder, checked, and only then put under its name, in a folder or a bucket, so a name in the store always means
// whole content, whatever crashed when. Reading verifies: the last Read of a whole blob fails with fault.DataLoss where bytes have rotted.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// MaxSize is the largest blob in bytes that Create takes before a commit; images are the largest blobs there are.
const MaxSize = 64 << 30

// Store is a content-addressed store. It is safe for concurrent use.
//
// Every blob has a time: that of its last commit or claim. What removes blobs that nobody refers to (internal/cas) spares young ones, so
// that whoever claims a blob may take its time until something refers to it.
type Store struct {
	bucket  *blob.Bucket
	home    home
	root    string // folder of a file store; else empty
	staging string
}

// home is where blobs are, and have their times.
type home interface {
	// put names a staged file, whose time becomes now. It is durable when put returns.
	put(ctx context.Context, digest string, staged *os.File) error
	// claim is Store.Claim.
	claim(ctx context.Context, digest string) (uint64, error)
	// list is Store.List.
	list(ctx context.Context, f func(Entry) error) error
	// remove is Store.Remove.
	remove(ctx context.Context, digest string, before time.Time) (bool, error)
}

// Open opens the store at a URL: a folder's absolute path or "file:///folder", which is made if missing.
func Open(_ context.Context, rawURL string) (*Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "blob store %q: %w", rawURL, err)
	}
	if u.Scheme != "" && u.Scheme != "file" {
		return nil, fault.New(fault.Invalid, "blob store %q: is no folder; give an absolute path", rawURL)
	}
	if !filepath.IsAbs(u.Path) {
		return nil, fault.New(fault.Invalid, "blob store %q: want an absolute path", rawURL)
	}
	return openFiles(u.Path)
}

// Close gives the store's resources back. Readers and writers are to be closed before.
func (s *Store) Close() error { return s.bucket.Close() }

// Has says whether the blob is there. Errors: fault.Invalid for a malformed digest.
func (s *Store) Has(ctx context.Context, digest string) (bool, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return false, err
	}
	ok, err := s.bucket.Exists(ctx, key(digest))
	if err != nil {
		return false, named(digest, err)
	}
	return ok, nil
}

// Size returns the blob's length in bytes. Errors: fault.Invalid, fault.NotFound.
func (s *Store) Size(ctx context.Context, digest string) (uint64, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return 0, err
	}
	a, err := s.bucket.Attributes(ctx, key(digest))
	if err != nil {
		return 0, named(digest, err)
	}
	return uint64(a.Size), nil
}

// Open streams a blob from an offset in bytes. Read from 0 to its end, it is verified: the read that would return io.EOF returns a
// fault.DataLoss if the content does not match. Errors: fault.Invalid, fault.NotFound.
func (s *Store) Open(ctx context.Context, digest string, offset uint64) (io.ReadCloser, error) {
	if err := ident.CheckDigest(digest); err != nil {
		return nil, err
	}
	r, err := s.bucket.NewRangeReader(ctx, key(digest), int64(offset), -1, nil)
	if err != nil && offset > 0 && gcerrors.Code(err) != gcerrors.NotFound {
		// A bucket refuses to read from the end on.
		if size, serr := s.Size(ctx, digest); serr == nil && offset >= size {
			return io.NopCloser(strings.NewReader("")), nil
		}
	}
	if err != nil {
		return nil, named(digest, err)
	}
	if offset > 0 {
		return r, nil
	}
	return &verifier{ReadCloser: r, digest: digest, hash: sha256.New()}, nil
}

// ReadAll returns a whole, verified blob of at most limit bytes. Errors: fault.Invalid, fault.NotFound, fault.DataLoss,
// fault.Exhausted over the limit.
func (s *Store) ReadAll(ctx context.Context, digest string, limit int64) (data []byte, err error) {
	r, err := s.Open(ctx, digest, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err = io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Exhausted, "blob %q: larger than %d bytes", digest, limit)
	}
	return data, nil
}

// Put stores what r gives, which must have the digest and size. It returns when the blob is synced. Storing a blob twice is no error.
// Errors: fault.Invalid where content and name don't match.
func (s *Store) Put(ctx context.Context, digest string, size uint64, r io.Reader) error {
	if err := ident.CheckDigest(digest); err != nil {
		return err
	}
	w, err := s.Create(ctx)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, io.LimitReader(r, int64(size)+1)); err != nil {
		return fmt.Errorf("blob %q: %w", digest, err)
	}
	return w.CommitAs(digest, size)
}

// LocalPath returns the path of the blob's file, which is not to be changed, where the store is a folder of this host and has it.
func (s *Store) LocalPath(digest string) (string, bool) {
	if s.root == "" || ident.CheckDigest(digest) != nil {
		return "", false
	}
	p := s.path(digest)
	if _, err := os.Stat(p); err != nil {
		return "", false
	}
	return p, true
}

// path is the file of a blob.
func (s *Store) path(digest string) string {
	return filepath.Join(s.root, filepath.FromSlash(key(digest)))
}

// key is "sha256/ab/ab...": two hex digits of folder keep folders small.
func key(digest string) string {
	h := strings.TrimPrefix(digest, "sha256:")
	return keyPrefix + h[:2] + "/" + h
}

const keyPrefix = "sha256/"

func named(digest string, err error) error {
	if gcerrors.Code(err) == gcerrors.NotFound {
		return missing(digest)
	}
	return stored("blob "+strconv.Quote(digest), err)
}

// stored names what an error is about, and gives it the kind that its cause has.
func stored(what string, err error) error {
	switch code := gcerrors.Code(err); {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Exhausted, "%s: the blob store's disk is full; free some space: %w", what, err)
	case code == gcerrors.ResourceExhausted:
		return fault.New(fault.Exhausted, "%s: %w", what, err)
	case code == gcerrors.PermissionDenied:
		return fault.New(fault.Unavailable, "%s: the bucket refuses the gateway's credentials: %w", what, err)
	case code == gcerrors.Internal, code == gcerrors.Unknown && isRemote(err):
		return fault.New(fault.Unavailable, "%s: the bucket does not answer: %w", what, err)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

func missing(digest string) error { return fault.New(fault.NotFound, "blob %q is not stored", digest) }

type verifier struct {
	io.ReadCloser
	digest string
	hash   hash.Hash
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.hash.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := "sha256:" + hex.EncodeToString(v.hash.Sum(nil)); got != v.digest {
			return n, fault.New(fault.DataLoss, "blob %q: the stored content's digest is %s", v.digest, got)
		}
		return n, err
	}
	if err != nil && strings.Contains(err.Error(), "checksum did not match") { // the bucket's own, which the driver checks first
		return n, fault.New(fault.DataLoss, "blob %q: %w", v.digest, err)
	}
	if err != nil {
		return n, named(v.digest, err)
	}
	return n, nil
}
