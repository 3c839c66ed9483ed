package keeper

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/beside"
)

func TestServesImages(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	f, release := r.open(t, c)
	for i := range r.manifest.Chunks {
		if err := r.read(f, i); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	again, second := r.open(t, c)
	if again.path != f.path {
		t.Errorf("opened at %q and %q", f.path, again.path)
	}
	ended := watch(t, c.pid(t))
	release()
	second()
	f.close()
	again.close()
	c.close(t)
	ended()
	if _, err := os.Stat(c.cfg.Dir + "/1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the keeper's folder is left: %v", err)
	}
	bad := r.Image
	bad.Size++
	if _, _, err := r.client(t).Open(t.Context(), bad); !errors.Is(err, fault.DataLoss) {
		t.Errorf("another size: %v", err)
	}
}

// TestWorkerIsKilled kills a worker whose image is read, and has the next one serve what the reader waits for.
func TestWorkerIsKilled(t *testing.T) {
	r := newRig(t)
	path, process := r.elsewhere(t, r.without(t))
	f := openFile(t, path)
	if err := r.read(f, 10); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() { read <- r.read(f, missing) }()
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	if err := r.read(openFile(t, path), 10); err != nil {
		t.Errorf("a chunk of the cache: %v", err)
	}
	select {
	case err := <-read:
		t.Errorf("a chunk that nobody has: %v", err)
	default:
	}
	c := r.client(t)
	got, release, err := c.Adopt(t.Context(), r.Image)
	if err != nil || got != path {
		t.Fatalf("adopted at %q, was opened at %q: %v", got, path, err)
	}
	if err := c.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Errorf("a chunk that the next worker has: %v", err)
	}
	for i := range r.manifest.Chunks {
		if err := r.read(f, i); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	f.close()
	release()
}

// TestWithoutPatience has a reader wait for a chunk while no worker is there, until it gets an error.
func TestWithoutPatience(t *testing.T) {
	r := newRig(t)
	r.Command = []string{os.Args[0], "as-impatient-keeper"}
	path, process := r.elsewhere(t, r.without(t))
	f := openFile(t, path)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	if err := r.read(f, missing); !errors.Is(err, syscall.EIO) {
		t.Errorf("without a worker: %v", err)
	}
	c := r.client(t)
	if err := c.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.read(f, missing); err != nil {
		t.Errorf("with a worker again: %v", err)
	}
}

// TestEndsByItself has a keeper end when its worker is gone and the image is closed, and not before.
func TestEndsByItself(t *testing.T) {
	r := newRig(t)
	r.Command = []string{os.Args[0], "as-impatient-keeper"}
	path, process := r.elsewhere(t, r.Blobs)
	f := openFile(t, path)
	if err := r.read(f, 5); err != nil {
		t.Fatal(err)
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	if err := r.read(f, 20); !errors.Is(err, syscall.EIO) {
		t.Errorf("a chunk that nobody has: %v", err)
	}
	c := r.client(t)
	pid := c.pid(t)
	ended := watch(t, pid)
	c.end() // as if it were killed
	c.running.Wait()
	<-lingered(t)
	if err := r.read(f, 5); err != nil {
		t.Errorf("a chunk of the cache: %v", err)
	}
	f.close()
	ended()
	if _, _, err := r.client(t).Adopt(t.Context(), r.Image); !errors.Is(err, fault.NotFound) {
		t.Errorf("adopted what is no longer there: %v", err)
	}
}

// lingered tells when a keeper that is not needed would have ended.
func lingered(t *testing.T) <-chan time.Time {
	t.Helper()
	return time.After(3 * linger)
}

// TestReap gives back what the worker before had and this one does not take over.
func TestReap(t *testing.T) {
	r := newRig(t)
	_, process := r.elsewhere(t, r.Blobs)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	c := r.client(t)
	if err := c.Reap(t.Context()); err != nil && !errors.Is(err, beside.ErrEnded) { // it may have ended meanwhile, for nobody has it open
		t.Fatal(err)
	}
	f, release := r.open(t, c)
	if err := r.read(f, 5); err != nil {
		t.Error(err)
	}
	f.close()
	release()
}

func TestOneKeeperOfAFolder(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	_, release := r.open(t, c)
	defer release()
	second := New(Config{Dir: r.Dir + "/1", CacheDir: r.CacheDir, CacheBytes: 1 << 20, Log: c.cfg.Log})
	ran, ready := make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ran <- second.Run(ctx, func() { close(ready) }) }()
	if err := c.Reap(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-ready:
		t.Error("a second keeper took the folder")
	default:
	}
	cancel()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Errorf("the second ended: %v", err)
	}
}
