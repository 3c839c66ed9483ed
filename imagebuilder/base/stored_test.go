package base_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// blobs is a store as builders see it.
type blobs struct{ *blob.Store }

func (b blobs) Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	return b.Store.Open(ctx, ref.Digest, ref.Size)
}

// storeImage stores an image of one file.
func storeImage(t *testing.T, store *blob.Store, content string) payload.Ref {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "file", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))})
	if _, written := w.Write([]byte(content)); errors.Join(err, written, w.Close()) != nil {
		t.Fatal(err, written)
	}
	done, err := erofs.Store(t.Context(), erofs.Params{Tar: &b, Dir: t.TempDir(), Sink: store})
	if err != nil {
		t.Fatal(err)
	}
	return done.File
}

func TestStored(t *testing.T) {
	folder := t.TempDir()
	store, err := blob.Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	stored := base.NewStored(dir, 0, blobs{store}, erofs.ToTar)
	left := filepath.Join(dir, "0123.new")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := stored.Clean(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what was left is there: %v", err)
	}
	prepare := func(ref payload.Ref) (*base.Image, func() error) {
		img, release, err := stored.Prepare(t.Context(), ref, true, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		return img, release
	}
	one, other := storeImage(t, store, "one"), storeImage(t, store, "other")
	first, release := prepare(one)
	again, releaseAgain := prepare(one)
	if first.Digest != again.Digest || first.Dir != again.Dir {
		t.Errorf("%+v and then %+v", first, again)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	second, releaseSecond := prepare(other)
	if second.Digest == first.Digest {
		t.Error("another image is the same base")
	}
	// Nothing is kept that nobody uses, for the limit is 0.
	if err := releaseSecond(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(second.Dir); !os.IsNotExist(err) {
		t.Errorf("a base that nobody uses is there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(again.Dir, "index.json")); err != nil {
		t.Errorf("a base in use: %v", err)
	}
	if err := releaseAgain(); err != nil {
		t.Fatal(err)
	}
	nothing := payload.Ref{Digest: ident.Digest([]byte("nothing"))}
	if _, _, err := stored.Prepare(t.Context(), nothing, true, func(string) {}); !errors.Is(err, fault.NotFound) {
		t.Errorf("of an image that is not there: %v", err)
	}
}
