package lazyfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/cache"
)

// origin is a blob store in memory that counts and can be away.
type origin struct {
	mu     sync.Mutex
	blobs  map[string][]byte
	reads  map[string]int
	away   bool
	broken bool          // the next read breaks off
	asked  chan struct{} // gets a token, if it has room, when somebody asks
}

func newOrigin() *origin {
	return &origin{blobs: map[string][]byte{}, reads: map[string]int{}, asked: make(chan struct{}, 1)}
}

func (o *origin) Add(_ context.Context, data []byte) (payload.Ref, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ref := payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	o.blobs[ref.Digest] = bytes.Clone(data)
	return ref, true, nil
}

func (o *origin) ReadAll(_ context.Context, digest string, _ int64) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.asked <- struct{}{}:
	default:
	}
	if o.broken {
		o.broken = false
		return nil, fmt.Errorf("connection reset by peer: %w", context.Canceled)
	}
	if o.away {
		return nil, fault.New(fault.Unavailable, "the store is away")
	}
	o.reads[digest]++
	data, ok := o.blobs[digest]
	if !ok {
		return nil, fault.New(fault.NotFound, "blob %q is not stored", digest)
	}
	if got := ident.Digest(data); got != digest {
		return nil, fault.New(fault.DataLoss, "blob %q: the stored content's digest is %s", digest, got)
	}
	return data, nil
}

func (o *origin) setAway(away bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = away
}

func (o *origin) count(digest string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads[digest]
}

// change replaces a blob, with nil takes it away, and returns what it was.
func (o *origin) change(digest string, data []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.blobs[digest]
	if o.blobs[digest] = data; data == nil {
		delete(o.blobs, digest)
	}
	return before
}

// rig is a store over an origin that has one image.
type rig struct {
	*Store
	origin   *origin
	log      *logBuffer
	image    payload.Ref
	manifest *cas.Manifest
	content  []byte
	dir      string
	close    func()
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newRig makes an image of count chunks of contents, between two of metadata.
func newRig(t *testing.T, count int, change func(*ChunksConfig, *Config)) *rig {
	t.Helper()
	r := &rig{origin: newOrigin(), dir: t.TempDir()}
	source := rand.NewChaCha8([32]byte{7})
	sizes := []uint32{4096}
	for i := range count {
		sizes = append(sizes, uint32(4096*(1+i%40)))
	}
	sizes = append(sizes, 8192)
	var total uint64
	for _, size := range sizes {
		total += uint64(size)
	}
	r.content = make([]byte, total)
	_, _ = source.Read(r.content) // never fails
	w, err := cas.Write(t.Context(), r.origin, bytes.NewReader(r.content), sizes, []cas.Range{{Size: 4096}, {Offset: total - 8192, Size: 8192}})
	if err != nil {
		t.Fatal(err)
	}
	r.image = w.File
	if r.manifest, err = cas.Load(t.Context(), r.origin, w.File.Digest); err != nil {
		t.Fatal(err)
	}
	r.open(t, change)
	return r
}

// open makes the store, anew after stop.
func (r *rig) open(t *testing.T, change func(*ChunksConfig, *Config)) {
	t.Helper()
	r.log = &logBuffer{}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(r.log, t.Output()), nil))
	kept, err := cache.Open(filepath.Join(r.dir, "chunks"), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	chunks := ChunksConfig{Cache: kept, Source: r.origin, Log: log}
	cfg := Config{Dir: filepath.Join(r.dir, "mounts"), ProfileDir: filepath.Join(r.dir, "profiles"), Log: log}
	if change != nil {
		change(&chunks, &cfg)
	}
	cfg.Chunks = NewChunks(chunks)
	r.Store = New(cfg)
	r.close = r.stop(t)
	t.Cleanup(r.close)
}

// stop closes the store; calling it again does nothing.
func (r *rig) stop(t *testing.T) func() {
	s := r.Store
	var once sync.Once
	return func() {
		once.Do(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s.cfg.Chunks.Close()
		})
	}
}

