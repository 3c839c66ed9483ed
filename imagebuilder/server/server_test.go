package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
	"github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// runtimeWord makes this test binary the runtime of build steps.
const runtimeWord = "buildkit-runtime"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == runtimeWord {
		os.Exit(runtime.Main(os.Args[2:]))
	}
	// The runtime runs several times for a step; the race detector would have each of them wait for a second at its end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// cache is the checkout's folder for bases and layers that runs of the tests share.
func cache(t *testing.T) string {
	t.Helper()
	return filepath.Join(filepath.Dir(filepath.Dir(testbase.Tool(t, "runsc"))), ".cache", "builder")
}

// blobs is a file store as the builder sees it.
type blobs struct{ *blob.Store }

func (b blobs) Open(ctx context.Context, r payload.Ref) (io.ReadCloser, error) {
	return b.Store.Open(ctx, r.Digest, 0)
}

// whole writes the file of a made image and returns its path.
func (b blobs) whole(t *testing.T, image payload.Ref) string {
	t.Helper()
	m, err := cas.Load(t.Context(), b, image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "image.erofs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cas.Copy(t.Context(), b, m, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func (b blobs) put(t *testing.T, content string) payload.Ref {
	t.Helper()
	sum := sha256.Sum256([]byte(content))
	ref := payload.Ref{Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: uint64(len(content))}
	if err := b.Put(t.Context(), ref.Digest, ref.Size, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	return ref
}

// recorder keeps what a build tells.
type recorder struct {
	t     *testing.T
	mu    sync.Mutex
	steps []build.Step
	lines []string
}

func (r *recorder) Step(s build.Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t.Logf("step %d/%d %q: %d in %s", s.Number, s.Total, s.Name, s.State, s.Elapsed)
	r.steps = append(r.steps, s)
}

func (r *recorder) Log(l build.Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.t.Logf("  %d| %s", l.Step, strings.Join(l.Lines, "\n     "))
	r.lines = append(r.lines, l.Lines...)
}

// last returns the last state of each step by the beginning of its name.
func (r *recorder) last(prefix string) build.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s build.State
	for _, x := range r.steps {
		if strings.HasPrefix(x.Name, prefix) {
			s = x.State
		}
	}
	return s
}

func config(t *testing.T) server.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("", "skb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	sum := sha256.Sum256([]byte(cache(t)))
	return server.Config{
		Gateway: "http://127.0.0.1:1", DataDir: cache(t), RunDir: run, Instance: hex.EncodeToString(sum[:3]),
		Buildkitd: testbase.Tool(t, "buildkitd"), Runsc: testbase.Tool(t, "runsc"), RuntimeCommand: []string{self, runtimeWord},
	}
}

// start runs a builder until the test ends.
func start(t *testing.T, c server.Config) (*server.Server, blobs) {
	t.Helper()
	return startLogging(t, c, t.Output())
}

// syncWriter lets several write to one writer.
type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// text is what was written, where that goes to a buffer.
func (s *syncWriter) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.w)
}

func startLogging(t *testing.T, c server.Config, log io.Writer) (*server.Server, blobs) {
	t.Helper()
	b := newBlobs(t)
	return startOn(t, c, b, log), b
}

// newBlobs opens an empty store until the test ends.
func newBlobs(t *testing.T) blobs {
	t.Helper()
	store, err := blob.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return blobs{store}
}

