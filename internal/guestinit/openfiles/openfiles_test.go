package openfiles

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBelow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "open")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if found, err := Below("/proc", []string{dir}); err != nil || len(found) > 0 {
		t.Errorf("nothing is open: %v, %v", found, err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	has := func(what string, paths ...string) {
		t.Helper()
		found, err := Below("/proc", paths)
		if err != nil || len(found) != 1 || found[0].Path != path || found[0].PID != os.Getpid() || found[0].Command == "" {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
	}
	has("a descriptor", dir)
	has("a file itself", path)
	if found, _ := Below("/proc", []string{dir + "/a/op"}); len(found) > 0 {
		t.Errorf("another name with the same beginning: %v", found)
	}
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	has("a memory map", dir)
	if err := unix.Munmap(mapped); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	found, err := Below("/proc", []string{dir})
	if err != nil || len(found) != 1 || !found[0].WorkingDirectory || found[0].Path != dir {
		t.Errorf("a working directory: %+v, %v", found, err)
	}
}
