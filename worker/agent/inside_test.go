package agent

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
)

// TestEnvironment checks what code finds around it, Modal's names of it included.
func TestEnvironment(t *testing.T) {
	r := newRig(t)
	spec := r.spec(`
import os, sys, skerry
def f():
    names = sorted(k for k in os.environ if k.startswith(("SKERRY_", "MODAL_")))
    print(*(f"{k}={os.environ[k]}" for k in names), sep="\n")
    print(os.getcwd(), sys.path[0], skerry.is_local(), skerry.current_input_id(), skerry.current_function_call_id())
`)
	spec.ModalNames = true
	spec.Labels = map[string]string{"region": "eu-1", "cloud": "own"}
	_, out := r.runOnce(t, spec, 7)
	var want strings.Builder
	for _, prefix := range []string{"MODAL", "SKERRY"} {
		for _, v := range []string{
			"APP_ID=ap-1", "CLOUD_PROVIDER=own", "ENVIRONMENT=main", "FUNCTION_ID=fu-1", "IMAGE_ID=im-1", "IS_REMOTE=1", "REGION=eu-1",
			"TASK_ID=" + spec.ID,
		} {
			fmt.Fprintf(&want, "%s_%s\n", prefix, v)
		}
	}
	want.WriteString("/root /root False in-1-7 fc-1\n")
	if string(out) != want.String() {
		t.Errorf("got\n%s\nwant\n%s", out, want.String())
	}
}

const askGateway = `
import socket
def f():
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect("/__skerry/run/gateway.sock")
    except FileNotFoundError:
        print("no socket")
        return
    s.sendall(b"POST /skerry.v1.X/Y HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\n"
        b"X-Skerry-Container: ta-other\r\nAuthorization: Bearer stolen\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
    data = b""
    while part := s.recv(1000): data += part
    print(data.decode().splitlines()[-1])
`

// TestAccessToTheGateway checks that code in a container reaches the gateway as that container, with no credential of its own, and not
// where that is restricted.
func TestAccessToTheGateway(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(w, "%s %s %s %q", q.URL.Path, body, q.Header.Get(gatewaylink.ContainerHeader), q.Header.Get("Authorization"))
	}))
	defer server.Close()
	access, err := gatewaylink.NewAccess(server.Client(), server.URL, slog.New(slog.DiscardHandler))
	ok(t, err)
	r := newRigWith(t, access)
	for _, restricted := range []bool{false, true} {
		spec := r.spec(askGateway)
		spec.RestrictAccess = restricted
		want := fmt.Sprintf("/skerry.v1.X/Y hi %s %q\n", spec.ID, "")
		if restricted {
			want = "no socket\n"
		}
		if _, out := r.runOnce(t, spec, 0); string(out) != want {
			t.Errorf("restricted %t: got %q, want %q", restricted, out, want)
		}
	}
}

// TestTerminal lends a terminal to code, as a client of skerry run -i does: interact() and breakpoint() read from and write to it.
func TestTerminal(t *testing.T) {
	r := newRig(t)
	spec := r.spec(`
import sys, skerry
def f():
    print("before")
    skerry.interact()
    skerry.interact()
    print("asked by", input("name? "), sys.stdout.isatty())
    secret = 41
    breakpoint()
    print("to the terminal", secret)
    return secret
`)
	spec.Interactive = true
	l := r.start(t, spec)
	l.awaitReady(t)
	for index := range uint32(2) { // the second input has a terminal of its own
		l.submit(index)
		talk(t, r, l, index)
		o := l.awaitOutput(t)
		if o.Result.Status != payload.Success || !strings.Contains(string(o.Result.Value.Inline), "*") { // 42 in a pickle
			t.Fatalf("output %+v %+v", o.Result, o.Result.Error)
		}
	}
	l.Stop(true)
	l.awaitExit(t)
	ok(t, r.host.Wait(t.Context()))
	if text, _ := r.logs.text(l.id); strings.Contains(text, "to the terminal") {
		t.Errorf("log %q", text)
	}
}

// talk waits until a terminal is wanted, starts the program that lends one, and types into it.
func talk(t *testing.T, r *rig, l *testLife, index uint32) {
	t.Helper()
	path := awaitTerminal(t, r, l.id, index)
	guest, err := l.Guest()
	ok(t, err)
	env, workdir := l.Environment()
	env = maps.Clone(env)
	env["TERM"] = "dumb"
	id := fmt.Sprint("terminal-", index)
	ok(t, guest.Start(t.Context(), container.Process{
		ID: id, Argv: []string{"python3", "/__skerry/py/skerry/_runner/terminal.py", path}, Env: env, Workdir: workdir,
		Terminal: &container.Terminal{Rows: 24, Cols: 80}, Stdin: true,
	}))
	answers := []struct{ after, typed string }{
		{"name? ", "somebody\n"}, {"(pdb) ", "p secret\n"}, {"41", "secret = 42\n"}, {"(pdb) ", "c\n"},
	}
	shown, from := "", 0
	ok(t, guest.Output(t.Context(), id, func(chunk container.Chunk) error {
		shown += string(chunk.Stdout)
		for len(answers) > 0 {
			at := strings.Index(shown[from:], answers[0].after)
			if at < 0 {
				break
			}
			from += at + len(answers[0].after)
			if err := guest.Write(t.Context(), id, []byte(answers[0].typed), false); err != nil {
				return err
			}
			answers = answers[1:]
		}
		return nil
	}))
	end, err := guest.Wait(t.Context(), id)
	ok(t, err)
	if end.ExitCode != 0 || end.Signal != syscall.Signal(0) {
		t.Errorf("the terminal's program ended with %+v", end)
	}
	if !strings.Contains(shown, "asked by somebody True") || !strings.Contains(shown, "to the terminal 42") {
		t.Errorf("terminal %q", shown)
	}
}

// awaitTerminal waits until an input wants a terminal, and returns the socket that it waits at.
func awaitTerminal(t *testing.T, r *rig, id string, index uint32) string {
	t.Helper()
	limit := time.After(patience)
	for {
		for _, e := range r.logs.entries(id) {
			if e.WantsTerminal != "" && e.Input.Index == index {
				return e.WantsTerminal
			}
		}
		select {
		case <-r.logs.news:
		case <-limit:
			t.Fatal("no terminal is wanted")
		}
	}
}
