package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
)

// sidecar is one to start in a sandbox.
func (g *sandboxGateway) sidecar(sandboxID, name string, argv ...string) *workerv1.StartSidecarRequest {
	of := g.spec(argv...)
	return &workerv1.StartSidecarRequest{
		SandboxId: sandboxID, SidecarId: ident.New(ident.Sidecar), Name: name, Image: of.GetImage(),
		Definition: &skerryv1.SandboxDefinition{Argv: argv, ImageId: "im-2", Env: map[string]string{"WHO": name}},
		SecretEnv:  map[string]string{"PASSWORD": "swordfish"},
	}
}

func (g *sandboxGateway) startSidecar(t testing.TB, req *workerv1.StartSidecarRequest) string {
	t.Helper()
	_, err := g.states.StartSidecar(t.Context(), connect.NewRequest(req))
	ok(t, err)
	return req.GetSidecarId()
}

// within is what the init of a sidecar serves.
func (g *sandboxGateway) within(sandboxID, name string) skerryv1connect.ProcessServiceClient {
	return skerryv1connect.NewProcessServiceClient(g.data.HTTPClient(), link.BaseURL+"/sandboxes/"+sandboxID+"/sidecars/"+name)
}

func (g *sandboxGateway) waitSidecar(t testing.TB, sandboxID, name string, limit time.Duration) *workerv1.SidecarStatus {
	t.Helper()
	res, err := g.states.WaitSidecar(t.Context(), connect.NewRequest(&workerv1.WaitSidecarRequest{
		SandboxId: sandboxID, Name: name, Limit: durationpb.New(limit),
	}))
	ok(t, err)
	return res.Msg.GetSidecar()
}

func (g *sandboxGateway) stopSidecar(t testing.TB, sandboxID, name string) {
	t.Helper()
	_, err := g.states.StopSidecar(t.Context(), connect.NewRequest(&workerv1.StopSidecarRequest{SandboxId: sandboxID, Name: name}))
	ok(t, err)
}

// run runs a shell line in a container and returns its output.
func shell(t testing.TB, p skerryv1connect.ProcessServiceClient, line string) string {
	t.Helper()
	out, _ := follow(t, startProcess(t, p, &skerryv1.StartProcessRequest{
		ProcessId: ident.Random(8), Argv: []string{"sh", "-c", line + " 2>&1"},
	}))
	return out
}

// foldersOf are the folders that boxes have for further containers.
func foldersOf(t testing.TB, sidecarID string) []string {
	t.Helper()
	found, err := filepath.Glob("/run/skerry/" + agentInstance + "/b/*/*/" + sidecarID)
	ok(t, err)
	return found
}

