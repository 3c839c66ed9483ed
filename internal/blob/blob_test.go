package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func open(t *testing.T) *blob.Store {
	t.Helper()
	s, err := blob.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s *blob.Store, content string) string {
	t.Helper()
	digest := ident.Digest([]byte(content))
	if err := s.Put(t.Context(), digest, uint64(len(content)), strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestStore(t *testing.T) {
	s := open(t)
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
	path, ok := s.LocalPath(digest)
	if !ok {
		t.Fatal("no local path")
	}
	if !strings.Contains(path, "/sha256/"+digest[7:9]+"/"+digest[7:]) {
		t.Errorf("LocalPath = %q", path)
	}
}

func TestWriterNamesItsContent(t *testing.T) {
	s := open(t)
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("x"), 3<<20)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	ref, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	w.Abort() // after a commit: nothing
	if ref.Digest != ident.Digest(content) || ref.Size != 3<<20 {
		t.Errorf("ref = %+v", ref)
	}
	if ok, err := s.Has(t.Context(), ref.Digest); !ok || err != nil {
		t.Errorf("Has = %t, %v", ok, err)
	}
}

func TestRefusesWhatDoesNotMatch(t *testing.T) {
	s := open(t)
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

func TestRotIsFound(t *testing.T) {
	s := open(t)
	digest := put(t, s, "precious")
	path, _ := s.LocalPath(digest)
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
	for _, url := range []string{"relative/path", "s3://bucket", "file://"} {
		if _, err := blob.Open(context.Background(), url); !errors.Is(err, fault.Invalid) {
			t.Errorf("Open(%q) = %v", url, err)
		}
	}
}
