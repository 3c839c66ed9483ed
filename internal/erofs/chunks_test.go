package erofs_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	reader "github.com/erofs/go-erofs"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/payload"
)

// system is a file system in the order of its paths: folders of small files, and a large one.
func system(small int) []entry {
	r := rand.New(rand.NewPCG(1, 1))
	content := func(n int) string {
		b := make([]byte, n)
		for i := 0; i+8 <= n; i += 512 {
			binary.LittleEndian.PutUint64(b[i:], r.Uint64())
		}
		return string(b)
	}
	var out []entry
	for i := range small {
		out = append(out, file(fmt.Sprintf("lib/%03d/%d", i/20, i%20+10), content(100+i*37%20_000)))
	}
	return append(out, file("opt/large", content(3_500_000)), file("opt/small", "s"))
}

func store(t *testing.T, s *blob.Store, entries []entry) *cas.Written {
	t.Helper()
	w, err := erofs.Store(t.Context(), erofs.Params{Tar: bytes.NewReader(archive(t, entries)), Dir: t.TempDir(), Sink: s})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func openStore(t *testing.T) *blob.Store {
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

// TestSameFilesSameImage builds twice, the second time with the entries of the tar in another order, and once more with names that came
// with other contents before.
func TestSameFilesSameImage(t *testing.T) {
	s, entries := openStore(t), append(hard(), system(200)...)
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.Name == "etc/twice" || e.Typeflag == tar.TypeLink })
	first := store(t, s, entries)
	shuffled := slices.Clone(entries)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	again := append([]entry{file("opt/large", "before"), file("lib/000/15", strings.Repeat("before", 10_000))}, entries...)
	for name, other := range map[string][]entry{"the same": entries, "another order": shuffled, "names twice": again} {
		if got := store(t, s, other); got.File != first.File || got.New != 0 {
			t.Errorf("%s: %+v, want %+v", name, got, first)
		}
	}
}

func TestImagesShareChunks(t *testing.T) {
	s := openStore(t)
	first := store(t, s, system(2000))
	more := store(t, s, append(system(2000), file("bin/tool", "new"), file("lib/050/new.py", "new"), file("zz/huge", strings.Repeat("z", 2<<20))))
	t.Logf("%d of %d chunks are new, %d of %d bytes", more.New, more.Chunks, more.NewBytes, more.File.Size)
	// Superblock and metadata, a chunk for each place with something new, and one piece twice.
	if more.New > 8 || first.New != first.Chunks {
		t.Errorf("%+v after %+v", more, first)
	}
}

func TestWholeFileOfChunks(t *testing.T) {
	s, entries := openStore(t), append(hard(), system(300)...)
	kept := filepath.Join(t.TempDir(), "kept")
	var named payload.Ref
	w, err := erofs.Store(t.Context(), erofs.Params{
		Tar: bytes.NewReader(archive(t, entries)), Dir: t.TempDir(), Sink: s,
		Keep: func(path string, image payload.Ref) {
			named = image
			if err := os.Rename(path, kept); err != nil {
				t.Error(err)
			}
		},
	})
	if err != nil || w.File != named {
		t.Fatalf("%+v, %+v, %v", w, named, err)
	}
	m, err := cas.Load(t.Context(), s, w.File.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := cas.Copy(t.Context(), s, m, &whole); err != nil {
		t.Fatal(err)
	}
	if file, err := os.ReadFile(kept); err != nil || !bytes.Equal(file, whole.Bytes()) {
		t.Errorf("the kept file differs from the chunks: %v", err)
	}
	img, err := reader.Open(bytes.NewReader(whole.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	f, err := img.Open("opt/large")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	// What isn't contents is local: the rest of the file, bytes swapped, still lists all names.
	spoilt := bytes.Repeat([]byte{0xa5}, whole.Len())
	for _, r := range m.Local {
		copy(spoilt[r.Offset:r.Offset+r.Size], whole.Bytes()[r.Offset:])
	}
	if got, want := names(t, spoilt), names(t, whole.Bytes()); got != want || got < 7000 {
		t.Errorf("%d names, want %d", got, want)
	}
}

// sample is the tar that benchmarks use: small files and large ones.
func sample() []byte {
	entries := system(4000)
	for range 20 {
		entries = append(entries, file(fmt.Sprintf("zbig/%d", len(entries)), strings.Repeat(fmt.Sprint(len(entries)), 2<<20)))
	}
	return archive(&testing.T{}, entries)
}

func BenchmarkStore(b *testing.B) {
	data := sample()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		s, err := blob.Open(b.Context(), b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := erofs.Store(b.Context(), erofs.Params{Tar: bytes.NewReader(data), Dir: b.TempDir(), Sink: s}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMkfs is the floor of BenchmarkStore: mkfs.erofs makes a file of the same files, which it reads from a folder, and stores nothing.
func BenchmarkMkfs(b *testing.B) {
	data, tree := sample(), b.TempDir()
	unpack := exec.CommandContext(b.Context(), "tar", "-x", "-C", tree)
	unpack.Stdin = bytes.NewReader(data)
	if out, err := unpack.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		out := filepath.Join(b.TempDir(), "image.erofs")
		if text, err := exec.CommandContext(b.Context(), "mkfs.erofs", "-Enoinline_data", out, tree).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, text)
		}
	}
}