// TestSidecars has further containers run in a sandbox, each with what is its own, and end alone and with it.
func TestSidecars(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	id := g.start(t, g.spec("sleep", "1000"))
	const serve = "echo serving as $WHO; cd /srv; echo hello from $WHO > f; exec python3 -m http.server 8000"
	req := g.sidecar(id, "web", "sh", "-c", serve)
	web := g.startSidecar(t, req)
	g.startSidecar(t, req) // again: nothing happens
	if _, err := g.states.StartSidecar(t.Context(), connect.NewRequest(g.sidecar(id, "web"))); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("a second of the name: %v", err)
	}
	helper := g.startSidecar(t, g.sidecar(id, "helper"))

	main, in := g.processes(id), g.within(id, "web")
	// Loopback is one, and the server may take a moment.
	const fetch = `python3 -c "
import time, urllib.request as r
while True:
    try: print(r.urlopen('http://127.0.0.1:8000/f').read().decode().strip()); break
    except OSError: time.sleep(0.05)"`
	for _, p := range []skerryv1connect.ProcessServiceClient{main, g.within(id, "helper")} {
		if got := shell(t, p, fetch); got != "hello from web\n" {
			t.Errorf("fetched %q", got)
		}
	}
	want := "swordfish web " + id + " im-2\n" + strings.ToLower(id) + "\n1\n"
	if got := shell(t, in, "echo $PASSWORD $WHO $SKERRY_SANDBOX_ID $SKERRY_IMAGE_ID; hostname; ls /srv | wc -l"); got != want {
		t.Errorf("the sidecar says %q, want %q", got, want)
	}
	if got := shell(t, main, "ls -A /srv; echo $PASSWORD"); got != "\n" {
		t.Errorf("of the sidecar's in the sandbox: %q", got)
	}
	if got := shell(t, in, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"); strings.Contains(got, "sleep 1000") {
		t.Errorf("the sidecar sees the sandbox's processes: %q", got)
	}
	// Neither can be kept while the other is there.
	_, err := g.states.PauseSandbox(t.Context(), connect.NewRequest(&workerv1.PauseSandboxRequest{SandboxId: id}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "sidecars run (web, helper)") {
		t.Errorf("paused: %v", err)
	}

	g.stopSidecar(t, id, "helper")
	if s := g.waitSidecar(t, id, "helper", patience); s.GetEnd().GetReturnCode() != 137 || s.GetSidecarId() != helper {
		t.Errorf("stopped: %v", s)
	}
	if left := foldersOf(t, helper); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := g.within(id, "helper").ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("use of one that has ended: %v", err)
	}
	if _, err := g.within(id, "none").ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("use of none: %v", err)
	}
	if got := shell(t, in, "echo on"); got != "on\n" {
		t.Errorf("the other says %q", got)
	}
	for _, c := range []struct {
		line string
		code int32
		text string
	}{{"printf out; exit 3", 3, "out"}, {"kill -TERM $$", 143, ""}} {
		again := g.startSidecar(t, g.sidecar(id, "helper", "sh", "-c", c.line)) // the name is free
		if s := g.waitSidecar(t, id, "helper", patience); s.GetEnd().GetReturnCode() != c.code || s.GetSidecarId() != again {
			t.Errorf("%s: %v", c.line, s)
		}
		for got := ""; got != again; {
			got = <-g.ended
		}
		if got := g.textOf(again); got != c.text {
			t.Errorf("%s wrote %q", c.line, got)
		}
	}
	g.startSidecar(t, g.sidecar(id, "helper", "/nowhere"))
	if s := g.waitSidecar(t, id, "helper", patience); s.GetEnd().GetReason() != skerryv1.SandboxEndReason_SANDBOX_END_REASON_START_FAILED {
		t.Errorf("no such program: %v", s)
	}
	list, err := g.states.ListSidecars(t.Context(), connect.NewRequest(&workerv1.ListSidecarsRequest{SandboxId: id}))
	ok(t, err)
	if n := len(list.Msg.GetSidecars()); n != 5 {
		t.Errorf("%d sidecars: %v", n, list.Msg)
	}

	_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	g.await(t, id, ended)
	var told []string
	g.mu.Lock()
	for _, c := range g.state[id].GetSidecars() {
		told = append(told, fmt.Sprintf("%s %d", c.GetName(), c.GetEnd().GetReturnCode()))
	}
	g.mu.Unlock()
	if got := strings.Join(told, ", "); got != "web 137, helper 137, helper 3, helper 143, helper 1" {
		t.Errorf("with the sandbox's end: %s", got)
	}
	if s := g.waitSidecar(t, id, "web", 0); s.GetEnd().GetReason() != skerryv1.SandboxEndReason_SANDBOX_END_REASON_TERMINATED {
		t.Errorf("after the sandbox: %v", s)
	}
	for got := ""; got != web; {
		got = <-g.ended
	}
	if got := g.textOf(web); !strings.HasPrefix(got, "serving as web\n") {
		t.Errorf("output %q", got)
	}
	_, err = g.rpc.ForgetSandbox(t.Context(), connect.NewRequest(&workerv1.ForgetSandboxRequest{SandboxId: id}))
	ok(t, err)
	left, err := os.ReadDir(data + "/sandboxes")
	ok(t, err)
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	stop()
	nothingOf(t, id, web)
}

// TestSidecarHostile has a sandbox and its sidecar try to be the other.
func TestSidecarHostile(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	id := g.start(t, g.spec("sleep", "1000"))
	g.startSidecar(t, g.sidecar(id, "side", "sh", "-c", "while true; do sleep 1; done"))
	in, main := g.within(id, "side"), g.processes(id)
	if got := shell(t, in, "echo $PASSWORD"); got != "swordfish\n" {
		t.Fatalf("the sidecar says %q", got)
	}
	// Its socket and its environment can't be had through its processes, which the sandbox sees.
	const look = `cd /proc; for p in [0-9]*; do
		tr '\0' '\n' < $p/environ | grep PASSWORD
		for way in root cwd; do [ $(readlink -f /proc/$p/$way/__skerry/run/guest.sock) = /__skerry/run/guest.sock ] || ls $p/$way/__skerry/run; done
		done 2>/dev/null; grep -l '[w]hile true' [0-9]*/cmdline | wc -l`
	if got := shell(t, main, look); got != "1\n" {
		t.Errorf("the sandbox finds %q", got)
	}
	// Who takes its init away ends it, and is not taken for it.
	shell(t, main, `cd /proc; for p in $(grep -l '[s]kerry-init' [0-9]*/cmdline); do p=${p%/cmdline}; [ $p = 1 ] || kill -9 $p; done`)
	if s := g.waitSidecar(t, id, "side", patience); s.GetEnd().GetReason() != skerryv1.SandboxEndReason_SANDBOX_END_REASON_LOST {
		t.Errorf("a sidecar without an init: %v", s)
	}
	if got := shell(t, main, "echo on"); got != "on\n" {
		t.Errorf("the sandbox says %q", got)
	}
	// The other way round there is nobody to be seen.
	g.startSidecar(t, g.sidecar(id, "side"))
	if got := shell(t, in, "kill -9 -1; ps -e 2>/dev/null | grep -c sleep; ls /__skerry/run"); strings.Contains(got, "gateway") {
		t.Errorf("the sidecar finds %q", got)
	}
	if got := shell(t, main, "echo on"); got != "on\n" {
		t.Errorf("the sandbox says %q", got)
	}
}

