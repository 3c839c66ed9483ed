// Package testbase gives tests the base root file system that real containers are started from: Debian bookworm with Python 3.11 as one
// plain EROFS file. `make testbase` makes it.
package testbase

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Env is the variable that names the file; without it the checkout's .cache/test-base.erofs is taken.
const Env = "SKERRY_TEST_BASE"

// Erofs returns the absolute path of the EROFS file. Tests only read it, so any number may use it at once. Where it is missing the
// test fails, for a skipped container test would look like a passed one.
func Erofs(t testing.TB) string {
	t.Helper()
	path, err := find(os.Getenv(Env))
	if err != nil {
		t.Fatalf("test base: %v; run make testbase", err)
	}
	return path
}

// Full reports whether tests run at the sizes that are promised to users (`make test-full`) instead of the small ones of `make test`.
func Full() bool { return os.Getenv("SKERRY_TEST_FULL") == "1" }

// Tool returns the path of a binary that make builds into the checkout's bin/, such as "runsc". Where it is missing the test fails.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := Binary(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Binary is Tool for those without a test, such as a TestMain.
func Binary(name string) (string, error) {
	root, err := checkout()
	if err != nil {
		return "", fmt.Errorf("tool %q: %w", name, err)
	}
	path := filepath.Join(root, "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("tool %q: %w; run make build, or make bin/%s", name, err, name)
	}
	return path, nil
}

func find(named string) (string, error) {
	path := named
	if path == "" {
		root, err := checkout()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, ".cache", "test-base.erofs")
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	return filepath.Abs(path)
}

// checkout returns the folder of the module that the test belongs to; go test runs a test in its package's folder.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}
