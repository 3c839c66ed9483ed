package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/volume"
)

// childEnv makes the test binary a worker process, which a test then kills.
const childEnv = "SKERRY_TEST_WORKER"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == volumesWord {
		if err := volume.Main(context.Background(), os.Args[2], "test", os.Stdout); err != nil {
			panic(err) // it is in the log
		}
		os.Exit(0)
	}
	if spec := os.Getenv(childEnv); spec != "" {
		url, rest, _ := strings.Cut(spec, " ")
		data, tools, _ := strings.Cut(rest, " ")
		a, err := New(agentConfig(url, data, tools))
		if err == nil {
			a.wrap = killAt(os.Getenv(killEnv))
			ctx, end := context.WithCancelCause(context.Background())
			told := make(chan os.Signal, 1)
			signal.Notify(told, syscall.SIGUSR1)
			go func() { <-told; end(lifecycle.ErrHandover) }()
			err = a.Run(ctx)
		}
		if err == nil {
			os.Exit(0) // it has handed over
		}
		panic(err) // nobody stops it otherwise but by a kill
	}
	os.Exit(m.Run())
}

// agentInstance and instance name what these tests make on the host: those of another checkout may run at the same time.
var (
	agentInstance = checkoutInstance("agent")
	instance      = checkoutInstance("rig")
)

func checkoutInstance(part string) string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return strings.TrimPrefix(ident.Digest([]byte(part+dir)), "sha256:")[:6]
}

func cleanRunDir(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { ok(t, os.RemoveAll("/run/skerry/"+agentInstance)) })
}