// TestSidecarOutlivesWorker kills a worker, and has one hand over, while a sidecar runs: the next one goes on with the same processes and all of
// their output, and ends it.
func TestSidecarOutlivesWorker(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	child := g.worker(t, data, tools, "")
	id := g.start(t, g.spec("sleep", "1000"))
	const count = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; [ $i != 150 ] || read go; done; exit 5"
	side := g.startSidecar(t, g.sidecar(id, "side", "sh", "-c", count))
	next := startProcess(t, g.within(id, "side"), &skerryv1.StartProcessRequest{ProcessId: "p-1", Argv: []string{"cat"}, Stdin: true})
	first, err := next()
	ok(t, err)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR1} {
		ok(t, child.Process.Signal(sig))
		_ = child.Wait() // it ended by that
		child = g.worker(t, data, tools, "")
	}
	p := g.within(id, "side")
	list, err := p.ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{}))
	ok(t, err)
	found := false
	for _, info := range list.Msg.GetProcesses() {
		found = found || info.GetProcessId() == "p-1" && info.GetPid() == first.GetStarted().GetPid() &&
			info.GetStartedAt().AsTime().Equal(first.GetStarted().GetStartedAt().AsTime())
	}
	if s := g.waitSidecar(t, id, "side", 0); !found || s.GetState() != skerryv1.SandboxState_SANDBOX_STATE_RUNNING || s.GetSidecarId() != side {
		t.Errorf("p-1 is not as it was (%v): %v; %v", first, list.Msg, s)
	}
	_, err = p.WriteProcessInput(t.Context(), connect.NewRequest(&skerryv1.WriteProcessInputRequest{ProcessId: box.MainProcess, Data: []byte("go\n")}))
	ok(t, err)
	if s := g.waitSidecar(t, id, "side", patience); s.GetEnd().GetReturnCode() != 5 {
		t.Errorf("end %v", s)
	}
	for got := ""; got != side; {
		got = <-g.ended
	}
	if got := g.textOf(side); strings.Count(got, "\n") != 300 || !strings.HasSuffix(got, "line 299\nline 300\n") {
		t.Errorf("output %q", got)
	}
	g.startSidecar(t, g.sidecar(id, "other"))
	ok(t, child.Process.Kill())
	_ = child.Wait() // killed
	stop := g.inProcess(t, data, tools)
	_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	g.await(t, id, ended)
	stop()
	nothingOf(t, id, side)
}

// TestSidecarKilledWorker kills a worker at each step of a sidecar's start and end: the next one says what became of it, and has nothing of it left.
func TestSidecarKilledWorker(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	for _, step := range []string{"adding", "added", "sidecar linked", "sidecar ends", "sidecar gone"} {
		t.Run(step, func(t *testing.T) {
			child := g.worker(t, data, tools, step)
			id := g.start(t, g.spec("sleep", "1000"))
			g.await(t, id, runs)
			req := g.sidecar(id, "side", "sleep", "1000")
			_, err := g.states.StartSidecar(t.Context(), connect.NewRequest(req))
			if err != nil && connect.CodeOf(err) != connect.CodeUnavailable { // it may be killed before it answers
				t.Fatal(err)
			}
			want := skerryv1.SandboxEndReason_SANDBOX_END_REASON_START_FAILED
			if strings.HasPrefix(step, "sidecar ") && step != "sidecar linked" {
				want = skerryv1.SandboxEndReason_SANDBOX_END_REASON_TERMINATED
				shell(t, g.within(id, "side"), "true")
				g.stopSidecar(t, id, "side")
			}
			if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("the worker ended: %v", err)
			}
			stop := g.inProcess(t, data, tools)
			defer stop()
			if s := g.waitSidecar(t, id, "side", patience); s.GetEnd().GetReason() != want {
				t.Errorf("status %v", s)
			}
			// What is left goes, and then the sandbox can be paused.
			g.startSidecar(t, g.sidecar(id, "side", "true"))
			g.waitSidecar(t, id, "side", patience)
			if got := shell(t, g.processes(id), "grep -l '[s]kerry-init' /proc/[0-9]*/cmdline"); got != "/proc/1/cmdline\n" {
				t.Errorf("inits in the sandbox: %q", got)
			}
			_, err = g.states.PauseSandbox(t.Context(), connect.NewRequest(&workerv1.PauseSandboxRequest{SandboxId: id}))
			ok(t, err)
			_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
			ok(t, err)
			g.await(t, id, ended)
			stop()
			nothingOf(t, id, req.GetSidecarId())
		})
	}
}

// Add implements box.Parts.
func (m killMachine) Add(ctx context.Context, p container.SandboxParams) (box.Part, error) {
	m.at("adding")
	part, err := m.Machine.Add(ctx, p)
	if err != nil {
		return nil, err
	}
	m.at("added")
	return killPart{part, m.at}, nil
}

type killPart struct {
	box.Part
	at func(string)
}

func (p killPart) Delete(ctx context.Context) error {
	p.at("sidecar ends")
	err := p.Part.Delete(ctx)
	p.at("sidecar gone")
	return err
}
