package cas_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
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

// parts are contents of files, padded to whole blocks, of sizes as they are in an image.
func parts(seed uint64, n int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([][]byte, n)
	for i := range out {
		size := 1 + r.IntN(8)
		if r.IntN(50) == 0 {
			size = 1 + r.IntN(900)
		}
		out[i] = make([]byte, size*4096)
		for block := 0; block < len(out[i]); block += 4096 {
			binary.LittleEndian.PutUint64(out[i][block:], r.Uint64())
		}
	}
	return out
}

func cut(files [][]byte) (content []byte, sizes []uint32) {
	c := cas.Cutter{}
	for _, f := range files {
		content = append(content, f...)
		c.Part(uint64(len(f)), crc32.ChecksumIEEE(f))
	}
	return content, c.Sizes()
}

func write(t *testing.T, s cas.Sink, files [][]byte) (*cas.Written, []byte) {
	t.Helper()
	content, sizes := cut(files)
	w, err := cas.Write(t.Context(), s, bytes.NewReader(content), sizes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w, content
}

func read(t *testing.T, s cas.Source, digest string) ([]byte, error) {
	t.Helper()
	m, err := cas.Load(t.Context(), s, digest)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = cas.Copy(t.Context(), s, m, &b)
	return b.Bytes(), err
}

func TestFilesShareTheirChunks(t *testing.T) {
	s := open(t)
	files := parts(1, 400)
	first, content := write(t, s, files)
	if got, err := read(t, s, first.File.Digest); err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(content), err)
	}
	again, _ := write(t, s, files)
	if diff := cmp.Diff(cas.Written{File: first.File, Chunks: first.Chunks}, *again); diff != "" {
		t.Error(diff)
	}
	// One file more in front, one changed in the middle, one less at the end.
	changed := append(append([][]byte{bytes.Repeat([]byte("n"), 4096)}, files[:200]...), parts(2, 1)...)
	changed = append(changed, files[201:399]...)
	second, _ := write(t, s, changed)
	t.Logf("%d of %d chunks are new", second.New, second.Chunks)
	if second.New > 8 {
		t.Errorf("%d of %d chunks are new", second.New, second.Chunks)
	}
}

func TestSizesOfChunks(t *testing.T) {
	_, sizes := cut(parts(3, 1000))
	var sum uint64
	for i, size := range sizes {
		sum += uint64(size)
		if size > cas.MaxChunk || size < 256<<10 && i != len(sizes)-1 && size%4096 != 0 {
			t.Errorf("chunk of %d bytes", size)
		}
	}
	if mean := sum / uint64(len(sizes)); mean < 400<<10 || mean > 1500<<10 {
		t.Errorf("%d bytes on average", mean)
	}
	c := cas.Cutter{}
	c.Part(4096, 1<<31)
	c.Part(2*cas.Piece+8192, 0)
	c.Part(8192, 1<<31)
	if diff := cmp.Diff([]uint32{4096, cas.Piece, cas.Piece, 8192, 8192}, c.Sizes()); diff != "" {
		t.Error(diff)
	}
}

