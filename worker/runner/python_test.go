package runner_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/runner"
)

// python is a session with a real runner, as an ordinary process.
type python struct {
	*heard
	session *runner.Session
	blobs   *blobs
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	readyIn time.Duration
	stop    context.CancelFunc
	ended   chan error
}

// checkout returns the folder that go.mod is in.
func checkout(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// startPython runs the function f of a module's source until the test ends.
func startPython(t testing.TB, source string, change func(*runner.Config)) *python {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "user.py"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "runner.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := &python{heard: &heard{outputs: make(chan container.Output, 100_000)}, blobs: &blobs{}, ended: make(chan error, 1)}
	main := filepath.Join(checkout(t), "sdk-python/src/skerry/_runner/__main__.py")
	p.cmd = exec.Command("python3", main)
	p.cmd.Env = append(os.Environ(), "SKERRY_RUNNER_SOCKET="+socket, "SKERRY_CODE_DIR="+dir, "SKERRY_IS_REMOTE=1")
	p.cmd.Stderr = &p.stderr
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	cfg := runner.Config{
		Module: "user", Qualname: "f", ContainerID: "ta-1",
		Signal: func(sig int) error { return p.cmd.Process.Signal(syscall.Signal(sig)) },
	}
	if change != nil {
		change(&cfg)
	}
	ready := make(chan struct{})
	p.session = runner.New(conn, cfg, p.blobs, &readyEvents{heard: p.heard, ready: ready})
	ctx, stop := context.WithCancel(t.Context())
	p.stop = stop
	go func() { p.ended <- p.session.Run(ctx) }()
	<-ready
	p.readyIn = time.Since(began)
	t.Cleanup(func() {
		stop()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

// readyEvents says when the session is ready, or never will be.
type readyEvents struct {
	*heard
	ready chan struct{}
}

func (e *readyEvents) Ready() { close(e.ready) }

func (e *readyEvents) StartFailed(err payload.RemoteError) {
	e.heard.StartFailed(err)
	close(e.ready)
}

// none is the pickle of ((), {}).
var none = payload.Payload{Format: payload.Pickle, Inline: []byte("\x80\x04)}\x94\x86\x94.")}

func TestPython(t *testing.T) {
	p := startPython(t, `
import os, time
from skerry import current_input_id
def f():
    n = int(current_input_id().rpartition("-")[2])
    if n == 0: return b"x" * 3_000_000
    if n == 1: raise ValueError("no")
    if n == 2: time.sleep(1000)
    if n == 3: return n
    os._exit(3)
`, nil)
	give := func(i int) {
		p.session.Submit([]container.Input{{Key: key(i), Args: none}})
	}
	give(0)
	if o := <-p.outputs; o.Result.Status != payload.Success || o.Result.Value.Blob == nil || o.Result.Value.Blob.Size < 3_000_000 {
		t.Errorf("large result: %+v", o.Result)
	}
	give(1)
	if o := <-p.outputs; o.Result.Status != payload.Failure || o.Result.Error.Type != "builtins.ValueError" || o.Result.Error.Exception == nil {
		t.Errorf("exception: %+v", o.Result)
	}
	give(2)
	p.session.Cancel([]payload.Key{key(2)})
	if o := <-p.outputs; o.Result.Status != payload.Cancelled {
		t.Errorf("cancelled: %+v", o.Result)
	}
	give(3)
	if o := <-p.outputs; o.Result.Status != payload.Success {
		t.Errorf("the one after it: %+v", o.Result)
	}
	give(4)
	if err := <-p.ended; err != nil {
		t.Errorf("Run after an exit: %v", err)
	}
	if got := p.session.Running(); len(got) != 1 || got[0] != key(4) {
		t.Errorf("running after the exit: %v", got)
	}
}

func TestPythonStops(t *testing.T) {
	p := startPython(t, "import atexit, sys\natexit.register(print, 'bye', file=sys.stderr)\ndef f(): pass", nil)
	p.stop()
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil || strings.TrimSpace(p.stderr.String()) != "bye" {
		t.Errorf("the runner ended with %v, having written %q", err, p.stderr.String())
	}
}

func TestPythonStartFailed(t *testing.T) {
	p := startPython(t, "import no_such", nil)
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	if len(p.lines) != 1 || !strings.Contains(p.lines[0], "no_such") {
		t.Errorf("heard %q", p.lines)
	}
}

// BenchmarkRoundTrip is one input at a time, from Submit to its output; BenchmarkQueue has the next inputs queued already.
func BenchmarkRoundTrip(b *testing.B) {
	p := startPython(b, "def f(): pass", nil)
	for i := 0; b.Loop(); i++ {
		p.session.Submit([]container.Input{{Key: key(i), Args: none}})
		<-p.outputs
	}
	b.ReportMetric(float64(p.readyIn.Microseconds())/1000, "ms-to-ready")
}

func BenchmarkQueue(b *testing.B) {
	p := startPython(b, "def f(): pass", func(c *runner.Config) { c.ReturnAfter = time.Hour })
	const ahead = 32
	i := 0
	next := func() {
		p.session.Submit([]container.Input{{Key: key(i), Args: none}})
		i++
	}
	for range ahead {
		next()
	}
	for b.Loop() {
		<-p.outputs
		next()
	}
}
