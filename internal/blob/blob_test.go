package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/s3test"
)

// store is a store to test, and where its blobs are as files.
type store struct {
	*blob.Store
	folder string // of sha256/, and claims/ of a bucket
}

// each runs a test with a folder and with a bucket.
func each(t *testing.T, f func(t *testing.T, s *store)) {
	t.Run("files", func(t *testing.T) {
		folder := t.TempDir()
		s, err := blob.Open(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		run(t, &store{s, folder}, f)
	})
	t.Run("s3", func(t *testing.T) {
		s3test.Setenv(t)
		server := s3test.Start(t, "bucket")
		s, err := blob.OpenBucket(t.Context(), server.BlobURL("bucket"), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		run(t, &store{s, filepath.Join(server.Folder, "bucket")}, f)
	})
}

func run(t *testing.T, s *store, f func(t *testing.T, s *store)) {
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	f(t, s)
}

// file is where a blob is.
func (s *store) file(digest string) string {
	h := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(s.folder, "sha256", h[:2], h)
}

func put(t *testing.T, s *store, content string) string {
	t.Helper()
	digest := ident.Digest([]byte(content))
	if err := s.Put(t.Context(), digest, uint64(len(content)), strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestStore(t *testing.T) { each(t, testStore) }

func testStore(t *testing.T, s *store) {
	digest := put(t, s, "hello, world")
	put(t, s, "hello, world") // twice is no error
	got, err := s.ReadAll(t.Context(), digest, 100)
	if err != nil || string(got) != "hello, world" {
		t.Fatalf("ReadAll = %q, %v", got, err)
	}
	r, err := s.Open(t.Context(), digest, 7)
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "world" {
		t.Errorf("from 7: %q, %v", rest, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n, err := s.Size(t.Context(), digest); err != nil || n != 12 {
		t.Errorf("Size = %d, %v", n, err)
	}
	if r, err = s.Open(t.Context(), digest, 12); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("from the end: %q, %v", rest, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if path, ok := s.LocalPath(digest); ok && path != s.file(digest) || !ok && strings.HasSuffix(t.Name(), "files") {
		t.Errorf("LocalPath = %q, %t", path, ok)
	}
}

func TestWriterNamesItsContent(t *testing.T) { each(t, testWriterNamesItsContent) }

func testWriterNamesItsContent(t *testing.T, s *store) {
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("x"), 20<<20) // in parts
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	ref, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	w.Abort() // after a commit: nothing
	if ref.Digest != ident.Digest(content) || ref.Size != 20<<20 {
		t.Errorf("ref = %+v", ref)
	}
	if ok, err := s.Has(t.Context(), ref.Digest); !ok || err != nil {
		t.Errorf("Has = %t, %v", ok, err)
	}
}

func TestRefusesWhatDoesNotMatch(t *testing.T) { each(t, testRefusesWhatDoesNotMatch) }

func testRefusesWhatDoesNotMatch(t *testing.T, s *store) {
	digest := ident.Digest([]byte("right"))
	for name, c := range map[string]struct {
		size    uint64
		content string
	}{"content": {5, "wrong"}, "too much": {5, "righter"}, "too little": {5, "rig"}} {
		err := s.Put(t.Context(), digest, c.size, strings.NewReader(c.content))
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ok, err := s.Has(t.Context(), digest); ok || err != nil {
		t.Errorf("Has = %t, %v", ok, err)
	}
	if _, err := s.Open(t.Context(), digest, 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("Open = %v", err)
	}
	if _, err := s.Open(t.Context(), "sha256:../../etc/passwd", 0); !errors.Is(err, fault.Invalid) {
		t.Errorf("Open of a path = %v", err)
	}
}

func TestRotIsFound(t *testing.T) { each(t, testRotIsFound) }

func testRotIsFound(t *testing.T, s *store) {
	digest := put(t, s, "precious")
	path := s.file(digest)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precarious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAll(t.Context(), digest, 100); !errors.Is(err, fault.DataLoss) {
		t.Errorf("ReadAll = %v", err)
	}
}

func TestOpenForgetsWhatWasStaged(t *testing.T) {
	dir := t.TempDir()
	s, err := blob.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	// The process dies here.
	if _, err := blob.Open(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir + "/staging")
	if err != nil || len(left) != 0 {
		t.Errorf("staging holds %v, %v", left, err)
	}
	w.Abort()
	for _, url := range []string{"relative/path", "s3://bucket", "file://", "gs://bucket"} {
		if _, err := blob.Open(context.Background(), url); !errors.Is(err, fault.Invalid) {
			t.Errorf("Open(%q) = %v", url, err)
		}
	}
}