func TestManifest(t *testing.T) {
	d := ident.Digest([]byte("x"))
	m := &cas.Manifest{
		Size: 3 << 20, Local: []cas.Range{{Offset: 0, Size: 1 << 20}, {Offset: 2 << 20, Size: 1 << 20}},
		Chunks: []cas.Chunk{{Digest: d, Size: 1 << 20}, {Digest: d, Size: 1 << 20}, {Digest: d, Size: 1 << 20}},
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := cas.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got, cmpopts.IgnoreUnexported(cas.Manifest{})); diff != "" {
		t.Error(diff)
	}
	if i, start := got.At(1<<20 + 7); i != 1 || start != 1<<20 {
		t.Errorf("At = %d, %d", i, start)
	}
	if !got.IsLocal(0) || got.IsLocal(1) || !got.IsLocal(2) {
		t.Error("local chunks are others")
	}
	for name, from := range map[string][2]string{
		"size": {`"size":3145728`, `"size":3145729`}, "digest": {d, "sha256:.."}, "format": {"file.1", "file.2"},
		"local": {`"offset":2097152`, `"offset":2097151`}, "field": {`"chunks"`, `"more":1,"chunks"`}, "overflow": {`"offset":0,`, `"offset":18446744073709551615,`},
	} {
		if _, err := cas.Decode([]byte(strings.Replace(string(data), from[0], from[1], 1))); !errors.Is(err, fault.DataLoss) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cas.Decode(append(data, '{')); !errors.Is(err, fault.DataLoss) {
		t.Errorf("more: %v", err)
	}
}

// TestManifestsThatCostTooMuch are those of a builder that means harm.
func TestManifestsThatCostTooMuch(t *testing.T) {
	d := ident.Digest([]byte("x"))
	chunks := func(n int, size uint32) *cas.Manifest {
		return &cas.Manifest{Size: uint64(n) * uint64(size), Chunks: slices.Repeat([]cas.Chunk{{Digest: d, Size: size}}, n)}
	}
	tiny, local := chunks(100_000, 1), chunks(65, cas.MaxChunk)
	local.Local = []cas.Range{{Size: local.Size}}
	for name, m := range map[string]*cas.Manifest{"chunks of a byte": tiny, "all in memory": local} {
		if _, err := m.Encode(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	local.Local = nil
	if _, err := local.Encode(); err != nil {
		t.Error(err)
	}
}

func TestRotIsNeverGivenOut(t *testing.T) {
	s := open(t)
	w, _ := write(t, s, parts(4, 500))
	m, err := cas.Load(t.Context(), s, w.File.Digest)
	if err != nil {
		t.Fatal(err)
	}
	path, _ := s.LocalPath(m.Chunks[1].Digest)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0, 0xff}, 77); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, w.File.Digest); !errors.Is(err, fault.DataLoss) {
		t.Errorf("rotten: %v", err)
	}
	if _, err := s.Remove(t.Context(), m.Chunks[1].Digest, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, s, w.File.Digest); !errors.Is(err, fault.NotFound) {
		t.Errorf("gone: %v", err)
	}
}

func TestConcurrentWriters(t *testing.T) {
	s := open(t)
	files := parts(5, 300)
	var wg sync.WaitGroup
	var names [8]string
	for i := range names {
		wg.Go(func() {
			w, _ := write(t, s, files)
			names[i] = w.File.Digest
		})
	}
	wg.Wait()
	for _, name := range names {
		if name != names[0] {
			t.Errorf("%s and %s", name, names[0])
		}
	}
	if _, err := read(t, s, names[0]); err != nil {
		t.Error(err)
	}
}

// roots are files and blobs that a test refers to.
type roots struct {
	mu   sync.Mutex
	list []cas.Root
	err  error
}

func (r *roots) Roots(_ context.Context, _ time.Time, add func(cas.Root) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, root := range r.list {
		if err := add(root); err != nil {
			return err
		}
	}
	return r.err
}

func (r *roots) add(root cas.Root) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, root)
}

func TestCollect(t *testing.T) {
	s := open(t)
	files := parts(6, 300)
	kept, content := write(t, s, files[:250])
	gone, _ := write(t, s, files[150:])
	r := &roots{list: []cas.Root{{Digest: kept.File.Digest, File: true}}}
	if done, err := cas.Collect(t.Context(), s, r, time.Now().Add(-time.Hour)); err != nil || done.Blobs != 0 {
		t.Errorf("within the grace: %+v, %v", done, err)
	}
	r.err = errors.New("database")
	if done, err := cas.Collect(t.Context(), s, r, time.Now().Add(time.Hour)); !errors.Is(err, r.err) || done.Blobs != 0 {
		t.Errorf("with unknown roots: %+v, %v", done, err)
	}
	r.err = nil
	done, err := cas.Collect(t.Context(), s, r, time.Now().Add(time.Hour))
	if err != nil || done.Blobs == 0 || done.Bytes == 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if got, err := read(t, s, kept.File.Digest); err != nil || !bytes.Equal(got, content) {
		t.Errorf("kept file: %v", err)
	}
	if _, err := cas.Load(t.Context(), s, gone.File.Digest); !errors.Is(err, fault.NotFound) {
		t.Errorf("other file: %v", err)
	}
	// A root that is not there may have had any chunks.
	r.add(cas.Root{Digest: gone.File.Digest, File: true})
	if _, err := s.Claim(t.Context(), kept.File.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := cas.Collect(t.Context(), s, r, time.Now().Add(time.Hour)); !errors.Is(err, fault.NotFound) {
		t.Errorf("with a lost root: %v", err)
	}
}

// TestCollectBesideAWriter has a store whose blobs are all old and unreferenced. While a collection removes them, a writer writes one of
// those files again: what it refers to afterwards is there.
func TestCollectBesideAWriter(t *testing.T) {
	s := open(t)
	file := append(parts(7, 50), parts(10, 50)...)
	for range 5 {
		_, _ = write(t, s, append(parts(7, 50), parts(11, 50)...))
		_, content := write(t, s, file)
		age(t, s, 2*time.Hour)
		r := &roots{}
		var wg sync.WaitGroup
		var name string
		wg.Go(func() {
			w, _ := write(t, s, file)
			name = w.File.Digest
			r.add(cas.Root{Digest: name, File: true})
		})
		wg.Go(func() {
			if _, err := cas.Collect(t.Context(), s, r, time.Now().Add(-time.Hour)); err != nil {
				t.Errorf("collect: %v", err)
			}
		})
		wg.Wait()
		if got, err := read(t, s, name); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("read: %v", err)
		}
	}
}

