package snapshot_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/snapshot"
)

// blobs is a real store that counts.
type blobs struct {
	*blob.Store
	stored  atomic.Int64
	claimed atomic.Int64
}

func (b *blobs) Claim(ctx context.Context, digest string) error {
	b.claimed.Add(1)
	_, err := b.Store.Claim(ctx, digest)
	return err
}

func (b *blobs) Add(ctx context.Context, data []byte) (payload.Ref, bool, error) {
	ref, stored, err := b.Store.Add(ctx, data)
	if stored {
		b.stored.Add(int64(len(data)))
	}
	return ref, stored, err
}

func openBlobs(t *testing.T) *blobs {
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
	return &blobs{Store: s}
}

func open(t *testing.T, dir, runtime string, b *blobs) *snapshot.Store {
	t.Helper()
	s, err := snapshot.Open(snapshot.Config{Dir: dir, Blobs: b, Runtime: runtime})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// save writes files as a checkpoint does.
func save(files map[string]string) func(context.Context, string) error {
	return func(_ context.Context, dir string) (err error) {
		for name, content := range files {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		}
		return err
	}
}

// contents reads the files of a snapshot.
func contents(t *testing.T, s *snapshot.Store, id, manifest string) map[string]string {
	t.Helper()
	dir, release, err := s.Dir(t.Context(), id, manifest)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{"checkpoint.img", "pages.img", "pages_meta.img"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(data)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	return got
}

func TestMemory(t *testing.T) {
	b, dir := openBlobs(t), t.TempDir()
	s := open(t, dir, "v1", b)
	want := map[string]string{"checkpoint.img": strings.Repeat("state", 1000), "pages.img": strings.Repeat("page", 800_000), "pages_meta.img": ""}
	size, err := s.Keep(t.Context(), "sn-1", 100, save(want))
	if err != nil || size != 5000+3_200_000 {
		t.Fatalf("size %d, %v", size, err)
	}
	if _, err := s.Keep(t.Context(), "sn-1", 100, save(want)); fault.KindOf(err) != fault.Exists {
		t.Errorf("kept twice: %v", err)
	}
	if _, err := s.Keep(t.Context(), "sn-2", 1<<60, save(want)); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("more than there is room for: %v", err)
	}
	if _, err := s.Keep(t.Context(), "../x", 0, save(want)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a path: %v", err)
	}
	failed := errors.New("no")
	if _, err := s.Keep(t.Context(), "sn-3", 0, func(context.Context, string) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a checkpoint that failed: %v", err)
	}
	s = open(t, dir, "v1", b) // after a restart
	if ids, err := s.List(); err != nil || !cmp.Equal(ids, []string{"sn-1"}) {
		t.Errorf("kept: %v, %v", ids, err)
	}
	if diff := cmp.Diff(want, contents(t, s, "sn-1", "")); diff != "" {
		t.Error("another content")
	}
	manifest, err := s.Store(t.Context(), "sn-1")
	if err != nil {
		t.Fatal(err)
	}
	// One that differs in its state costs that alone.
	want["checkpoint.img"] = strings.Repeat("other", 2000)
	if _, err := s.Keep(t.Context(), "sn-4", 100, save(want)); err != nil {
		t.Fatal(err)
	}
	before := b.stored.Load()
	second, err := s.Store(t.Context(), "sn-4")
	if err != nil {
		t.Fatal(err)
	}
	if cost := b.stored.Load() - before; cost > 10_000+4096+2000 {
		t.Errorf("the second snapshot costs %d bytes", cost)
	}

	// Another worker has them from the store, if it has the same runtime.
	there := open(t, t.TempDir(), "v1", b)
	for range 2 {
		if diff := cmp.Diff(want, contents(t, there, "sn-4", second)); diff != "" {
			t.Error("another content from the store")
		}
	}
	if got := contents(t, there, "sn-1", manifest); got["checkpoint.img"] != strings.Repeat("state", 1000) {
		t.Error("another content from the store")
	}
	if _, _, err := there.Dir(t.Context(), "sn-1", ""); fault.KindOf(err) != fault.NotFound {
		t.Errorf("one that is nowhere: %v", err)
	}
	if _, _, err := open(t, t.TempDir(), "v2", b).Dir(t.Context(), "sn-1", manifest); fault.KindOf(err) != fault.Precondition {
		t.Errorf("with another runtime: %v", err)
	}
}

func TestDropWhileInUse(t *testing.T) {
	s := open(t, t.TempDir(), "v1", openBlobs(t))
	if _, err := s.Keep(t.Context(), "sn-1", 0, save(map[string]string{"a.img": "a"})); err != nil {
		t.Fatal(err)
	}
	dir, release, err := s.Dir(t.Context(), "sn-1", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drop("sn-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.img")); err != nil {
		t.Errorf("it is gone while it is used: %v", err)
	}
	if _, _, err := s.Dir(t.Context(), "sn-1", ""); fault.KindOf(err) != fault.NotFound {
		t.Errorf("used after it was dropped: %v", err)
	}
	if err := errors.Join(release(), release()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it stays: %v", err)
	}
	if err := s.Drop("sn-1"); err != nil {
		t.Errorf("dropped twice: %v", err)
	}
}

// TestStoredIsNoSnapshot: what the store has may be anything.
func TestStoredIsNoSnapshot(t *testing.T) {
	b := openBlobs(t)
	s := open(t, t.TempDir(), "v1", b)
	for name, parts := range map[string][]string{
		"nothing":        {},
		"another file":   {strings.Repeat("x", 4096)},
		"a path":         {`{"format":"skerry.memory.1","runtime":"v1","files":[{"name":"../x.img","size":1}]}`, "x"},
		"a negative one": {`{"format":"skerry.memory.1","runtime":"v1","files":[{"name":"x.img","size":-1}]}`},
		"a short one":    {`{"format":"skerry.memory.1","runtime":"v1","files":[{"name":"x.img","size":9}]}`, "x"},
		"names twice":    {`{"format":"skerry.memory.1","runtime":"v1","files":[{"name":"x.img","size":1},{"name":"x.img","size":1}]}`, "xx"},
		"across files":   {`{"format":"skerry.memory.1","runtime":"v1","files":[{"name":"x.img","size":1},{"name":"y.img","size":1}]}`, "xy"},
	} {
		var data []byte
		var sizes []uint32
		for i, part := range parts {
			if i == 0 {
				part += strings.Repeat(" ", 4096-len(part))
			}
			data, sizes = append(data, part...), append(sizes, uint32(len(part)))
		}
		w, err := cas.Write(t.Context(), b, bytes.NewReader(data), sizes, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Dir(t.Context(), "sn-1", w.File.Digest); fault.KindOf(err) != fault.DataLoss {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTree(t *testing.T) {
	b := openBlobs(t)
	s := open(t, t.TempDir(), "v1", b)
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	if err := w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "abc"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := s.Tree(t.Context(), &data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cas.Load(t.Context(), b, image.Digest); err != nil {
		t.Error(err)
	}
}
