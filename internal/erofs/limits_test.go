package erofs_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	reader "github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
)

// endless is zeros without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// again is the same data again and again.
type again struct {
	data []byte
	at   int
}

func (a *again) Read(p []byte) (int, error) {
	n := copy(p, a.data[a.at:])
	a.at = (a.at + n) % len(a.data)
	return n, nil
}

// TestLimits has tars that claim, or are, more than a builder's disk and the workers' memory can bear.
func TestLimits(t *testing.T) {
	t.Run("size", func(t *testing.T) {
		claim := archive(t, []entry{file("a", strings.Repeat("x", 3<<20))})[:512+3<<20]
		second := tar.Header{Name: "b", Typeflag: tar.TypeReg, Size: erofs.MaxSize - 2<<20, Format: tar.FormatPAX}
		var b bytes.Buffer
		if err := tar.NewWriter(&b).WriteHeader(&second); err != nil {
			t.Fatal(err)
		}
		refused(t, io.MultiReader(bytes.NewReader(claim), &b, endless{}), t.TempDir())
	})
	t.Run("number of files", func(t *testing.T) {
		var b bytes.Buffer
		link := tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("t", 4000), Format: tar.FormatGNU}
		if err := tar.NewWriter(&b).WriteHeader(&link); err != nil {
			t.Fatal(err)
		}
		refused(t, &again{data: b.Bytes()}, t.TempDir())
	})
	t.Run("disk", func(t *testing.T) {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256m"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		}()
		head := archive(t, []entry{file("a", "x")})[:1024]
		var b bytes.Buffer
		if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "b", Typeflag: tar.TypeReg, Size: 200 << 20}); err != nil {
			t.Fatal(err)
		}
		refused(t, io.MultiReader(bytes.NewReader(head), &b, endless{}), dir)
	})
}

func refused(t *testing.T, r io.Reader, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // nobody wants it
	if err := erofs.FromTar(t.Context(), r, f); !errors.Is(err, fault.Exhausted) {
		t.Errorf("got %v", err)
	}
}

// TestHolesStayHoles has an image take no more of the disk than was written of its files, in whatever order they come.
func TestHolesStayHoles(t *testing.T) {
	sparse := strings.Repeat("\x00", 8<<20) + "end"
	inOrder := []entry{file("a", sparse), file("b", "x"+sparse)}
	for name, entries := range map[string][]entry{"in order": inOrder, "in another": {inOrder[1], inOrder[0]}} {
		path := write(t, archive(t, entries))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok || stat.Blocks*512 > 2<<20 || info.Size() < 16<<20 {
			t.Errorf("%s: %d bytes take %d on the disk", name, info.Size(), stat.Blocks*512)
		}
		image, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer image.Close() // read only
		files, err := reader.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		for file, want := range map[string]string{"a": sparse, "b": "x" + sparse} {
			if got, err := fs.ReadFile(files, file); err != nil || string(got) != want {
				t.Errorf("%s: %s has other contents: %v", name, file, err)
			}
		}
	}
}
