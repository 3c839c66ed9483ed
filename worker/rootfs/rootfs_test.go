package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// origin is a source in memory that counts.
type origin struct {
	blobs map[string][]byte
	trees map[string][]File
	opens atomic.Int32
	gate  chan struct{} // if not nil, Open waits for it
}

func newOrigin() *origin { return &origin{blobs: map[string][]byte{}, trees: map[string][]File{}} }

func (o *origin) blob(content string) payload.Ref {
	ref := payload.Ref{Digest: ident.Digest([]byte(content)), Size: uint64(len(content))}
	o.blobs[ref.Digest] = []byte(content)
	return ref
}

func (o *origin) tree(name string, files map[string]string) string {
	digest := ident.Digest([]byte(name))
	for path, content := range files {
		mode := os.FileMode(0o644)
		if filepath.Ext(path) == ".sh" {
			mode = 0o755
		}
		o.trees[digest] = append(o.trees[digest], File{Path: path, Blob: o.blob(content), Mode: mode})
	}
	return digest
}

func (o *origin) Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	o.opens.Add(1)
	if o.gate != nil {
		select {
		case <-o.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b, ok := o.blobs[ref.Digest]
	if !ok {
		return nil, fault.New(fault.NotFound, "blob %q", ref.Digest)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (o *origin) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	r, err := o.Open(ctx, payload.Ref{Digest: digest})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, limit))
}

// image is an image that is one blob.
func image(ref payload.Ref) container.Image { return container.Image{Ref: ref} }

func (o *origin) Tree(_ context.Context, digest string) ([]File, error) {
	if t, ok := o.trees[digest]; ok {
		return t, nil
	}
	return nil, fault.New(fault.NotFound, "tree %q", digest)
}