// file opens the image until the test's end, or until done is called.
func (r *rig) file(t *testing.T) (f *os.File, done func()) {
	t.Helper()
	path, release, err := r.Open(t.Context(), r.image)
	if err != nil {
		t.Fatal(err)
	}
	f = openQuietly(t, path)
	var once sync.Once
	done = func() {
		once.Do(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			release()
		})
	}
	t.Cleanup(done)
	return f, done
}

// openQuietly opens a file that this very process serves. os.Open would enter it into the runtime's poller, whose system calls hold a
// processor each: waiting there for our own answer, they could take all.
func openQuietly(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), path)
}

// chunk reads a chunk's bytes from the file and compares them.
func (r *rig) chunk(f *os.File, index int) error {
	start, size := r.manifest.Start(index), uint64(r.manifest.Chunks[index].Size)
	p := make([]byte, size)
	if _, err := f.ReadAt(p, int64(start)); err != nil {
		return err
	}
	if !bytes.Equal(p, r.content[start:start+size]) {
		return errors.New("wrong data")
	}
	return nil
}

func TestServesAFile(t *testing.T) {
	r := newRig(t, 100, nil)
	f, _ := r.file(t)
	info, err := f.Stat()
	if err != nil || info.Size() != int64(len(r.content)) || info.Mode() != 0o444 {
		t.Errorf("%v, %v", info, err)
	}
	if n := r.origin.count(r.manifest.Chunks[50].Digest); n != 0 {
		t.Error("contents were fetched before they were read")
	}
	for i := range 500 { // in the middle of chunks and across them
		at := rand.IntN(len(r.content))
		p := make([]byte, rand.IntN(300_000))
		n, err := f.ReadAt(p, int64(at))
		if err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(p[:n], r.content[at:at+n]) || n < len(p) && at+n != len(r.content) {
			t.Fatalf("read %d: %d bytes at %d: %v", i, n, at, err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			data := make([]byte, len(r.content))
			if n, err := f.ReadAt(data, 0); err != nil || !bytes.Equal(data, r.content) {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	wg.Wait()
	for i, c := range r.manifest.Chunks {
		if n := r.origin.count(c.Digest); n != 1 {
			t.Errorf("chunk %d was fetched %d times", i, n)
		}
	}
	// Another process maps it.
	if out, err := exec.CommandContext(t.Context(), "python3", "-c", `
import mmap, sys, hashlib
f = open(sys.argv[1], "rb")
print(hashlib.sha256(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)).hexdigest())`, f.Name()).Output(); err != nil ||
		"sha256:"+strings.TrimSpace(string(out)) != ident.Digest(r.content) {
		t.Errorf("mapped: %s, %v", out, err)
	}
	if _, err := unix.Open(f.Name(), unix.O_WRONLY, 0); !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EACCES) {
		t.Errorf("opened for writing: %v", err)
	}
}

func TestDamagedAndMissingChunks(t *testing.T) {
	r := newRig(t, 60, nil)
	f, _ := r.file(t)
	wrong, gone := r.manifest.Chunks[20], r.manifest.Chunks[40]
	right := r.origin.change(wrong.Digest, bytes.Repeat([]byte("x"), int(wrong.Size)))
	there := r.origin.change(gone.Digest, nil)
	for index, want := range map[int]string{20: wrong.Digest, 40: gone.Digest} {
		if err := r.chunk(f, index); !errors.Is(err, syscall.EIO) {
			t.Errorf("chunk %d: %v", index, err)
		}
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("the log does not name chunk %s: %s", want, r.log)
		}
	}
	for i := range r.manifest.Chunks {
		if i != 20 && i != 40 {
			if err := r.chunk(f, i); err != nil {
				t.Errorf("chunk %d: %v", i, err)
			}
		}
	}
	r.origin.change(wrong.Digest, right)
	r.origin.change(gone.Digest, there)
	for _, index := range []int{20, 40} {
		if err := r.chunk(f, index); err != nil {
			t.Errorf("chunk %d, right again: %v", index, err)
		}
	}
}

func TestNoMetadataNoImage(t *testing.T) {
	r := newRig(t, 10, nil)
	last := r.manifest.Chunks[len(r.manifest.Chunks)-1]
	right := r.origin.change(last.Digest, make([]byte, last.Size))
	if _, _, err := r.Open(t.Context(), r.image); !errors.Is(err, fault.DataLoss) {
		t.Errorf("damaged metadata: %v", err)
	}
	r.origin.change(last.Digest, right)
	manifest := r.image
	manifest.Size++
	if _, _, err := r.Open(t.Context(), manifest); !errors.Is(err, fault.DataLoss) {
		t.Errorf("another size: %v", err)
	}
	f, _ := r.file(t)
	if err := r.chunk(f, 5); err != nil {
		t.Errorf("right again: %v", err)
	}
}

func TestStoreThatIsAway(t *testing.T) {
	r := newRig(t, 60, nil)
	f, _ := r.file(t)
	r.origin.setAway(true)
	for len(r.origin.asked) > 0 {
		<-r.origin.asked
	}
	read := make(chan error, 1)
	go func() { read <- r.chunk(f, 30) }()
	<-r.origin.asked
	select {
	case err := <-read:
		t.Errorf("ended while the store was away: %v", err)
	default:
	}
	r.origin.setAway(false)
	if err := <-read; err != nil {
		t.Errorf("after it came back: %v", err)
	}
	r.origin.mu.Lock()
	r.origin.broken = true
	r.origin.mu.Unlock()
	if err := r.chunk(f, 55); err != nil {
		t.Errorf("after a connection that broke off: %v", err)
	}
	short := newRig(t, 60, func(c *ChunksConfig, _ *Config) { c.Patience = time.Millisecond })
	f, _ = short.file(t)
	short.origin.setAway(true)
	if err := short.chunk(f, 30); !errors.Is(err, syscall.EIO) {
		t.Errorf("without patience: %v", err)
	}
	short.origin.setAway(false)
	if err := short.chunk(f, 30); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

// TestSignalsDoNotFailReaders sends signals to a process in a page fault whose chunk is not there yet.
func TestSignalsDoNotFailReaders(t *testing.T) {
	r := newRig(t, 60, nil)
	f, _ := r.file(t)
	r.origin.setAway(true)
	for len(r.origin.asked) > 0 {
		<-r.origin.asked
	}
	at, size := r.manifest.Start(30), r.manifest.Chunks[30].Size
	cmd := exec.CommandContext(t.Context(), "python3", "-c", `
import mmap, sys, hashlib, signal
signal.signal(signal.SIGUSR1, lambda *_: None)
at, size = map(int, sys.argv[2:])
with open(sys.argv[1], "rb") as f:
    print(hashlib.sha256(memoryview(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ))[at:at + size]).hexdigest())`,
		f.Name(), strconv.FormatUint(at, 10), strconv.FormatUint(uint64(size), 10))
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-r.origin.asked
	for range 5 {
		if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			t.Error(err)
		}
	}
	r.origin.setAway(false)
	if err := cmd.Wait(); err != nil || "sha256:"+strings.TrimSpace(out.String()) != r.manifest.Chunks[30].Digest {
		t.Errorf("read %q, %v", out.String(), err)
	}
}

func TestWarmAfterARestart(t *testing.T) {
	r := newRig(t, 60, nil)
	f, done := r.file(t)
	for i := range r.manifest.Chunks {
		if err := r.chunk(f, i); err != nil {
			t.Fatal(err)
		}
	}
	done()
	r.close()
	// Two chunks rot on the disk; without its source the cache serves all others.
	for _, index := range []int{10, 11} {
		path := filepath.Join(r.dir, "chunks", r.manifest.Chunks[index].Digest[len("sha256:"):])
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("rot"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open(t, nil)
	before := r.origin.count(r.manifest.Chunks[10].Digest)
	f, _ = r.file(t)
	for i := range r.manifest.Chunks {
		if err := r.chunk(f, i); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	if n := r.origin.count(r.manifest.Chunks[30].Digest); n != 1 {
		t.Errorf("a chunk was fetched %d times", n)
	}
	if n := r.origin.count(r.manifest.Chunks[10].Digest); n != before+1 {
		t.Errorf("a rotten chunk was fetched %d times", n-before)
	}
}

// TestProfile starts an image on a host that has nothing of it but the profile of an earlier start.
func TestProfile(t *testing.T) {
	r := newRig(t, 200, nil)
	f, done := r.file(t)
	want := []int{150, 20, 90}
	for _, index := range want {
		if err := r.chunk(f, index); err != nil {
			t.Fatal(err)
		}
	}
	done()
	r.close()
	if err := os.RemoveAll(filepath.Join(r.dir, "chunks")); err != nil {
		t.Fatal(err)
	}
	r.open(t, nil)
	fetched := make(chan string, 1000)
	r.cfg.Chunks.cfg.Source = telling{r.origin, fetched}
	_, _ = r.file(t)
	left := map[string]bool{}
	for _, index := range want {
		left[r.manifest.Chunks[index].Digest] = true
	}
	for len(left) > 0 {
		select {
		case digest := <-fetched:
			delete(left, digest)
		case <-t.Context().Done():
			t.Fatal("not all of the profile was fetched")
		}
	}
	if n := r.origin.count(r.manifest.Chunks[60].Digest); n != 0 {
		t.Error("a chunk was fetched that no start has read")
	}
}

// all is what all workers know, in memory.
type all map[string][]uint32

func (a all) Profile(_ context.Context, image string) ([]uint32, error) { return a[image], nil }

func (a all) StoreProfile(_ context.Context, image string, chunks []uint32) error {
	a[image] = chunks
	return nil
}

// TestSharedProfile has what one worker records known to another, which has its chunks fetched ahead.
func TestSharedProfile(t *testing.T) {
	shared := all{}
	first := newRig(t, 200, func(_ *ChunksConfig, c *Config) { c.Shared = shared })
	if err := first.keep(t.Context(), first.image.Digest, []uint32{120, 30}); err != nil {
		t.Fatal(err)
	}
	fetched := make(chan string, 1000)
	second := newRig(t, 200, func(_ *ChunksConfig, cfg *Config) {
		cfg.Shared = shared
	})
	second.cfg.Chunks.cfg.Source = telling{second.origin, fetched}
	_, _ = second.file(t)
	left := map[string]bool{second.manifest.Chunks[120].Digest: true, second.manifest.Chunks[30].Digest: true}
	for len(left) > 0 {
		select {
		case digest := <-fetched:
			delete(left, digest)
		case <-t.Context().Done():
			t.Fatal("not all of the profile was fetched")
		}
	}
	shared[first.image.Digest] = []uint32{1 << 31}
	if _, err := New(second.cfg).profile(t.Context(), first.image.Digest, first.manifest); !errors.Is(err, fault.DataLoss) {
		t.Errorf("a chunk that is not there: %v", err)
	}
}

type telling struct {
	*origin
	fetched chan<- string
}

func (s telling) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	data, err := s.origin.ReadAll(ctx, digest, limit)
	s.fetched <- digest
	return data, err
}

func TestReadAhead(t *testing.T) {
	r := newRig(t, 100, nil)
	a := newAhead(r.manifest)
	for _, index := range []int{5, 70, 6, 6, 71, 7, 8} {
		a.reads(index)
	}
	var got []int
	for len(a.queue) > 0 {
		got = append(got, (<-a.queue).index)
	}
	want := []int{7, 8, 72, 73, 9, 10, 11, 12, 13, 14, 15, 16}
	if len(got) < len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("fetched ahead: %v, want %v", got, want)
	}
	seen := map[int]bool{}
	for _, index := range got {
		if seen[index] {
			t.Errorf("chunk %d was asked for twice", index)
		}
		seen[index] = true
	}
}

func TestCacheIsBounded(t *testing.T) {
	var kept *cache.Cache
	const limit = 1 << 20
	r := newRig(t, 100, func(c *ChunksConfig, cfg *Config) {
		var err error
		if kept, err = cache.Open(filepath.Join(t.TempDir(), "small"), limit); err != nil {
			t.Fatal(err)
		}
		c.Cache, c.Memory = kept, 1<<16
	})
	f, _ := r.file(t)
	for range 2 {
		for i := range r.manifest.Chunks {
			if err := r.chunk(f, i); err != nil {
				t.Errorf("chunk %d: %v", i, err)
			}
		}
	}
	if size := kept.Size(); size > limit+limit/2 {
		t.Errorf("the cache holds %d bytes of %d", size, limit)
	}
}
