package erofs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
)

func dir(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

func hidden(name string) entry {
	e := dir(name)
	e.PAXRecords = map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}
	return e
}

func gone(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeChar, Mode: 0o644}}
}

// restricted is an image's file that lets nobody read contents.
type restricted struct {
	*testing.T
	data  []byte
	files cas.Range
}

func (r restricted) ReadAt(b []byte, at int64) (int, error) {
	if uint64(at) < r.files.Offset+r.files.Size && uint64(at)+uint64(len(b)) > r.files.Offset { //nolint:gosec // of a test
		r.Errorf("contents are read: %d bytes at %d", len(b), at)
	}
	return bytes.NewReader(r.data).ReadAt(b, at)
}

// whole returns an image and its manifest.
func whole(t *testing.T, s *blob.Store, image *cas.Written) ([]byte, *cas.Manifest) {
	t.Helper()
	m, err := cas.Load(t.Context(), s, image.File.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := cas.Copy(t.Context(), s, m, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), m
}

func layerParams(t *testing.T, s *blob.Store, base *cas.Written, upper []byte) erofs.LayerParams {
	t.Helper()
	data, m := whole(t, s, base)
	return erofs.LayerParams{
		Base:     restricted{t, data, cas.Range{Offset: 4096, Size: m.Local[1].Offset - 4096}},
		Manifest: m, Dir: t.TempDir(), Sink: s,
		Upper: erofs.Entries(bytes.NewReader(upper)),
	}
}

func layer(t *testing.T, s *blob.Store, base *cas.Written, upper []entry) *cas.Written {
	t.Helper()
	w, err := erofs.Layer(t.Context(), layerParams(t, s, base, archive(t, upper)))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// same compares what an image holds with a file system.
func same(t *testing.T, s *blob.Store, image *cas.Written, want []entry) {
	t.Helper()
	data, _ := whole(t, s, image)
	path := filepath.Join(t.TempDir(), "layered.erofs")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "fsck.erofs", path).CombinedOutput(); err != nil {
		t.Errorf("fsck.erofs: %v: %s", err, out)
	}
	var back bytes.Buffer
	if err := erofs.ToTar(t.Context(), bytes.NewReader(data), &back); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(write(t, back.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	expected, err := os.ReadFile(write(t, archive(t, want)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, expected) {
		t.Errorf("it holds another file system: %d names, want %d", names(t, got), names(t, expected))
	}
}

func TestLayer(t *testing.T) {
	s := openStore(t)
	base := []entry{
		dir("./"), dir("a/"), file("a/kept", "k"), file("a/removed", "r"), file("a/changed", "old"), file("a/file-to-dir", "f"),
		dir("a/dir-to-file/"), file("a/dir-to-file/x", "x"), dir("a/hides/"), file("a/hides/below", "b"), file("a/big", strings.Repeat("B", 2_500_000)),
		file("linked", "l"), {Header: tar.Header{Name: "second", Typeflag: tar.TypeLink, Linkname: "linked"}}, dir("mnt/"), file("mnt/below", "b"),
		{Header: tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "a"}}, {Header: tar.Header{Name: "loop", Typeflag: tar.TypeSymlink, Linkname: "/loop"}},
		{Header: tar.Header{Name: "a/back", Typeflag: tar.TypeSymlink, Linkname: "../link/.."}},
	}
	moved := dir("a/")
	moved.Mode, moved.Uid = 0o700, 5
	upper := []entry{
		dir("./"), moved, gone("./a/removed"), file("./a/changed", "new"), gone("./a/file-to-dir"), hidden("./a/file-to-dir/"), file("./a/file-to-dir/in", "i"),
		file("./a/dir-to-file", "d"), hidden("./a/hides/"), file("./a/hides/above", "a"), file("./a/larger", strings.Repeat("L", 1_200_000)),
		{Header: tar.Header{Name: "./a/also", Typeflag: tar.TypeLink, Linkname: "./a/changed"}}, gone("./second"),
		{Header: tar.Header{Name: "./linked", Typeflag: tar.TypeLink, Linkname: "./second"}}, dir("./__skerry/"), file("./__skerry/x", "y"),
		file("./mnt/below", "seen by nobody"), {Header: tar.Header{Name: "./null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
	}
	p := layerParams(t, s, store(t, s, base), archive(t, upper))
	p.Leave = []string{"/__skerry", "/mnt"}
	kept := 0
	p.Keep = func(_ context.Context, chunks []cas.Chunk) error {
		kept = len(chunks)
		return nil
	}
	done, err := erofs.Layer(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	same(t, s, done, []entry{
		dir("./"), moved, file("a/kept", "k"), file("a/changed", "new"), dir("a/file-to-dir/"), file("a/file-to-dir/in", "i"), file("a/dir-to-file", "d"),
		dir("a/hides/"), file("a/hides/above", "a"), file("a/big", strings.Repeat("B", 2_500_000)), file("a/larger", strings.Repeat("L", 1_200_000)),
		dir("mnt/"), file("mnt/below", "b"), {Header: tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "a"}},
		{Header: tar.Header{Name: "loop", Typeflag: tar.TypeSymlink, Linkname: "/loop"}}, {Header: tar.Header{Name: "a/back", Typeflag: tar.TypeSymlink, Linkname: "../link/.."}},
		{Header: tar.Header{Name: "a/also", Typeflag: tar.TypeLink, Linkname: "a/changed"}}, {Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
	})
	if kept == 0 {
		t.Error("no chunk was kept")
	}

	// A folder of it, on which nothing from above it depends.
	p.Root, p.Upper = "/a/file-to-dir", layerParams(t, s, store(t, s, base), archive(t, upper)).Upper
	if done, err = erofs.Layer(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	same(t, s, done, []entry{dir("./"), file("in", "i")})
	if done.File.Size > 3*4096 {
		t.Errorf("one small file is an image of %d bytes", done.File.Size)
	}
	for _, name := range []string{"/link/file-to-dir", "/a/../link/./hides/../file-to-dir/", "a/back/a/file-to-dir", "/../../a/file-to-dir"} {
		p = layerParams(t, s, store(t, s, base), archive(t, upper))
		p.Root = name
		if again, err := erofs.Layer(t.Context(), p); err != nil || again.File != done.File {
			t.Errorf("root %s: %v, %v", name, again, err)
		}
	}
	for _, name := range []string{"/a/kept", "/none", "/loop", "/a/kept/x"} {
		p = layerParams(t, s, store(t, s, base), archive(t, upper))
		p.Root = name
		if _, err = erofs.Layer(t.Context(), p); fault.KindOf(err) != fault.NotFound {
			t.Errorf("root %s: %v", name, err)
		}
	}
}

// TestLayerOnHard: an image with all that is hard about the format is read back as it was, and again from what came of that.
func TestLayerOnHard(t *testing.T) {
	s := openStore(t)
	base := append(hard(), file("etc/caf\xe9/latin\xe9", "not UTF-8"))
	one := layer(t, s, store(t, s, base), []entry{file("new", "n")})
	two := layer(t, s, one, []entry{file("etc/newer", "n"), gone("new")})
	same(t, s, two, append(base, file("etc/newer", "n")))
}

// TestLayerCosts: what is stored is what is new, whatever the order it comes in, and what no file is in is left out.
func TestLayerCosts(t *testing.T) {
	s := openStore(t)
	all := system(2000)
	base := store(t, s, all)
	upper := []entry{file("opt/another", strings.Repeat("another", 1<<18))}
	for i := range 200 {
		upper = append(upper, file(fmt.Sprintf("opt/few/%d", i), fmt.Sprint("few", i)))
	}
	first := layer(t, s, base, upper)
	if first.NewBytes > 4<<20 {
		t.Errorf("%d bytes are new", first.NewBytes)
	}
	rand.New(rand.NewPCG(2, 2)).Shuffle(len(upper), func(i, j int) { upper[i], upper[j] = upper[j], upper[i] })
	if again := layer(t, s, base, upper); again.File != first.File || again.New != 0 {
		t.Errorf("another order: %+v, want %+v and nothing new", again, first)
	}
	large := uint64(3_500_000)
	if without := layer(t, s, base, []entry{gone("opt/large"), gone("lib/000")}); without.File.Size > base.File.Size-large+4096 {
		t.Errorf("%d bytes without a file of %d, %d with it", without.File.Size, large, base.File.Size)
	}
	// A file with a hole costs what is in it.
	holes := layer(t, s, base, []entry{file("holes", strings.Repeat("\x00", 40<<20)+"end")})
	if holes.NewBytes > 12<<20 { // several may find at once that a chunk of zeros is new
		t.Errorf("a hole of 40 MiB is %d new bytes", holes.NewBytes)
	}
}

func TestLayerRefuses(t *testing.T) {
	s := openStore(t)
	base := store(t, s, []entry{dir("./"), file("f", "f")})
	for name, c := range map[string]struct {
		upper []entry
		kind  *fault.Kind
	}{
		"a file as a folder":       {[]entry{file("f/x", "x")}, fault.Invalid},
		"a link to nothing":        {[]entry{{Header: tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../none"}}}, fault.Invalid},
		"more than is allowed":     {[]entry{file("large", strings.Repeat("x", 1<<20+1))}, fault.Exhausted},
		"a name that is too long":  {[]entry{file(strings.Repeat("n", 256), "x")}, fault.Invalid},
		"a whiteout in a file":     {[]entry{gone("f/x")}, fault.Invalid},
		"an entry of another kind": {[]entry{{Header: tar.Header{Name: "x", Typeflag: 'Z'}}}, fault.Invalid},
	} {
		p := layerParams(t, s, base, archive(t, c.upper))
		p.MaxBytes = 1 << 20
		if _, err := erofs.Layer(t.Context(), p); fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Names that lead out lead to the root.
	same(t, s, layer(t, s, base, []entry{file("../../out", "x")}), []entry{dir("./"), file("f", "f"), file("out", "x")})
	p := layerParams(t, s, base, nil)
	p.Upper = func(context.Context, erofs.Take) error { return fault.New(fault.Unavailable, "gone") }
	if _, err := erofs.Layer(t.Context(), p); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a layer that can't be had: %v", err)
	}
	// Metadata that is no metadata of ours is refused, whatever is wrong with it.
	data, m := whole(t, s, base)
	r := rand.New(rand.NewPCG(3, 3))
	for range 150 {
		bad := bytes.Clone(data)
		for range 1 + r.IntN(3) {
			at := m.Local[1].Offset + r.Uint64N(200)
			bad[at] ^= 1 << r.IntN(8)
		}
		p := layerParams(t, s, base, archive(t, []entry{file("new", "n")}))
		p.Base = bytes.NewReader(bad)
		_, _ = erofs.Layer(t.Context(), p) // no panic
	}
}
