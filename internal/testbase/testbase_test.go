package testbase

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFindNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "base.erofs")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := find(file)
	if err != nil || got != file {
		t.Fatalf("find(%q) = %q, %v", file, got, err)
	}
}

func TestFindRefusesFoldersAndMissing(t *testing.T) {
	if _, err := find(t.TempDir()); err == nil {
		t.Error("a folder was taken for a base")
	}
	if _, err := find(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was taken for a base")
	}
}

func TestCheckoutHasTheModule(t *testing.T) {
	root, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "proto")); err != nil {
		t.Errorf("checkout() = %q, which has no proto folder", root)
	}
}
