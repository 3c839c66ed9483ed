package keeper

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
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
)

// TestMain is also the keepers and the workers that are killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && strings.HasPrefix(os.Args[1], "as-") {
		if err := act(os.Args[1], os.Args[2]); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func act(role, settings string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer cancel()
	switch role {
	case "as-keeper":
		return Main(ctx, change(settings, func(*Config) {}), "new", os.Stdout)
	case "as-old-keeper": // of another release, which also lingers for less
		return Main(ctx, change(settings, func(c *Config) { c.Oldest, c.Newest = 1, 1 }), "old", os.Stdout)
	case "as-next-keeper":
		return Main(ctx, change(settings, func(c *Config) { c.Oldest, c.Newest = 2, 2 }), "next", os.Stdout)
	case "as-impatient-keeper":
		return Main(ctx, change(settings, func(c *Config) { c.Patience = time.Millisecond }), "new", os.Stdout)
	case "as-failing-keeper":
		return errors.New("this one does not start")
	}
	if role == "as-reader" {
		return read(settings)
	}
	return worker(ctx, settings)
}

// linger is how long a keeper that nobody needs waits for a worker.
const linger = 50 * time.Millisecond

// change is what tests make of a keeper's settings: one that nobody needs ends soon.
func change(settings string, f func(*Config)) string {
	var cfg Config
	if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
		panic(err)
	}
	cfg.Linger = linger
	f(&cfg)
	text, err := json.Marshal(cfg)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// worker is the process of a worker that opens an image, says where it is, and waits to be killed.
func worker(ctx context.Context, settings string) error {
	var o opening
	if err := json.Unmarshal([]byte(settings), &o); err != nil {
		return err
	}
	c := NewClient(ClientConfig{
		Dir: o.Dir, CacheDir: o.CacheDir, CacheBytes: 1 << 30, LogFile: o.LogFile, Command: o.Command, Release: "killed",
		Source: disk{dir: o.Blobs}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	path, _, err := c.Open(ctx, o.Image)
	if err != nil {
		return err
	}
	if _, err := fmt.Println(path); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// opening is what such a process opens.
type opening struct {
	Dir, CacheDir, LogFile, Blobs string
	Command                       []string
	Image                         payload.Ref
}

// disk is a blob store in a folder. It says when it is asked, and does not answer for what is withheld.
type disk struct {
	dir   string
	asked chan string
	gate  *gate
}

// gate withholds blobs.
type gate struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

func (g *gate) shut(digest string) (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{})
	g.held[digest] = c
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.held, digest)
		close(c)
	})
}

func (d disk) Add(_ context.Context, data []byte) (payload.Ref, bool, error) {
	ref := payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	return ref, true, os.WriteFile(filepath.Join(d.dir, ref.Digest), data, 0o600)
}

func (d disk) ReadAll(ctx context.Context, digest string, _ int64) ([]byte, error) {
	if d.gate != nil {
		d.gate.mu.Lock()
		held := d.gate.held[digest]
		d.gate.mu.Unlock()
		if held != nil {
			d.asked <- digest
			select {
			case <-held:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(d.dir, digest))
	if err != nil {
		// As a gateway that is away: a worker that lacks something must not answer for others.
		return nil, fault.New(fault.Unavailable, "blob: %w", err)
	}
	return data, nil
}

// rig is an instance's folders, an image, and how to be its worker.
type rig struct {
	opening

	source   disk
	manifest *cas.Manifest
	content  []byte
	lost     chan []string
	cut      func(*ClientConfig)
}

// newRig makes an image of chunks of 64 KiB, the first and the last of them metadata.
func newRig(t testing.TB) *rig {
	t.Helper()
	dir := t.TempDir()
	run, err := os.MkdirTemp("/run", "skerry-keeper-") // short
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{lost: make(chan []string, 10)}
	r.Dir, r.CacheDir, r.LogFile, r.Blobs = filepath.Join(run, "k"), filepath.Join(dir, "cache"), filepath.Join(dir, "log"), filepath.Join(dir, "blobs")
	r.Command = []string{os.Args[0], "as-keeper"}
	r.source = disk{r.Blobs, make(chan string, 100), &gate{held: map[string]chan struct{}{}}}
	if err := os.Mkdir(r.Blobs, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cleanup(t, run) })
	const count, size = 40, 64 << 10
	sizes := make([]uint32, count)
	for i := range sizes {
		sizes[i] = size
	}
	r.content = make([]byte, count*size)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(r.content) // never fails
	w, err := cas.Write(t.Context(), r.source, bytes.NewReader(r.content), sizes, []cas.Range{{Size: size}, {Offset: (count - 1) * size, Size: size}})
	if err != nil {
		t.Fatal(err)
	}
	r.Image = w.File
	if r.manifest, err = cas.Load(t.Context(), r.source, w.File.Digest); err != nil {
		t.Fatal(err)
	}
	return r
}

// cleanup sees that nothing is left, and shows the keeper's log where a test has failed.
func (r *rig) cleanup(t testing.TB, run string) {
	if text, err := os.ReadFile(r.LogFile); err == nil && t.Failed() {
		t.Logf("log of the keeper:\n%s", text)
	}
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(text), run) {
		t.Errorf("mounts are left in %s: %v", run, err)
		return
	}
	if err := os.RemoveAll(run); err != nil {
		t.Error(err)
	}
}

