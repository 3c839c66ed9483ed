package erofs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	reader "github.com/erofs/go-erofs"
	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
)

type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Uid: 7, Gid: 70_000, Size: int64(len(content))}, content}
}

func archive(t *testing.T, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.ModTime.IsZero() {
			e.ModTime = time.Unix(1_700_000_000, 0)
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image.erofs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(erofs.FromTar(t.Context(), bytes.NewReader(data), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// hard is a file system with everything that is hard about the format.
func hard() []entry {
	long := strings.Repeat("a/", 2100) + "end"
	out := []entry{
		{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}},
		{Header: tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o1777, Uid: 1}},
		file("etc/empty", ""), file("etc/one", "1"), file("etc/block", strings.Repeat("b", 4096)),
		file("etc/more", strings.Repeat("m", 4097)), file("no/parents/here", "made"),
		{Header: tar.Header{Name: "etc/link", Typeflag: tar.TypeSymlink, Linkname: "one"}},
		{Header: tar.Header{Name: "etc/long", Typeflag: tar.TypeSymlink, Linkname: long[:4095]}},
		{Header: tar.Header{Name: "etc/hard", Typeflag: tar.TypeLink, Linkname: "etc/one"}},
		{Header: tar.Header{Name: "etc/null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}},
		{Header: tar.Header{Name: "etc/disk", Typeflag: tar.TypeBlock, Mode: 0o600, Devmajor: 259, Devminor: 300}},
		{Header: tar.Header{Name: "etc/fifo", Typeflag: tar.TypeFifo, Mode: 0o600}},
		file("etc/twice", "old"), file("etc/twice", "new"), file("-first", "sorts before the dots"),
		{Header: tar.Header{
			Name: "ping", Typeflag: tar.TypeReg, Mode: 0o4755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"},
		}},
	}
	for i := range 3000 {
		out = append(out, file(fmt.Sprintf("many/%04d-%s", i, strings.Repeat("n", i%200)), "x"))
	}
	for i := range 60 { // folders whose entries end near a block's end
		for j := range i + 70 {
			out = append(out, file(fmt.Sprintf("sizes/%d/%s%03d", i, strings.Repeat("s", 20), j), ""))
		}
	}
	return out
}

func TestReadersAgree(t *testing.T) {
	path := write(t, archive(t, hard()))
	if out, err := exec.CommandContext(t.Context(), "fsck.erofs", path).CombinedOutput(); err != nil {
		t.Fatalf("fsck.erofs: %v: %s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	img, err := reader.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"etc/empty": "", "etc/one": "1", "etc/hard": "1", "etc/block": strings.Repeat("b", 4096), "etc/more": strings.Repeat("m", 4097),
		"etc/twice": "new", "no/parents/here": "made", "-first": "sorts before the dots",
	} {
		if got, err := fs.ReadFile(img, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	count := walk(t, img)
	if want := 1 + 1 + 11 + 3 + 1 + 1 + 3001 + 61 + 60*70 + 59*60/2; count != want {
		t.Errorf("%d names, want %d", count, want)
	}
}

// names counts the names in an image.
func names(t *testing.T, image []byte) int {
	t.Helper()
	img, err := reader.Open(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	return walk(t, img)
}

func walk(t *testing.T, img fs.FS) (count int) {
	t.Helper()
	if err := fs.WalkDir(img, ".", func(_ string, _ fs.DirEntry, err error) error { count++; return err }); err != nil {
		t.Fatal(err)
	}
	return count
}

// TestKernelAgrees compares with the kernel's own reader through tar.
func TestKernelAgrees(t *testing.T) {
	data := archive(t, hard())
	path, mnt := write(t, data), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "erofs", "-o", "loop,ro", path, mnt).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "umount", mnt).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	// Entries that come twice differ from the first of the two by intention.
	cmd := exec.CommandContext(t.Context(), "tar", "--compare", "--numeric-owner", "-C", mnt, "--exclude=etc/twice", "-f", "-")
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tar: %v: %s", err, out)
	}
	var one, other [2]int64
	for i, name := range []string{"etc/one", "etc/hard"} {
		out, err := exec.CommandContext(t.Context(), "stat", "-c", "%i %h", filepath.Join(mnt, name)).Output()
		if err != nil {
			t.Fatal(err)
		}
		p := []*[2]int64{&one, &other}[i]
		if _, err := fmt.Sscan(string(out), &p[0], &p[1]); err != nil {
			t.Fatal(err)
		}
	}
	if one != other || one[1] != 2 {
		t.Errorf("hard link: inode and links %v, %v", one, other)
	}
}

// TestWhatGVisorNeeds checks what gVisor refuses: inline contents of files, extended attributes, features.
func TestWhatGVisorNeeds(t *testing.T) {
	data, err := os.ReadFile(write(t, archive(t, hard())))
	if err != nil {
		t.Fatal(err)
	}
	super := data[1024:]
	if features := binary.LittleEndian.Uint32(super[80:]); features != 0 {
		t.Errorf("incompatible features %#x", features)
	}
	meta := data[int64(binary.LittleEndian.Uint32(super[40:]))<<12:]
	checked := 0
	for inode := meta; len(inode) >= 64; inode = inode[32:] {
		mode := binary.LittleEndian.Uint16(inode[4:])
		// Directory entries and targets are between inodes; those of files are told by their owner's number.
		if binary.LittleEndian.Uint32(inode[28:]) != 70_000 || mode != 0o100640 {
			continue
		}
		checked++
		if format := binary.LittleEndian.Uint16(inode); format != 1 {
			t.Fatalf("inode format %#x, want extended and plain", format)
		}
		if xattrs := binary.LittleEndian.Uint16(inode[2:]); xattrs != 0 {
			t.Fatalf("%d extended attributes", xattrs)
		}
	}
	if checked < 3000 {
		t.Errorf("found %d files", checked)
	}
}

func TestSameTarSameBytes(t *testing.T) {
	data := archive(t, hard())
	var sums [2][32]byte
	for i := range sums {
		b, err := os.ReadFile(write(t, data))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(b)
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		t.Error(diff)
	}
}

func TestRefusedTars(t *testing.T) {
	for name, entries := range map[string][]entry{
		"hard link to nothing": {{Header: tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "b"}}},
		"parent is a file":     {file("a", "x"), file("a/b", "y")},
		"name too long":        {file(strings.Repeat("n", 256), "x")},
		"empty target":         {{Header: tar.Header{Name: "a", Typeflag: tar.TypeSymlink}}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "x"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if err := erofs.FromTar(t.Context(), bytes.NewReader(archive(t, entries)), f); !errors.Is(err, fault.Invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("cut off", func(t *testing.T) {
		f, err := os.Create(filepath.Join(t.TempDir(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		data := archive(t, []entry{file("a", strings.Repeat("x", 10_000))})
		if err := erofs.FromTar(t.Context(), bytes.NewReader(data[:5000]), f); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v", err)
		}
	})
}
