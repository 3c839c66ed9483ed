package lazyfs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/cache"
)

// kept is the file of a chunk in the cache.
func (r *rig) kept(index int) string {
	return filepath.Join(r.dir, "chunks", cacheName(r.manifest.Chunks[index]))
}

// bytes are what a chunk has to be.
func (r *rig) bytes(index int) []byte {
	start := r.manifest.Start(index)
	return r.content[start : start+uint64(r.manifest.Chunks[index].Size)]
}

// TestDiskThatRotsUnderAReader changes and removes files of the cache whose chunks are in use.
func TestDiskThatRotsUnderAReader(t *testing.T) {
	r := newRig(t, 60, nil)
	f, _ := r.file(t)
	last := len(r.manifest.Chunks) - 1
	if _, err := f.ReadAt(make([]byte, 1), int64(r.manifest.Start(39))); err != nil {
		t.Fatal(err)
	}
	for _, index := range []int{39, last} {
		if err := os.Chmod(r.kept(index), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.kept(index), bytes.Repeat([]byte("x"), int(r.manifest.Chunks[index].Size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, index := range []int{39, last} {
		if err := r.chunk(f, index); err != nil {
			t.Errorf("chunk %d: %v", index, err)
		}
		data, err := r.mounts[r.image.Digest].file.chunk(t.Context(), index) // past the kernel's own cache
		if err != nil || !bytes.Equal(data, r.bytes(index)) {
			t.Errorf("chunk %d is wrong: %v", index, err)
		}
	}
	if err := r.chunk(f, 45); err != nil {
		t.Fatal(err)
	}
	r.cfg.Chunks.rest()
	if err := os.Remove(r.kept(45)); err != nil {
		t.Fatal(err)
	}
	for _, index := range []int{39, 45} {
		data, err := r.cfg.Chunks.get(t.Context(), r.manifest.Chunks[index], 0)
		if err != nil || !bytes.Equal(data, r.bytes(index)) {
			t.Errorf("chunk %d, no longer in memory: %v", index, err)
		}
		if n := r.origin.count(r.manifest.Chunks[index].Digest); n != 2 {
			t.Errorf("chunk %d was fetched %d times", index, n)
		}
	}
	if text := r.log.String(); strings.Count(text, "is damaged and is fetched again") != 2 {
		t.Errorf("log: %s", text)
	}
}

func TestFullDisk(t *testing.T) {
	small := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	r := newRig(t, 60, func(c *ChunksConfig, _ *Config) {
		var err error
		if c.Cache, err = cache.Open(small, 1<<30); err != nil {
			t.Fatal(err)
		}
	})
	f, _ := r.file(t)
	for i := range r.manifest.Chunks {
		if err := r.chunk(f, i); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	if text := r.log.String(); strings.Count(text, "the cache of chunks can't be written") != 1 {
		t.Errorf("log: %s", text)
	}
	left, err := filepath.Glob(filepath.Join(small, "tmp-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestManifestThatLies has an image claim another size of a chunk than it has: that is no harm to the chunk's other readers.
func TestManifestThatLies(t *testing.T) {
	r := newRig(t, 60, nil)
	lie := *r.manifest
	lie.Chunks = append([]cas.Chunk{}, lie.Chunks...)
	lie.Chunks[30].Size += 4096
	lie.Chunks[31].Size -= 4096
	encoded, err := lie.Encode()
	if err != nil {
		t.Fatal(err)
	}
	image, _, err := r.origin.Add(t.Context(), encoded)
	if err != nil {
		t.Fatal(err)
	}
	image.Size = r.image.Size
	path, release, err := r.Open(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	liar := openQuietly(t, path)
	defer liar.Close() // read only
	honest, _ := r.file(t)
	for range 2 {
		for _, index := range []int{30, 31} {
			if _, err := liar.ReadAt(make([]byte, 1), int64(lie.Start(index))); !errors.Is(err, syscall.EIO) {
				t.Errorf("chunk %d of the liar: %v", index, err)
			}
			if err := r.chunk(honest, index); err != nil {
				t.Errorf("chunk %d: %v", index, err)
			}
			if n := r.origin.count(r.manifest.Chunks[index].Digest); n != 1 {
				t.Errorf("chunk %d was fetched %d times", index, n)
			}
		}
		r.cfg.Chunks.rest()
	}
}

// TestMountedAnew opens an image while its last mount, which nobody uses, is being taken down: it is mounted again in the same place.
func TestMountedAnew(t *testing.T) {
	r := newRig(t, 20, nil)
	first, done := r.file(t)
	done()
	r.mu.Lock()
	idle := r.takeIdle(0)
	r.mu.Unlock()
	if len(idle) != 1 {
		t.Fatalf("%d idle mounts", len(idle))
	}
	opened := make(chan string, 1)
	go func() {
		path, release, err := r.Open(t.Context(), r.image)
		if err != nil {
			t.Error(err)
		} else {
			t.Cleanup(release)
		}
		opened <- path
	}()
	r.Store.stop(idle[0])
	if path := <-opened; path != first.Name() {
		t.Errorf("mounted at %q, before at %q", path, first.Name())
	}
	f, _ := r.file(t)
	if err := r.chunk(f, 5); err != nil {
		t.Error(err)
	}
	if text := r.log.String(); strings.Contains(text, "not taken down") {
		t.Errorf("log: %s", text)
	}
}

// gate lets those reads through that get a token.
type gate struct {
	*origin
	asked chan string
	open  chan struct{}
}

func (g gate) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	g.asked <- digest
	select {
	case <-g.open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return g.origin.ReadAll(ctx, digest, limit)
}

// TestReadersComeFirst has a chunk wait to be fetched ahead, and then a reader wants it.
func TestReadersComeFirst(t *testing.T) {
	r := newRig(t, 20, nil)
	g := gate{r.origin, make(chan string, 10), make(chan struct{})}
	kept, err := cache.Open(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	c := NewChunks(ChunksConfig{Cache: kept, Source: g, Log: r.cfg.Log, Fetches: 1})
	defer c.Close()
	list := r.manifest.Chunks
	go c.prepare(t.Context(), list[1], true)
	if got := <-g.asked; got != list[1].Digest {
		t.Fatalf("asked for %s", got)
	}
	c.entry(list[2], false) // waits for the first to end
	read := make(chan error, 1)
	go func() {
		_, err := c.get(t.Context(), list[2], 0)
		read <- err
	}()
	if got := <-g.asked; got != list[2].Digest {
		t.Errorf("asked for %s", got)
	}
	close(g.open)
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	const limit = 1 << 20
	r := newRig(t, 100, func(c *ChunksConfig, _ *Config) { c.Memory = limit })
	_, done := r.file(t)
	c := r.cfg.Chunks
	held := func() uint64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.size
	}
	for range 2 {
		for i, want := range r.manifest.Chunks {
			data, err := c.get(t.Context(), want, 0)
			if err != nil || !bytes.Equal(data, r.bytes(i)) {
				t.Errorf("chunk %d: %v", i, err)
			}
			if n := held(); n > limit {
				t.Fatalf("%d bytes in memory", n)
			}
		}
	}
	done()
	if n := held(); n != 0 {
		t.Errorf("%d bytes in memory that nobody reads", n)
	}
	if _, err := c.get(t.Context(), cas.Chunk{Digest: "sha256:" + strings.Repeat("0", 64), Size: 1}, 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("a chunk that is nowhere: %v", err)
	}
	if len(c.chunks) != 0 {
		t.Errorf("%d chunks are entered that are not there", len(c.chunks))
	}
}