// client is a worker in this process. It is closed at the test's end.
func (r *rig) client(t testing.TB) *Client {
	t.Helper()
	cfg := ClientConfig{
		Dir: r.Dir, CacheDir: r.CacheDir, CacheBytes: 1 << 30, LogFile: r.LogFile, Command: r.Command, Release: "test", Source: r.source,
		Lost: func(paths []string, _ error) { r.lost <- paths }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if r.cut != nil {
		r.cut(&cfg)
	}
	c := NewClient(cfg)
	t.Cleanup(func() { c.close(t) })
	return c
}

func (c *Client) close(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	if closing {
		return
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// open opens the image.
func (r *rig) open(t *testing.T, c *Client) (f *reader, release func()) {
	t.Helper()
	path, release, err := c.Open(t.Context(), r.Image)
	if err != nil {
		t.Fatal(err)
	}
	return openFile(t, path), release
}

// reader is a process that has an image open. It is not this one, which has the mounts' devices: a process that waits for them itself would
// never end.
type reader struct {
	path string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

func openFile(t *testing.T, path string) *reader {
	t.Helper()
	f := &reader{path: path, cmd: exec.CommandContext(t.Context(), os.Args[0], "as-reader", path)}
	f.cmd.Stderr = t.Output()
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.out = bufio.NewReader(out)
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	if line, err := f.out.ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("reader: %q, %v", line, err)
	}
	return f
}

// close ends the reader.
func (f *reader) close() {
	if f.in.Close() == nil {
		_ = f.cmd.Wait() // its answers have said what matters
	}
}

// ask has the reader read, and returns the digest of what it got.
func (f *reader) ask(at, size uint64) (digest string, err error) {
	if _, err := fmt.Fprintln(f.in, at, size); err != nil {
		return "", err
	}
	line, err := f.out.ReadString('\n')
	if err != nil {
		return "", err
	}
	var number syscall.Errno
	if _, err := fmt.Sscanf(line, "error %d", &number); err == nil {
		return "", number
	}
	return strings.TrimSpace(line), nil
}

// read is the reader's process.
func read(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	fmt.Println("open")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var at int64
		var size int
		if _, err := fmt.Sscan(lines.Text(), &at, &size); err != nil {
			return err
		}
		p := make([]byte, size)
		n, err := unix.Pread(fd, p, at)
		var number unix.Errno
		if errors.As(err, &number) {
			fmt.Println("error", int(number))
		} else {
			fmt.Println(ident.Digest(p[:n]))
		}
	}
	return nil
}

// read reads a chunk and compares it.
func (r *rig) read(f *reader, index int) error {
	got, err := f.ask(r.manifest.Start(index), uint64(r.manifest.Chunks[index].Size))
	if err == nil && got != r.manifest.Chunks[index].Digest {
		err = errors.New("wrong data")
	}
	return err
}

// withhold has the worker of this process not answer for a chunk that a reader then waits for. It returns when the reader waits.
func (r *rig) withhold(t *testing.T, f *reader, index int) (open func(), read <-chan error) {
	t.Helper()
	digest := r.manifest.Chunks[index].Digest
	open = r.source.gate.shut(digest)
	t.Cleanup(open)
	result := make(chan error, 1)
	go func() { result <- r.read(f, index) }()
	for got := ""; got != digest; {
		got = <-r.source.asked
	}
	return open, result
}

// pid is the process of the keeper that a worker uses.
func (c *Client) pid(t *testing.T) int {
	t.Helper()
	l, err := c.connected(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := l.peer.Process()
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// pidOf is the process at the other end.
func pidOf(t *testing.T, conn *net.UnixConn) int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var peer *unix.Ucred
	if err := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || peer == nil {
		t.Fatal(err)
	}
	return int(peer.Pid)
}

// killKeeper kills the keeper that a worker uses, and returns when the worker has done what follows.
func (c *Client) killKeeper(t *testing.T) {
	t.Helper()
	l, err := c.connected(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	kill(t, c.pid(t))
	<-l.ended
}

// watch returns a function that waits until a process has ended.
func watch(t *testing.T, pid int) (ended func()) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				if err != nil {
					t.Error(err)
				}
				break
			}
		}
		_ = unix.Close(fd)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// elsewhere is a worker in a process of its own, which has opened the image.
func (r *rig) elsewhere(t *testing.T, blobs string) (path string, process *exec.Cmd) {
	t.Helper()
	o := r.opening
	o.Blobs = blobs
	settings, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "as-worker", string(settings))
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		_ = cmd.Wait()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return strings.TrimSpace(string(line[:n])), cmd
}

// missing is a chunk that some workers lack.
const missing = 20

// without is a copy of the blob store that lacks that chunk.
func (r *rig) without(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.Blobs)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, r.manifest.Chunks[missing].Digest)); err != nil {
		t.Fatal(err)
	}
	return dir
}