func agentConfig(url, data, tools string) Config {
	return Config{
		DataDir: data, RunDir: "/run/skerry/" + agentInstance, Instance: agentInstance,
		RuntimeDir: filepath.Join(tools, "guest"), Runsc: filepath.Join(tools, "runsc"),
		Gateway: gatewaylink.Address{URL: url, Token: token}, Version: "test", Volumes: []string{"/proc/self/exe", volumesWord},
		Network: network.Config{PoolSize: 2}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

type runClient = connect.BidiStreamForClient[workerv1.RunContainerRequest, workerv1.RunContainerResponse]

// startContainer asks a worker for a container of a module and waits until it is ready.
func (g *gateway) startContainer(t *testing.T, rpc workerv1connect.WorkerServiceClient, module string) (string, *runClient) {
	t.Helper()
	digest, size := g.baseRef(t)
	id := ident.New(ident.Container)
	s := rpc.RunContainer(t.Context())
	ok(t, s.Send(&workerv1.RunContainerRequest{Start: &workerv1.StartContainer{
		ContainerId: id, AppId: "ap-1", FunctionId: "fu-1", Environment: "main", AppName: "test",
		Image: wire.RefToProto(payload.Ref{Digest: digest, Size: size}),
		Definition: &skerryv1.FunctionDefinition{
			Name: "f", Module: "mod", Qualname: "f", ImageId: "im-1", BlockNetwork: true, Timeout: durationpb.New(time.Minute),
			Mounts: []*skerryv1.Mount{{RemotePath: "/root/mod.py", TreeDigest: g.source.tree(map[string]string{".": module})}},
		},
	}}))
	m, err := s.Receive()
	ok(t, err)
	if m.GetReady() == nil {
		t.Fatalf("not ready: %v", m)
	}
	return id, s
}

func (g *gateway) awaitLink(t testing.TB) (workerv1connect.WorkerServiceClient, *link.Client) {
	t.Helper()
	select {
	case l := <-g.links:
		return workerv1connect.NewWorkerServiceClient(l.HTTPClient(), link.BaseURL), l
	case <-time.After(patience):
		t.Fatal("no link")
	}
	return nil, nil
}

func input(index uint32) *workerv1.ContainerInput {
	return &workerv1.ContainerInput{Key: &workerv1.InputKey{CallId: "fc-1", Index: index}, Args: wire.PayloadToProto(&noArguments)}
}

func TestAgent(t *testing.T) {
	g := newGateway(t)
	defer g.server.Close()
	cleanRunDir(t)
	g.refused = true
	a, err := New(agentConfig(g.server.URL, t.TempDir(), filepath.Dir(testbase.Tool(t, "runsc"))))
	ok(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()

	rpc, l := g.awaitLink(t)
	d, err := rpc.Describe(t.Context(), connect.NewRequest(&workerv1.DescribeRequest{}))
	ok(t, err)
	if d.Msg.GetWorkerId() != a.ID() || d.Msg.GetCpuMilli() == 0 || d.Msg.GetMemoryMib() == 0 {
		t.Errorf("description %v", d.Msg)
	}
	id, s := g.startContainer(t, rpc, "def f():\n  print('from', 'f', '\\udcff'.encode('utf8','surrogateescape'))\n  return b'x' * (1<<20)")
	ok(t, s.Send(&workerv1.RunContainerRequest{Inputs: []*workerv1.ContainerInput{input(0)}}))
	m, err := s.Receive()
	ok(t, err)
	out := m.GetOutputs().GetOutputs()
	if len(out) != 1 || out[0].GetResult().GetValue().GetBlob().GetSize() < 1<<20 {
		t.Fatalf("outputs %v", out)
	}
	checkExec(t, rpc, id)

	// Told to stop.
	ok(t, s.Send(&workerv1.RunContainerRequest{Stop: &workerv1.StopContainer{Graceful: true}}))
	m, err = s.Receive()
	ok(t, err)
	if m.GetExited().GetReason() != workerv1.ExitReason_EXIT_REASON_STOPPED {
		t.Fatalf("event %v", m)
	}
	if got := <-g.ended; got != id || !strings.Contains(g.text(), "from f") {
		t.Fatalf("logs of %s: %q", got, g.text())
	}

	// A lost link ends containers and is made anew.
	id, _ = g.startContainer(t, rpc, "def f(): pass")
	ok(t, l.Close())
	rpc, _ = g.awaitLink(t)
	<-g.ended
	id2, s := g.startContainer(t, rpc, "import time\ndef f(): time.sleep(60)")
	ok(t, s.Send(&workerv1.RunContainerRequest{Inputs: []*workerv1.ContainerInput{input(0), input(1)}}))
	m, err = s.Receive()
	ok(t, err)
	if keys := m.GetReturned().GetKeys(); len(keys) != 1 || keys[0].GetIndex() != 1 { // the other one runs
		t.Fatalf("event %v", m)
	}

	// The end names the input that ran, and leaves nothing.
	cancel()
	m, err = s.Receive()
	ok(t, err)
	if lost := m.GetExited().GetLost(); m.GetExited().GetReason() != workerv1.ExitReason_EXIT_REASON_STOPPED || len(lost) != 1 || lost[0].GetIndex() != 0 {
		t.Fatalf("event %v", m)
	}
	ok(t, <-ran)
	nothingOf(t, id, id2)
}

func checkExec(t *testing.T, rpc workerv1connect.WorkerServiceClient, id string) {
	t.Helper()
	s := rpc.Exec(t.Context())
	ok(t, s.Send(&workerv1.ExecRequest{Frame: &skerryv1.ExecRequest{
		Start: &skerryv1.ExecStart{ContainerId: id, Argv: []string{"sh", "-c", "cat; pwd; echo bad >&2; exit 7"}},
		Stdin: []byte("given\n"), StdinEof: true,
	}}))
	var stdout, stderr strings.Builder
	for {
		m, err := s.Receive()
		if errors.Is(err, io.EOF) {
			t.Fatal("no exit")
		}
		ok(t, err)
		stdout.Write(m.GetFrame().GetStdout())
		stderr.Write(m.GetFrame().GetStderr())
		if e := m.GetFrame().GetExit(); e != nil {
			if e.GetCode() != 7 || stdout.String() != "given\n/root\n" || stderr.String() != "bad\n" {
				t.Errorf("exec %d %q %q", e.GetCode(), stdout.String(), stderr.String())
			}
			return
		}
	}
}

// nothingOf checks that nothing of the agent's instance is left on the host.
func nothingOf(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if n := processesOf(t, id); n != 0 {
			t.Errorf("%d processes of %s", n, id)
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/skerry_" + agentInstance)
	ok(t, err)
	mounts, err := os.ReadFile("/proc/self/mounts")
	ok(t, err)
	for _, g := range groups {
		if info, err := os.Stat(g); err == nil && info.IsDir() {
			t.Errorf("control group %s", g)
		}
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, agentInstance) {
			t.Errorf("mount %s", line)
		}
	}
}

func TestReapAfterKill(t *testing.T) {
	g := newGateway(t)
	defer g.server.Close()
	cleanRunDir(t)
	data, tools := t.TempDir(), filepath.Dir(testbase.Tool(t, "runsc"))
	g.cacheBase(t, data)
	self, err := os.Executable()
	ok(t, err)
	child := exec.Command(self)
	child.Env = append(os.Environ(), childEnv+"="+g.server.URL+" "+data+" "+tools)
	child.Stderr = os.Stderr
	ok(t, child.Start())
	rpc, _ := g.awaitLink(t)
	id, _ := g.startContainer(t, rpc, "def f(): pass")
	ok(t, child.Process.Kill())
	if err := child.Wait(); err == nil {
		t.Error("the worker was not killed")
	}
	left, err := filepath.Glob("/sys/fs/cgroup/*/skerry_" + agentInstance + "/" + id)
	ok(t, err)
	if len(left) == 0 {
		t.Error("nothing is left to reap")
	}
	a, err := New(agentConfig(g.server.URL, data, tools))
	ok(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	g.awaitLink(t)
	if n := processesOf(t, id); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	cancel()
	ok(t, <-ran)
	nothingOf(t, id)
}
