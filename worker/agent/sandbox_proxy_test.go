package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/link"
)

// processes is the service that a sandbox's init serves, as the gateway reaches it.
func (g *sandboxGateway) processes(id string) skerryv1connect.ProcessServiceClient {
	return skerryv1connect.NewProcessServiceClient(g.data.HTTPClient(), link.BaseURL+"/sandboxes/"+id)
}

// follow reads the events of a process to its end.
func follow(t testing.TB, next func() (*skerryv1.ProcessEvent, error)) (stdout string, exit *skerryv1.ProcessExited) {
	t.Helper()
	var text strings.Builder
	for {
		e, err := next()
		if errors.Is(err, io.EOF) {
			return text.String(), exit
		}
		ok(t, err)
		text.Write(e.GetOutput().GetStdout())
		if e.GetExited() != nil {
			exit = e.GetExited()
		}
	}
}

func startProcess(t testing.TB, p skerryv1connect.ProcessServiceClient, req *skerryv1.StartProcessRequest) func() (*skerryv1.ProcessEvent, error) {
	t.Helper()
	s, err := p.StartProcess(t.Context(), connect.NewRequest(req))
	ok(t, err)
	return func() (*skerryv1.ProcessEvent, error) {
		if !s.Receive() {
			if s.Err() != nil {
				return nil, s.Err()
			}
			return nil, io.EOF
		}
		return s.Msg().GetEvent(), nil
	}
}

// TestSandboxServices reaches what is served inside of a sandbox through the worker, from before it runs until after it has ended.
func TestSandboxServices(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	id := g.start(t, g.spec())
	p := g.processes(id)
	_, err := g.rpc.SealEnvironment(t.Context(), connect.NewRequest(&workerv1.SealEnvironmentRequest{
		SandboxId: id, EnvironmentId: "e-1", Variables: map[string]string{"SEALED": "value"},
	}))
	ok(t, err)
	out, exit := follow(t, startProcess(t, p, &skerryv1.StartProcessRequest{
		ProcessId: "p-1", Argv: []string{"sh", "-c", "echo $SEALED $SKERRY_SANDBOX_ID; hostname; exit 7"}, EnvironmentIds: []string{"e-1"},
	}))
	if want := "value " + id + "\n" + strings.ToLower(id) + "\n"; out != want || exit.GetExitCode() != 7 {
		t.Errorf("output %q, want %q; exit %v", out, want, exit)
	}

	// Input and output at the same time, and a client that goes away.
	next := startProcess(t, p, &skerryv1.StartProcessRequest{ProcessId: "p-2", Argv: []string{"cat"}, Stdin: true})
	_, err = next()
	ok(t, err)
	offset := uint64(0)
	for _, text := range []string{"one\n", "two\n"} {
		_, err := p.WriteProcessInput(t.Context(), connect.NewRequest(&skerryv1.WriteProcessInputRequest{ProcessId: "p-2", Offset: offset, Data: []byte(text)}))
		ok(t, err)
		offset += uint64(len(text))
		e, err := next()
		ok(t, err)
		if got := string(e.GetOutput().GetStdout()); got != text {
			t.Errorf("echo %q, want %q", got, text)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	s, err := p.FollowProcess(gone, connect.NewRequest(&skerryv1.FollowProcessRequest{ProcessId: "p-2", StdoutOffset: 1}))
	ok(t, err)
	if !s.Receive() {
		t.Fatal(s.Err())
	}
	cancel()
	for s.Receive() {
	}
	if connect.CodeOf(s.Err()) != connect.CodeCanceled {
		t.Errorf("cancelled: %v", s.Err())
	}

	// What clients may not reach.
	for _, path := range []string{
		"/skerry.guest.v1.GuestService/StartProcess", "/skerry.guest.v1.SandboxService/Configure", "/ports/0", "/ports/99999", "/../x", "",
		"/skerry.v1.ProcessService/../../skerry.guest.v1.GuestService/StartProcess",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, link.BaseURL+"/sandboxes/"+id, strings.NewReader("{}"))
		ok(t, err)
		req.URL.Path += path
		req.Header.Set("Content-Type", "application/json")
		res, err := g.data.RoundTrip(req)
		ok(t, err)
		ok(t, res.Body.Close())
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, res.Status)
		}
	}

	_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	if e, err := next(); err == nil {
		t.Errorf("a stream of a sandbox that was ended goes on: %v", e)
	}
	g.await(t, id, ended)
	_, err = p.ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{}))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("after its end: %v", err)
	}
	_, err = g.processes("sb-unknown").ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{}))
	if connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("unknown: %v", err)
	}
}

// TestSandboxHot makes sandboxes of boxes that were made ahead: each is as one that is made anew, and nothing of one is in another.
func TestSandboxHot(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	boxes := map[string]bool{}
	var anew string // the weight of the first
	for i := range 3 {
		spec := g.spec("sh", "-c", "echo main $OWN; exec sleep 1000")
		spec.Definition.Env = map[string]string{"OWN": strconv.Itoa(i)}
		id := g.start(t, spec)
		out, _ := follow(t, startProcess(t, g.processes(id), &skerryv1.StartProcessRequest{
			ProcessId: "p-1", Argv: []string{"sh", "-c", "echo $OWN; hostname; cat /seen; ls /sys/class/net; echo 1 > /seen"},
		}))
		if want := strconv.Itoa(i) + "\n" + strings.ToLower(id) + "\n"; !strings.HasPrefix(out, want) || strings.Contains(out, "1\n1\n") {
			t.Errorf("output %q, want %q", out, want)
		}
		g.await(t, id, runs)
		record, err := os.ReadFile(data + "/sandboxes/" + id + ".json")
		ok(t, err)
		var kept struct {
			Box struct {
				Spec   struct{ ID string }
				Policy struct{ Block bool }
			}
		}
		ok(t, json.Unmarshal(record, &kept))
		if box := kept.Box.Spec.ID; box == "" || boxes[box] || !kept.Box.Policy.Block {
			t.Errorf("record %s", record)
		}
		boxes[kept.Box.Spec.ID] = true
		if got := weight(t, kept.Box.Spec.ID); i > 0 && got != anew {
			t.Errorf("weight %s, want that of one made anew, %s", got, anew)
		} else {
			anew = got
		}
		_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
		ok(t, err)
		g.await(t, id, ended)
		ok(t, g.agent.pool.Load().AwaitReady(t.Context(), 1))
	}
	stop()
	nothingOf(t)
}

// weight is what a box's control group says of its share of the CPU.
func weight(t *testing.T, box string) string {
	t.Helper()
	for _, file := range []string{"/sys/fs/cgroup/cpu/skerry_*/%s/cpu.shares", "/sys/fs/cgroup/skerry_*/%s/cpu.weight"} {
		if found, _ := filepath.Glob(fmt.Sprintf(file, box)); len(found) == 1 {
			text, err := os.ReadFile(found[0])
			ok(t, err)
			return strings.TrimSpace(string(text))
		}
	}
	t.Errorf("box %q has no control group for the CPU", box)
	return ""
}
