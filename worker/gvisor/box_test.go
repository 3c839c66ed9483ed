package gvisor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gvisor"
)

// instance names the tests' things on the host; no daemon has it, for theirs are hex.
const instance = "gvisort"

// agent is PID 1 of the tests' containers: it dials the test and evaluates what that says. After "bye" it hangs up and sleeps until it is nudged.
const agent = `
import json, os, signal, socket, subprocess, sys, threading, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
names = {**globals()}
while True:
    s = socket.socket(socket.AF_UNIX)
    s.connect("/io/agent.sock")
    f = s.makefile("rw")
    for line in f:
        code = json.loads(line)
        if code == "bye":
            break
        try:
            try:
                said = eval(code, names)
            except SyntaxError:
                said = exec(code, names)
            said = {"value": said}
        except BaseException as e:
            said = {"error": repr(e)}
        f.write(json.dumps(said) + "\n")
        f.flush()
    f.close(); s.close()
    signal.sigwait([signal.SIGUSR1])
`

// world is a runtime of the tests and the folder of their files.
type world struct {
	*testing.T
	runtime *gvisor.Runtime
	groups  *cgroup.Subtree
	dir     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	groups, err := cgroup.Open("skerry_" + instance)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, groups: groups, dir: t.TempDir()}
	w.runtime = w.open()
	if err := w.runtime.Reap(t.Context(), nil); err != nil { // of a test that was killed
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
		defer done()
		for _, err := range []error{w.runtime.Reap(ctx, nil), w.runtime.Close(), os.RemoveAll("/run/skerry/" + instance)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

// open is what a process of the instance does at its start.
func (w *world) open() *gvisor.Runtime {
	w.Helper()
	r, err := gvisor.New(gvisor.Config{Runsc: testbase.Tool(w, "runsc"), StateDir: "/run/skerry/" + instance, Cgroups: w.groups})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// params makes the folders of a container whose PID 1 is the agent.
func (w *world) params(id string) container.SandboxParams {
	w.Helper()
	dir := filepath.Join(w.dir, id)
	for _, d := range []string{"bundle", "disk", "io"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			w.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "io", "agent.py"), []byte(agent), 0o600); err != nil {
		w.Fatal(err)
	}
	return container.SandboxParams{
		ID: id, Dir: filepath.Join(dir, "bundle"), Image: testbase.Erofs(w), DiskDir: filepath.Join(dir, "disk"), DiskMiB: 256,
		Hostname: "host-of-" + id, Argv: []string{"/usr/bin/python3", "/io/agent.py"},
		Binds: []container.Bind{{Source: filepath.Join(dir, "io"), Target: "/io", Writable: true}},
	}
}

// line is a conversation with an agent.
type line struct {
	w    *world
	ln   *net.UnixListener
	conn net.Conn
	in   *bufio.Reader
}

// listen is where the container's agent dials.
func (w *world) listen(id string) *line {
	w.Helper()
	path := filepath.Join(w.dir, id, "io", "agent.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = ln.Close() })
	return &line{w: w, ln: ln}
}

func (l *line) accept() *line {
	l.w.Helper()
	if err := l.ln.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		l.w.Fatal(err)
	}
	conn, err := l.ln.Accept()
	if err != nil {
		l.w.Fatal(err)
	}
	l.w.Cleanup(func() { _ = conn.Close() })
	l.conn, l.in = conn, bufio.NewReader(conn)
	return l
}

// bye has the agent hang up.
func (l *line) bye() {
	l.w.Helper()
	l.say("bye")
	if _, err := l.in.ReadByte(); err == nil {
		l.w.Fatal("the agent goes on")
	}
	_ = l.conn.Close()
}

func (l *line) say(code string) {
	l.w.Helper()
	data, err := json.Marshal(code)
	if err == nil {
		_, err = fmt.Fprintf(l.conn, "%s\n", data)
	}
	if err != nil {
		l.w.Fatal(err)
	}
}

// eval runs Python in the container. Its value is text, or what json makes of it.
func (l *line) eval(code string) string {
	l.w.Helper()
	l.say(code)
	data, err := l.in.ReadBytes('\n')
	if err != nil {
		l.w.Fatalf("%s: %v", code, err)
	}
	var said struct {
		Value any
		Error string
	}
	if err := json.Unmarshal(data, &said); err != nil || said.Error != "" {
		l.w.Fatalf("%s: %v %s", code, err, said.Error)
	}
	return fmt.Sprint(said.Value)
}
