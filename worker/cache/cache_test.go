package cache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skerry-dev/skerry/worker/cache"
)

func open(t *testing.T, dir string, limit uint64) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// put has an entry made and used no longer.
func put(t *testing.T, c *cache.Cache, name, content string) {
	t.Helper()
	_, release, err := c.Get(t.Context(), name, writing(content))
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func writing(content string) func(string) (uint64, error) {
	return func(tmp string) (uint64, error) {
		return uint64(len(content)), os.WriteFile(tmp, []byte(content), 0o600)
	}
}

func has(c *cache.Cache, name string) bool {
	_, release, ok := c.Lookup(name)
	if ok {
		release()
	}
	return ok
}

func TestMadeOnce(t *testing.T) {
	c := open(t, t.TempDir(), 100)
	var made atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			path, release, err := c.Get(t.Context(), "a", func(tmp string) (uint64, error) {
				made.Add(1)
				return writing("content")(tmp)
			})
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if b, err := os.ReadFile(path); err != nil || string(b) != "content" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	wg.Wait()
	if n := made.Load(); n != 1 || c.Size() != 7 {
		t.Errorf("made %d times, %d bytes", n, c.Size())
	}
	broken := errors.New("broken")
	if _, _, err := c.Get(t.Context(), "b", func(string) (uint64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	put(t, c, "b", "works")
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	c := open(t, t.TempDir(), 12)
	put(t, c, "a", "aaaa")
	put(t, c, "b", "bbbb")
	put(t, c, "c", "cccc")
	_, releaseB, ok := c.Lookup("b")
	if !ok || !has(c, "a") {
		t.Fatal("an entry is gone though there was room")
	}
	put(t, c, "d", "dddd") // c is now the one that was not used for longest
	put(t, c, "e", "eeeeeeee")
	for name, want := range map[string]bool{"a": false, "b": true, "c": false, "d": false, "e": true} {
		if has(c, name) != want {
			t.Errorf("%s: there is %t", name, !want)
		}
	}
	releaseB()
}

func TestAdoptAndDiscard(t *testing.T) {
	dir := t.TempDir()
	c := open(t, filepath.Join(dir, "cache"), 100)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("given"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Adopt("x", file); err != nil || !has(c, "x") || c.Size() != 5 {
		t.Errorf("%v, %d bytes", err, c.Size())
	}
	if err := c.Adopt("y", file); !errors.Is(err, os.ErrNotExist) || has(c, "y") {
		t.Errorf("a file that is gone: %v", err)
	}
	if err := c.Discard("x"); err != nil || has(c, "x") || c.Size() != 0 {
		t.Errorf("%v, %d bytes", err, c.Size())
	}
}

func TestOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, 100)
	put(t, c, "whole", "1234")
	// A process dies while it makes an entry.
	started := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = c.Get(ctx, "half", func(tmp string) (uint64, error) {
			err := os.WriteFile(tmp, []byte("12"), 0o600)
			close(started)
			<-ctx.Done()
			return 0, errors.Join(err, ctx.Err())
		})
	}()
	<-started
	again := open(t, dir, 100)
	if !has(again, "whole") || has(again, "half") || again.Size() != 4 {
		t.Errorf("%d bytes", again.Size())
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	cancel()
	<-done
}

// TestFilesThatAreGone has somebody remove what the cache holds.
func TestFilesThatAreGone(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, 10)
	for _, name := range []string{"a", "b"} {
		put(t, c, name, "1234")
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Discard("b"); err != nil || has(c, "b") {
		t.Errorf("discarded: %v", err)
	}
	put(t, c, "c", "12345678") // evicts a
	if has(c, "a") || !has(c, "c") || c.Size() != 8 {
		t.Errorf("%d bytes", c.Size())
	}
}
