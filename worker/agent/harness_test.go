package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gvisor"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/pool"
	"github.com/skerry-dev/skerry/worker/rootfs"
)

// rig is a host of containers with real parts, but without a gateway.
type rig struct {
	host    *container.Host
	runtime *gvisor.Runtime
	warm    *pool.Warm // for containers without limits on an open network
	ahead   *ahead
	groups  *cgroup.Subtree
	source  *memorySource
	logs    *logBook
	image   payload.Ref
	dir     string
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigWith(t, nil)
}

// newRigWith returns a rig whose containers have an access to a gateway.
func newRigWith(t testing.TB, access container.Access, edits ...func(*container.HostConfig)) *rig {
	t.Helper()
	r := &rig{source: newMemorySource(t), logs: &logBook{lines: map[string][]string{}, wrote: map[string][]container.LogEntry{}, ended: map[string]bool{}, news: make(chan struct{}, 1)}}
	r.dir = "/run/skerry/" + instance
	groups, err := cgroup.Open("skerry_" + instance)
	ok(t, err)
	r.groups = groups
	r.runtime, err = gvisor.New(gvisor.Config{
		Runsc: testbase.Tool(t, "runsc"), StateDir: r.dir + "/runsc", Cgroups: groups, MaxProcesses: 150,
	})
	ok(t, err)
	ok(t, r.runtime.Reap(t.Context(), nil))
	n, err := network.New(network.Config{Instance: instance, RunDir: r.dir + "/netns", PoolSize: 2, Log: slog.New(slog.DiscardHandler)})
	ok(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 2)
	go func() { ran <- n.Run(ctx) }()
	r.warm, err = pool.NewWarm(pool.WarmConfig{
		Machines: emptyMachines{r.runtime}, Network: n, Dir: r.dir + "/w", Max: 2, NewID: func() string { return ident.New(ident.Box) },
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	ok(t, err)
	r.ahead = &ahead{Warm: r.warm}
	waiting, none := context.WithCancel(ctx)
	go func() { ran <- r.warm.Run(waiting) }()
	base := testbase.Erofs(t)
	r.image = payload.Ref{Digest: "sha256:" + strings.Repeat("b", 64), Size: 1}
	store, err := rootfs.Open(rootfs.Config{Dir: t.TempDir(), Source: r.source, Local: fixedImage{r.image.Digest, base}})
	ok(t, err)
	cfg := container.HostConfig{
		RunDir: r.dir + "/c", DiskDir: filepath.Join(t.TempDir(), "disks"), RuntimeDir: testbase.Tool(t, "guest"),
		Network: n, Rootfs: store, Sandboxes: r.runtime, Logs: r.logs, Access: access, Ahead: r.ahead,
		Dialects:  dialects{blobs: r.source},
		MemoryMiB: 2048,
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	r.host, err = container.NewHost(cfg)
	ok(t, err)
	t.Cleanup(func() {
		c, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		ok(t, r.host.Wait(c))
		none()
		ok(t, <-ran)
		cancel()
		ok(t, errors.Join(<-ran, n.Close(), r.runtime.Close(), r.groups.Reap(c, nil), os.RemoveAll(r.dir)))
	})
	return r
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spec is a container that runs a function of a module with this text.
func (r *rig) spec(module string) container.Spec {
	return container.Spec{
		ID: ident.New(ident.Container), AppID: "ap-1", AppName: "test", FunctionID: "fu-1", FunctionName: "f", Environment: "main",
		Module: "mod", Qualname: "f", ImageID: "im-1", Image: container.Image{Ref: r.image}, SecretEnv: map[string]string{"GREETING": "hello"},
		Mounts:   []container.Mount{{RemotePath: "/root/mod.py", TreeDigest: r.source.tree(map[string]string{".": module})}},
		CPUMilli: 125, MemoryMiB: 128, MemoryLimitMiB: 512, EphemeralDiskMiB: 64, BlockNetwork: true,
		Timeout: 60 * time.Second,
	}
}

// life is a container under test, and what it said.
type testLife struct {
	*container.Container
	id      string
	ready   chan []container.Phase
	outputs chan container.Output
	exit    chan container.Exit
	cancel  context.CancelFunc // of the context of Run

	mu       sync.Mutex
	returned []payload.Key
}

func (r *rig) start(t testing.TB, spec container.Spec) *testLife {
	t.Helper()
	l := &testLife{
		id: spec.ID, ready: make(chan []container.Phase, 1), outputs: make(chan container.Output, 1000), exit: make(chan container.Exit, 1),
	}
	l.Container = r.host.New(spec, l)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exit, err := l.Run(ctx)
		if err != nil {
			t.Errorf("left behind: %v", err)
		}
		l.exit <- exit
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l
}

func (l *testLife) Ready(phases []container.Phase) { l.ready <- phases }
func (l *testLife) Outputs(outputs []container.Output) {
	for _, o := range outputs {
		l.outputs <- o
	}
}

func (l *testLife) Items(payload.Key, uint64, []*payload.Payload) {}

func (l *testLife) Slots(int) {}

func (l *testLife) Returned(keys []payload.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.returned = append(l.returned, keys...)
}

const patience = 30 * time.Second

func (l *testLife) awaitReady(t testing.TB) []container.Phase {
	t.Helper()
	select {
	case p := <-l.ready:
		return p
	case e := <-l.exit:
		t.Fatalf("ended before it was ready: %+v", e)
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return nil
}

func (l *testLife) awaitOutput(t testing.TB) container.Output {
	t.Helper()
	select {
	case o := <-l.outputs:
		return o
	case <-time.After(patience):
		t.Fatal("no output")
	}
	return container.Output{}
}

func (l *testLife) awaitExit(t testing.TB) container.Exit {
	t.Helper()
	select {
	case e := <-l.exit:
		return e
	case <-time.After(patience):
		t.Fatal("no exit")
	}
	return container.Exit{}
}

// noArguments is the pickle of ((), {}).
var noArguments = payload.Payload{Format: payload.Pickle, Inline: []byte("\x80\x04)}\x86.")}

func (l *testLife) submit(indexes ...uint32) {
	var inputs []container.Input
	for _, i := range indexes {
		inputs = append(inputs, container.Input{Key: payload.Key{CallID: "fc-1", Index: i}, Args: noArguments})
	}
	l.Submit(inputs)
}

// logBook is a log sink that remembers.
type logBook struct {
	mu    sync.Mutex
	lines map[string][]string
	wrote map[string][]container.LogEntry
	ended map[string]bool
	news  chan struct{} // holds a token after a line has come
}

func (b *logBook) Write(id string, e container.LogEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	line := "out:" + string(e.Text)
	if e.Stderr {
		line = "err:" + string(e.Text)
	}
	b.lines[id] = append(b.lines[id], line)
	e.Text = bytes.Clone(e.Text)
	b.wrote[id] = append(b.wrote[id], e)
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *logBook) EOF(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended[id] = true
}

func (b *logBook) text(id string) (text string, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines[id], ""), b.ended[id]
}

func (b *logBook) entries(id string) []container.LogEntry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wrote[id]
}

// memorySource holds blobs and trees.
type memorySource struct {
	mu    sync.Mutex
	blobs map[string][]byte
	trees map[string][]rootfs.File
}

func newMemorySource(testing.TB) *memorySource {
	return &memorySource{blobs: map[string][]byte{}, trees: map[string][]rootfs.File{}}
}

func (s *memorySource) blob(content string) payload.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref := payload.Ref{Digest: ident.Digest([]byte(content)), Size: uint64(len(content))}
	s.blobs[ref.Digest] = []byte(content)
	return ref
}

func (s *memorySource) ref(digest string) payload.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	return payload.Ref{Digest: digest, Size: uint64(len(s.blobs[digest]))}
}

func (s *memorySource) tree(files map[string]string) string {
	var list []rootfs.File
	name := ""
	for path, content := range files {
		list = append(list, rootfs.File{Path: path, Blob: s.blob(content), Mode: 0o644})
		name += path + "\n" + content + "\n"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	digest := ident.Digest([]byte(name))
	s.trees[digest] = list
	return digest
}

func (s *memorySource) Open(_ context.Context, ref payload.Ref) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, found := s.blobs[ref.Digest]
	if !found {
		return nil, fault.New(fault.NotFound, "blob %q", ref.Digest)
	}
	return io.NopCloser(strings.NewReader(string(b))), nil
}

func (s *memorySource) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, payload.Ref{Digest: digest})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, limit))
}

func (s *memorySource) Tree(_ context.Context, digest string) ([]rootfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, found := s.trees[digest]
	if !found {
		return nil, fault.New(fault.NotFound, "tree %q", digest)
	}
	return t, nil
}

func (s *memorySource) Create(context.Context) (container.BlobWriter, error) {
	return &memoryWriter{source: s}, nil
}

type memoryWriter struct {
	source *memorySource
	data   []byte
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	return len(p), nil
}
func (w *memoryWriter) Commit() (payload.Ref, error) { return w.source.blob(string(w.data)), nil }
func (w *memoryWriter) Abort()                       {}

// fixedImage is a local store of one file.
type fixedImage struct{ digest, path string }

func (f fixedImage) LocalPath(digest string) (string, bool) { return f.path, digest == f.digest }