func TestClaimedIsSpared(t *testing.T) {
	s := open(t)
	w, _ := write(t, s, parts(7, 60))
	age(t, s, 2*time.Hour)
	if _, err := cas.Collect(t.Context(), claimed{s}, &roots{}, time.Now().Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	if _, err := read(t, s, w.File.Digest); err != nil {
		t.Error(err)
	}
}

// claimed is a store whose blobs are claimed just before a collection removes them.
type claimed struct{ *blob.Store }

func (c claimed) Remove(ctx context.Context, digest string, before time.Time) (bool, error) {
	if _, err := c.Claim(ctx, digest); err != nil {
		return false, err
	}
	return c.Store.Remove(ctx, digest, before)
}

// age makes all blobs of a store older.
func age(t *testing.T, s *blob.Store, by time.Duration) {
	t.Helper()
	err := s.List(t.Context(), func(e blob.Entry) error {
		path, ok := s.LocalPath(e.Digest)
		if !ok {
			return nil
		}
		then := time.Now().Add(-by)
		if err := os.Chtimes(path, then, then); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// failing is a sink that breaks after some blobs, as a process that dies does.
type failing struct {
	blobs *blob.Store
	left  atomic.Int64
}

func (f *failing) Add(ctx context.Context, data []byte) (payload.Ref, bool, error) {
	if has, err := f.blobs.Has(ctx, ident.Digest(data)); err != nil || !has && f.left.Add(-1) < 0 {
		return payload.Ref{}, false, errors.New("crash")
	}
	return f.blobs.Add(ctx, data)
}

func TestCrashBetweenSteps(t *testing.T) {
	s := open(t)
	files := parts(8, 250)
	content, sizes := cut(files)
	for n := range int64(len(sizes)) + 1 {
		f := &failing{blobs: s}
		f.left.Store(n)
		if n > 3 {
			f.left.Store(3) // what is there by then is not stored again
		}
		w, err := cas.Write(t.Context(), f, bytes.NewReader(content), sizes, nil)
		if err == nil {
			if got, err := read(t, s, w.File.Digest); err != nil || !bytes.Equal(got, content) {
				t.Errorf("after %d crashes: %v", n, err)
			}
			break
		}
		if n == int64(len(sizes)) {
			t.Errorf("after %d crashes: %v", n, err)
		}
	}
	// What writers left goes, and what is complete stays.
	w, _ := write(t, s, files)
	f := &failing{blobs: s}
	f.left.Store(2)
	other, otherSizes := cut(parts(9, 250))
	if _, err := cas.Write(t.Context(), f, bytes.NewReader(other), otherSizes, nil); err == nil {
		t.Fatal("no crash")
	}
	done, err := cas.Collect(t.Context(), s, &roots{list: []cas.Root{{Digest: w.File.Digest, File: true}}}, time.Now().Add(time.Hour))
	if err != nil || done.Blobs != 2 {
		t.Errorf("%+v, %v", done, err)
	}
}
