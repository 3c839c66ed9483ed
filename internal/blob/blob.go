// Package blob keeps immutable bytes under the digest of their content.
//
// A blob is staged in a local folder, checked, synced, and only then put under its name, so a name in the store always means whole
// content, whatever crashed when. Reading verifies: the last Read of a whole blob fails with fault.DataLoss where bytes have rotted.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
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
	root    string // folder of a file store; else empty
	staging string
	// Held for writing where a blob's time is compared and the blob then removed, for reading where it gets a new time.
	times sync.RWMutex
}

// Open opens the store at a URL: a folder's absolute path or "file:///folder", which is made if missing.
func Open(ctx context.Context, rawURL string) (*Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fault.New(fault.Invalid, "blob store %q: %w", rawURL, err)
	}
	if u.Scheme != "" && u.Scheme != "file" {
		return nil, fault.New(fault.Invalid, "blob store %q: only folders are supported; give an absolute path", rawURL)
	}
	if !filepath.IsAbs(u.Path) {
		return nil, fault.New(fault.Invalid, "blob store %q: want an absolute path", rawURL)
	}
	return openFiles(u.Path)
}

func openFiles(root string) (*Store, error) {
	staging := filepath.Join(root, "staging")
	// What is staged belongs to writers of a process that is gone.
	if err := os.RemoveAll(staging); err != nil {
		return nil, fmt.Errorf("blob store %q: %w", root, err)
	}
	if err := os.MkdirAll(staging, 0o700); err != nil {
		return nil, fmt.Errorf("blob store %q: %w", root, err)
	}
	if err := makeFolders(root); err != nil {
		return nil, fmt.Errorf("blob store %q: %w", root, err)
	}
	bucket, err := fileblob.OpenBucket(root, &fileblob.Options{Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700, NoTempDir: true})
	if err != nil {
		return nil, fmt.Errorf("blob store %q: %w", root, err)
	}
	return &Store{bucket: bucket, root: root, staging: staging}, nil
}

// makeFolders makes the folders of blobs, so that a commit need not see to it that they last.
func makeFolders(root string) error {
	top := filepath.Join(root, filepath.FromSlash(keyPrefix))
	if err := os.MkdirAll(top, 0o700); err != nil {
		return err
	}
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(top, fmt.Sprintf("%02x", i)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errors.Join(syncDir(top), syncDir(root))
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
		return false, fmt.Errorf("blob %q: %w", digest, err)
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
	return fmt.Errorf("blob %q: %w", digest, err)
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
	}
	return n, err
}