// startOn runs a builder with a blob store until the test ends.
func startOn(t *testing.T, c server.Config, b blobs, log io.Writer) *server.Server {
	t.Helper()
	s, err := server.New(c, b, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return s
}

func TestBuilds(t *testing.T) {
	s, b := start(t, config(t))
	tree := "sha256:" + strings.Repeat("ab", 32)
	file := "sha256:" + strings.Repeat("cd", 32)
	r := build.Request{
		ImageID: "im-1",
		Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}}, Steps: []recipe.Step{
			{Action: &recipe.AptInstall{Packages: []string{"hello"}}},
			{Action: &recipe.PipInstall{Packages: []string{"six"}}},
			{Action: &recipe.UvPipInstall{Packages: []string{"toolz"}}},
			{Action: &recipe.Env{Variables: map[string]string{"GREETING": "it's me"}}},
			{Action: &recipe.Workdir{Path: "/srv/app"}},
			{Action: &recipe.AddLocal{TreeDigest: tree, RemotePath: "/srv/data"}},
			{Action: &recipe.AddLocal{TreeDigest: file, RemotePath: "/srv/one.txt"}},
			{
				Action:   &recipe.RunCommands{Commands: []string{`test "$ONLY" = here && echo "$GREETING $(pwd)" > /greeting; cat /srv/data/sub/b.txt`}},
				BuildEnv: map[string]string{"ONLY": "here"},
			},
		}},
		Trees: map[string][]build.File{
			tree: {{Path: "a.txt", Blob: b.put(t, "aaa"), Mode: 0o600}, {Path: "sub/b.txt", Blob: b.put(t, "bbb"), Mode: 0o755}},
			file: {{Path: ".", Blob: b.put(t, "one"), Mode: 0o644}},
		},
	}
	first := &recorder{t: t}
	img, err := s.Build(t.Context(), r, first)
	if err != nil {
		t.Fatal(err)
	}
	if img.Workdir != "/srv/app" || img.Env["GREETING"] != "it's me" || img.Env["PATH"] == "" {
		t.Errorf("env %v, workdir %q", img.Env, img.Workdir)
	}
	out := boot(t, b.whole(t, img.EROFS), `
import six, toolz, glob, os, subprocess
print(open("/greeting").read().strip(), oct(os.stat("/srv/data/a.txt").st_mode), os.stat("/srv/data/sub/b.txt").st_mtime)
print(open("/srv/one.txt").read(), open("/srv/data/sub/b.txt").read(), subprocess.check_output(["hello"]).decode().strip())
print(os.path.exists("/run/skerry"), os.listdir("/var/lib/apt/lists"), glob.glob("/var/cache/apt/*.bin"), [k for k in os.environ if "CERT" in k])`)
	want := "it's me /srv/app 0o100600 0.0\none bbb Hello, world!\nFalse [] [] []\n"
	if out != want {
		t.Errorf("container said\n%s\nwant\n%s", out, want)
	}

	again := &recorder{t: t}
	img2, err := s.Build(t.Context(), r, again)
	if err != nil {
		t.Fatal(err)
	}
	if img2.EROFS != img.EROFS {
		t.Errorf("the same image has another digest: %v, %v", img.EROFS, img2.EROFS)
	}
	for _, step := range []string{"apt-get install hello", "pip install six", "uv pip install", "add local", "test "} {
		if got := again.last(step); got != build.Cached {
			t.Errorf("step %q: state %d, want cached", step, got)
		}
	}
}

func TestFailureIsExplained(t *testing.T) {
	s, _ := start(t, config(t))
	rec := &recorder{t: t}
	_, err := s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{
		Base:  recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}},
		Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: []string{"true", "echo one; echo two >&2; exit 7"}}}},
	}}, rec)
	var f *build.FailedError
	if !errors.As(err, &f) {
		t.Fatalf("got %v", err)
	}
	if f.Step != "echo one; echo two >&2; exit 7" || f.Command != f.Step || f.ExitCode != 7 {
		t.Errorf("got %+v", f)
	}
	slices.Sort(f.LastLines)
	if !slices.Equal(f.LastLines, []string{"one", "two"}) {
		t.Errorf("last lines %q", f.LastLines)
	}
	if got := rec.last("echo one"); got != build.Failed {
		t.Errorf("state %d", got)
	}
}

func TestSeriesThatCanNotBeHad(t *testing.T) {
	c := config(t)
	s, err := server.New(c, blobs{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.12"}}}}, &recorder{t: t})
	if !errors.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "3.9, 3.11, 3.13") {
		t.Errorf("got %v", err)
	}
}
