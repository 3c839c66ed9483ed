package bucket

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestFilesAreObjects(t *testing.T) {
	w := newWorld(t, "box")
	at := w.mount(w.of("box"))
	w.write(filepath.Join(at, "a"), "one")
	if got := w.object("box", "a"); got != "one" {
		t.Errorf("object after close: %q", got)
	}
	w.write(filepath.Join(at, "a"), "other")
	if got := w.object("box", "a"); got != "other" {
		t.Errorf("object after it was written again: %q", got)
	}
	if err := os.MkdirAll(filepath.Join(at, "d/e"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write(filepath.Join(at, "d/e/f"), "deep")
	if got := w.object("box", "d/e/f"); got != "deep" {
		t.Errorf("object in folders: %q", got)
	}
	entries, err := os.ReadDir(filepath.Join(at, "d"))
	if err != nil || len(entries) != 1 || entries[0].Name() != "e" || !entries[0].IsDir() {
		t.Errorf("list: %v, %v", entries, err)
	}
	w.write(filepath.Join(at, "empty"), "")
	if got := w.object("box", "empty"); got != "" {
		t.Errorf("empty object: %q", got)
	}
}

func TestAppendAndOverwriteInPlace(t *testing.T) {
	w := newWorld(t, "box")
	at := filepath.Join(w.mount(w.of("box")), "a")
	w.write(at, "0123456789")
	f, err := os.OpenFile(at, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("xy"), 4); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if got := w.object("box", "a"); got != "0123xy6789" {
		t.Errorf("object after fsync: %q", got)
	}
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "0123xy6789" {
		t.Errorf("read after fsync: %q, %v", got, err)
	}
	if err := errors.Join(f.Truncate(6), f.Close()); err != nil {
		t.Error(err)
	}
	if got := w.object("box", "a"); got != "0123xy" {
		t.Errorf("object after truncate: %q", got)
	}
	more, err := os.OpenFile(at, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = more.WriteString("!")
	if err := errors.Join(err, more.Close()); err != nil {
		t.Error(err)
	}
	if got := w.object("box", "a"); got != "0123xy!" {
		t.Errorf("object after append: %q", got)
	}
}

func TestRenameAndRemove(t *testing.T) {
	w := newWorld(t, "box")
	at := w.mount(w.of("box"))
	if err := os.Mkdir(filepath.Join(at, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write(filepath.Join(at, "d/one"), "1")
	w.write(filepath.Join(at, "two"), "2")
	for _, m := range [][2]string{{"d/one", "three"}, {"two", "three"}, {"three", "d/four"}} {
		if err := os.Rename(filepath.Join(at, m[0]), filepath.Join(at, m[1])); err != nil {
			t.Errorf("rename %v: %v", m, err)
		}
	}
	if got := w.object("box", "d/four"); got != "2" {
		t.Errorf("renamed object: %q", got)
	}
	if err := os.Rename(filepath.Join(at, "d"), filepath.Join(at, "e")); err != nil {
		t.Errorf("rename of a folder: %v", err)
	}
	if got := w.object("box", "e/four"); got != "2" {
		t.Errorf("object in a renamed folder: %q", got)
	}
	if got, err := os.ReadFile(filepath.Join(at, "e/four")); err != nil || string(got) != "2" {
		t.Errorf("file in a renamed folder: %q, %v", got, err)
	}
	if err := os.Remove(filepath.Join(at, "e")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("remove of a folder with a file: %v", err)
	}
	if err := errors.Join(os.Remove(filepath.Join(at, "e/four")), os.Remove(filepath.Join(at, "e"))); err != nil {
		t.Error(err)
	}
	if got := w.object("box", "e/four"); !strings.HasPrefix(got, "none") {
		t.Errorf("removed object: %q", got)
	}
	if _, err := os.Stat(filepath.Join(at, "e")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed folder: %v", err)
	}
}

// TestOpenWhileUploaded has several programs use a file that one of them has uploaded.
func TestOpenWhileUploaded(t *testing.T) {
	w := newWorld(t, "box")
	at := filepath.Join(w.mount(w.of("box")), "a")
	w.write(at, "before")
	reader, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	first := make([]byte, 3)
	if _, err := io.ReadFull(reader, first); err != nil {
		t.Error(err)
	}
	w.write(at, "beside it, longer")
	if got := w.object("box", "a"); got != "beside it, longer" {
		t.Errorf("object: %q", got)
	}
	rest, err := io.ReadAll(reader)
	if err != nil || string(rest) != "ide it, longer" {
		t.Errorf("rest of the reader's: %q, %v", rest, err)
	}
}

func TestPrefixConfines(t *testing.T) {
	w := newWorld(t, "box")
	all := w.mount(w.of("box"))
	if err := os.MkdirAll(filepath.Join(all, "in/side"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.write(filepath.Join(all, "out"), "o")
	w.write(filepath.Join(all, "in/side/x"), "i")
	w.write(filepath.Join(all, "inside"), "n")
	b := w.of("box")
	b.Prefix = "in/"
	at := w.mount(b)
	entries, err := os.ReadDir(at)
	if err != nil || len(entries) != 1 || entries[0].Name() != "side" {
		t.Errorf("list: %v, %v", entries, err)
	}
	if err := os.Symlink("../../out", filepath.Join(at, "link")); err == nil {
		t.Error("there are symbolic links")
	}
	w.write(filepath.Join(at, "new"), "n")
	if got := w.object("box", "in/new"); got != "n" {
		t.Errorf("object below the prefix: %q", got)
	}
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t, "box")
	w.write(filepath.Join(w.mount(w.of("box")), "a"), "text")
	b := w.of("box")
	b.ReadOnly = true
	at := w.mount(b)
	if got, err := os.ReadFile(filepath.Join(at, "a")); err != nil || string(got) != "text" {
		t.Errorf("read: %q, %v", got, err)
	}
	for name, err := range map[string]error{
		"write":  os.WriteFile(filepath.Join(at, "a"), nil, 0o644),
		"create": os.WriteFile(filepath.Join(at, "b"), nil, 0o644),
		"mkdir":  os.Mkdir(filepath.Join(at, "c"), 0o755),
		"remove": os.Remove(filepath.Join(at, "a")),
		"rename": os.Rename(filepath.Join(at, "a"), filepath.Join(at, "d")),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v, want EROFS", name, err)
		}
	}
}

func TestLargeFile(t *testing.T) {
	w := newWorld(t, "box")
	at := filepath.Join(w.mount(w.of("box")), "large")
	data := make([]byte, 100<<20+12345)
	_, _ = rand.Read(data)
	if err := os.WriteFile(at, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := w.object("box", "large"); got != string(data) {
		t.Errorf("object: %d bytes, want %d", len(got), len(data))
	}
	again := w.of("box")
	again.ReadOnly = true // another mount, which has nothing of it
	got, err := os.ReadFile(filepath.Join(w.mount(again), "large"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read: %d bytes, %v", len(got), err)
	}
}

func TestManyNames(t *testing.T) {
	w := newWorld(t, "box")
	at := w.mount(w.of("box"))
	names := []string{"with space", "ümläut", "plus+and%25", "a&b=c?d#e", "quote'\"", "...", strings.Repeat("n", 200)}
	for _, name := range names {
		w.write(filepath.Join(at, name), name)
	}
	again := w.of("box")
	again.ReadOnly = true
	entries, err := os.ReadDir(w.mount(again))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("names: %q", got)
	}
}