func open(t *testing.T, o *origin, limit uint64) *Store {
	t.Helper()
	s, err := Open(Config{Dir: t.TempDir(), Source: o, CacheBytes: limit})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestImageIsFetchedOnce(t *testing.T) {
	o := newOrigin()
	o.gate = make(chan struct{})
	s, ref := open(t, o, 0), image(o.blob("image"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			path, release, err := s.Image(t.Context(), ref)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if content(t, path) != "image" {
				t.Error("wrong content")
			}
		})
	}
	close(o.gate)
	wg.Wait()
	if n := o.opens.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestOthersGoOnWhenTheFetcherIsCancelled(t *testing.T) {
	o := newOrigin()
	o.gate = make(chan struct{})
	s, ref := open(t, o, 0), image(o.blob("image"))
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, _, err := s.Image(ctx, ref)
		first <- err
	}()
	second := make(chan error, 1)
	go func() {
		_, _, err := s.Image(t.Context(), ref)
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
	close(o.gate)
	if err := <-second; err != nil {
		t.Errorf("second: %v", err)
	}
}

func TestWrongContentIsRefused(t *testing.T) {
	o := newOrigin()
	s, ref := open(t, o, 0), image(o.blob("right"))
	o.blobs[ref.Digest] = []byte("wrong")
	if _, _, err := s.Image(t.Context(), ref); !errors.Is(err, fault.DataLoss) {
		t.Fatalf("got %v", err)
	}
	o.blobs[ref.Digest] = []byte("right")
	if _, _, err := s.Image(t.Context(), ref); err != nil {
		t.Fatalf("again: %v", err)
	}
}

func TestEviction(t *testing.T) {
	o := newOrigin()
	s := open(t, o, 20)
	a, b, c := image(o.blob("aaaaaa")), image(o.blob("bbbbbb")), image(o.blob("cccccc"))
	pathA, releaseA, err := s.Image(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	pathB, releaseB, err := s.Image(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if content(t, pathA) != "aaaaaa" || content(t, pathB) != "bbbbbb" {
		t.Error("what is in use was removed")
	}
	releaseA()
	releaseB()
	if _, _, err := s.Image(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pathA, pathB} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

func TestMounts(t *testing.T) {
	o := newOrigin()
	s := open(t, o, 0)
	whole := o.tree("whole", map[string]string{"a.py": "a", "pkg/b.py": "b", "pkg/sub/c.py": "c", "run.sh": "sh"})
	over := o.tree("over", map[string]string{"b.py": "newer b", "d.py": "d"})
	single := o.tree("single", map[string]string{".": "one file"})
	binds, release, err := s.Mounts(t.Context(), []container.Mount{
		{RemotePath: "/root/pkg", TreeDigest: over}, // hidden where the later, wider mount has the same file
		{RemotePath: "/root", TreeDigest: whole},
		{RemotePath: "/root/pkg/sub", TreeDigest: over},
		{RemotePath: "/root/a.py", TreeDigest: single},
		{RemotePath: "/rooted", TreeDigest: single},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	at := map[string]string{}
	for _, b := range binds {
		at[b.Target] = b.Source
	}
	if len(at) != 2 || content(t, at["/rooted"]) != "one file" {
		t.Fatalf("binds %v", binds)
	}
	for path, want := range map[string]string{
		"a.py": "one file", "pkg/b.py": "b", "pkg/d.py": "d", "pkg/sub/b.py": "newer b", "pkg/sub/c.py": "c", "run.sh": "sh",
	} {
		if got := content(t, filepath.Join(at["/root"], path)); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(at["/root"], "run.sh")); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("run.sh: %v %v", info.Mode(), err)
	}
}

func TestTreeMayNotLeave(t *testing.T) {
	o := newOrigin()
	s := open(t, o, 0)
	for _, path := range []string{"../x", "/x", "a/../../x", ""} {
		digest := o.tree("bad "+path, map[string]string{path: "x", "ok": "y"})
		_, _, err := s.Mounts(t.Context(), []container.Mount{{RemotePath: "/root", TreeDigest: digest}})
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestCacheOutlivesTheProcess(t *testing.T) {
	o := newOrigin()
	dir, ref := t.TempDir(), image(o.blob("image"))
	tree := o.tree("tree", map[string]string{"a.py": "print()"})
	open := func() {
		s, err := Open(Config{Dir: dir, Source: o})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Image(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.tree(t.Context(), tree); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		open()
	}
	if n := o.opens.Load(); n != 2 {
		t.Errorf("fetched %d times", n)
	}
	// What was written before the host was started again may be damaged.
	if err := os.WriteFile(filepath.Join(dir, "boot"), []byte("an earlier one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		open()
	}
	if n := o.opens.Load(); n != 4 {
		t.Errorf("fetched %d times in all", n)
	}
}

// TestChunkedImage puts an image together once, and not at all where the builder handed it over.
func TestChunkedImage(t *testing.T) {
	o := newOrigin()
	chunks := []payload.Ref{o.blob("one "), o.blob("two "), o.blob("three")}
	m := &cas.Manifest{Size: 13, Local: []cas.Range{}}
	for _, c := range chunks {
		m.Chunks = append(m.Chunks, cas.Chunk{Digest: c.Digest, Size: uint32(c.Size)})
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	chunked := container.Image{Ref: payload.Ref{Digest: o.blob(string(data)).Digest, Size: 13}, Chunked: true}
	s := open(t, o, 0)
	for range 2 {
		path, release, err := s.Image(t.Context(), chunked)
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != "one two three" {
			t.Errorf("content %q", got)
		}
		release()
	}
	if n := o.opens.Load(); n != 4 {
		t.Errorf("fetched %d blobs", n)
	}
	wrong := chunked
	wrong.Size = 12
	if _, _, err := open(t, o, 0).Image(t.Context(), wrong); !errors.Is(err, fault.DataLoss) {
		t.Errorf("another size: %v", err)
	}
	dir := t.TempDir()
	built := filepath.Join(dir, "built")
	if err := os.WriteFile(built, []byte("one two three"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := Open(Config{Dir: filepath.Join(dir, "cache"), Source: newOrigin()})
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Keep(built, chunked.Ref); err != nil {
		t.Fatal(err)
	}
	path, _, err := kept.Image(t.Context(), chunked)
	if err != nil || content(t, path) != "one two three" {
		t.Errorf("kept: %v", err)
	}
}
