package server_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/fault"
)

// commands is a request that runs shell commands, always anew.
func commands(c ...string) build.Request {
	return build.Request{NoCache: true, Recipe: recipe.Recipe{
		Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}}, Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: c}}},
	}}
}

// serves has a builder run a step, which is to fail, for nobody wants an image of it.
func serves(t *testing.T, s *server.Server) {
	t.Helper()
	_, err := s.Build(t.Context(), commands("exit 3"), &recorder{t: t})
	if f := new(build.FailedError); !errors.As(err, &f) || f.ExitCode != 3 {
		t.Errorf("a step that is to fail: got %v", err)
	}
}

// watcher passes lines of output on.
type watcher struct {
	recorder
	lines chan string
}

func (w *watcher) Log(l build.Log) {
	w.recorder.Log(l)
	if l.Step > 1 {
		for _, line := range l.Lines {
			w.lines <- line
		}
	}
}

// begin starts a build and returns the first line that a step of it writes, and where its error comes.
func begin(ctx context.Context, t *testing.T, s *server.Server, r build.Request) (string, <-chan error) {
	t.Helper()
	w := &watcher{recorder: recorder{t: t}, lines: make(chan string, 100)}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Build(ctx, r, w)
		ended <- err
	}()
	select {
	case line := <-w.lines:
		return line, ended
	case err := <-ended:
		t.Fatalf("the build ended: %v", err)
		return "", nil
	}
}

// sandboxes counts the processes of a builder's sandboxes.
func sandboxes(t *testing.T, c server.Config) int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range lines {
		data, err := os.ReadFile(l)
		if err == nil && bytes.Contains(data, []byte("--root="+c.RunDir)) {
			n++
		}
	}
	return n
}

// TestKilledDaemonIsReplaced kills buildkitd under a build, which is done again by the next one.
func TestKilledDaemonIsReplaced(t *testing.T) {
	c := config(t)
	s, _ := start(t, c)
	w := &watcher{recorder: recorder{t: t}, lines: make(chan string, 100)}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := s.Build(ctx, commands("echo running; sleep 1000"), w)
		ended <- err
	}()
	for range 2 {
		if line := <-w.lines; line != "running" {
			t.Fatalf("got %q", line)
		}
		data, err := os.ReadFile(filepath.Join(c.RunDir, "buildkit", "buildkitd.pid"))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, fault.Unavailable) {
		t.Errorf("after the second death: got %v", err)
	}
	serves(t, s)
	if n := sandboxes(t, c); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestCancelledBuildStops(t *testing.T) {
	c := config(t)
	s, _ := start(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, ended := begin(ctx, t, s, commands("echo running; sleep 1000"))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// The next build of the same daemon works, and when it has ended nothing of the first is left.
	serves(t, s)
	if n := sandboxes(t, c); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestStepsDoNotReachOneAnother(t *testing.T) {
	s, _ := start(t, config(t))
	ctx, cancel := context.WithCancel(t.Context())
	const listen = `exec python -c 'import socket, threading
s = socket.create_server(("", 7777)); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("192.0.2.1", 9))
print(u.getsockname()[0], flush=True)
while True: s.accept()'`
	addr, ended := begin(ctx, t, s, commands(listen))
	const reach = `python -c 'import socket
socket.create_connection(("ADDR", 7777), timeout=2)'`
	_, err := s.Build(t.Context(), commands(strings.ReplaceAll(reach, "ADDR", addr)), &recorder{t: t})
	f := new(build.FailedError)
	if !errors.As(err, &f) {
		t.Errorf("a step reached another at %s: %v", addr, err)
	} else if last := strings.Join(f.LastLines, "\n"); !strings.Contains(last, "TimeoutError") && !strings.Contains(last, "OSError") {
		t.Errorf("failed otherwise: %s", last)
	}
	cancel()
	<-ended
}
