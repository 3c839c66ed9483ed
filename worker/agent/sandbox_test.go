package agent

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/internal/wire"
)

// sandboxGateway is a gateway as a worker's sandboxes see it.
type sandboxGateway struct {
	*gateway
	agent   *Agent // in this process
	rpc     workerv1connect.SandboxServiceClient
	states  workerv1connect.SnapshotServiceClient
	data    *link.Client
	control *link.Client
	first   map[string]*workerv1.SandboxStatus // that the last worker began with

	mu    sync.Mutex
	state map[string]*workerv1.SandboxStatus
	news  chan struct{} // closed at the next status
}

// newSandboxGateway returns a gateway, with the folder of a worker that has the test base.
func newSandboxGateway(t testing.TB) (g *sandboxGateway, data, tools string) {
	t.Helper()
	g = &sandboxGateway{gateway: newGateway(t), state: map[string]*workerv1.SandboxStatus{}, news: make(chan struct{})}
	t.Cleanup(g.server.Close)
	cleanRunDir(t)
	data, tools = t.TempDir(), filepath.Dir(testbase.Tool(t, "runsc"))
	g.cacheBase(t, data)
	return g, data, tools
}

// meet waits for a worker's links and watches its sandboxes.
func (g *sandboxGateway) meet(t testing.TB) {
	t.Helper()
	_, l := g.awaitLink(t)
	g.control = l
	g.rpc = workerv1connect.NewSandboxServiceClient(l.HTTPClient(), link.BaseURL)
	g.states = workerv1connect.NewSnapshotServiceClient(l.HTTPClient(), link.BaseURL)
	select {
	case g.data = <-g.gateway.data:
	case <-time.After(patience):
		t.Fatal("no data link")
	}
	stream, err := g.rpc.WatchSandboxes(context.Background(), connect.NewRequest(&workerv1.WatchSandboxesRequest{}))
	ok(t, err)
	first := map[string]*workerv1.SandboxStatus{}
	for stream.Receive() && !stream.Msg().GetComplete() {
		first[stream.Msg().GetSandbox().GetSandboxId()] = stream.Msg().GetSandbox()
	}
	ok(t, stream.Err())
	g.first = first
	g.mu.Lock()
	clear(g.state)
	maps.Copy(g.state, first)
	g.mu.Unlock()
	go func() {
		for stream.Receive() {
			g.mu.Lock()
			g.state[stream.Msg().GetSandbox().GetSandboxId()] = stream.Msg().GetSandbox()
			close(g.news)
			g.news = make(chan struct{})
			g.mu.Unlock()
		}
	}()
}

// spec is a sandbox with a command.
func (g *sandboxGateway) spec(argv ...string) *workerv1.SandboxSpec {
	g.mu.Lock()
	defer g.mu.Unlock()
	info, err := os.Stat(g.base)
	if err != nil {
		panic(err)
	}
	return &workerv1.SandboxSpec{
		SandboxId: ident.New(ident.Sandbox), AppId: "ap-1", AppName: "test", Environment: "main",
		Image: wire.RefToProto(payload.Ref{Digest: g.image, Size: uint64(info.Size())}), //nolint:gosec // a size
		Definition: &skerryv1.SandboxDefinition{
			Argv: argv, ImageId: "im-1", Network: &skerryv1.NetworkPolicy{Block: true},
			Resources: &skerryv1.Resources{CpuMilli: 125, MemoryMib: 128},
		},
		ExpiresAt: timestamppb.New(time.Now().Add(5 * time.Minute)),
		Record:    []byte("the gateway's"),
	}
}

func (g *sandboxGateway) start(t testing.TB, spec *workerv1.SandboxSpec) string {
	t.Helper()
	_, err := g.rpc.StartSandbox(t.Context(), connect.NewRequest(&workerv1.StartSandboxRequest{Spec: spec}))
	ok(t, err)
	return spec.GetSandboxId()
}

// await waits until a sandbox is as it should be; one that has ended won't be.
func (g *sandboxGateway) await(t testing.TB, id string, good func(*workerv1.SandboxStatus) bool) *workerv1.SandboxStatus {
	t.Helper()
	limit := time.After(patience)
	for {
		g.mu.Lock()
		s, news := g.state[id], g.news
		g.mu.Unlock()
		if s != nil && good(s) {
			return s
		}
		if s.GetEnd() != nil {
			t.Fatalf("%s has ended: %v", id, s.GetEnd())
		}
		select {
		case <-news:
		case <-limit:
			t.Fatalf("%s: %v", id, s)
		}
	}
}

func runs(s *workerv1.SandboxStatus) bool {
	return s.GetState() == skerryv1.SandboxState_SANDBOX_STATE_RUNNING
}

func ended(s *workerv1.SandboxStatus) bool {
	return s.GetState() == skerryv1.SandboxState_SANDBOX_STATE_ENDED
}

// inProcess runs an agent in this process and meets it.
func (g *sandboxGateway) inProcess(t testing.TB, data, tools string) (stop func()) {
	t.Helper()
	return g.running(t, agentConfig(g.server.URL, data, tools))
}

// running is inProcess of an agent with another configuration.
func (g *sandboxGateway) running(t testing.TB, cfg Config) (stop func()) {
	t.Helper()
	a, err := New(cfg)
	ok(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	g.meet(t)
	g.agent = a
	return sync.OnceFunc(func() {
		cancel()
		ok(t, <-ran)
	})
}

// TestSandboxEnds starts a sandbox for each way to end.
func TestSandboxEnds(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	const hog = "x = []\nwhile True: x.append(bytearray(1 << 24))"
	for name, c := range map[string]struct {
		argv    []string
		change  func(*workerv1.SandboxSpec)
		act     func(t *testing.T, id string)
		reason  skerryv1.SandboxEndReason
		code    int32
		message string
		output  string
	}{
		"exits": {
			argv: []string{"sh", "-c", "echo $GREETING $OWN; pwd; printf 'no end'; exit 3"}, reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_EXITED, code: 3,
			change: func(s *workerv1.SandboxSpec) {
				s.SecretEnv, s.Definition.Env = map[string]string{"GREETING": "hello", "OWN": "no"}, map[string]string{"OWN": "own"}
				s.Definition.Workdir = "/tmp/made"
			},
			output: "hello own\n/tmp/made\nno end",
		},
		"dies": {
			argv: []string{"sh", "-c", "kill -SEGV $$"}, reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_EXITED, code: 139, message: "signal 11",
		},
		"times out": {
			argv: []string{"sh", "-c", "echo begun; sleep 1000"}, reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_TIMEOUT, code: 124,
			act: func(t *testing.T, id string) {
				_, err := g.rpc.UpdateSandbox(t.Context(), connect.NewRequest(&workerv1.UpdateSandboxRequest{
					SandboxId: id, ExpiresAt: timestamppb.New(time.Now().Add(50 * time.Millisecond)), Record: []byte("changed"),
				}))
				ok(t, err)
			},
			output: "begun\n",
		},
		"is idle": {
			reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_IDLE_TIMEOUT, code: 124, message: "idle timeout of 50ms",
			change: func(s *workerv1.SandboxSpec) { s.Definition.IdleTimeout = durationpb.New(50 * time.Millisecond) },
		},
		"terminated": {
			argv: []string{"sleep", "1000"}, reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_TERMINATED, code: 137,
			act: func(t *testing.T, id string) {
				for range 2 {
					_, err := g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{
						SandboxId: id, Reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_TERMINATED,
					}))
					ok(t, err)
				}
			},
		},
		"out of memory": {
			argv: []string{"python3", "-c", hog}, reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_OUT_OF_MEMORY, code: 137, message: "limit 96 MiB",
			change: func(s *workerv1.SandboxSpec) { s.Definition.Resources.MemoryLimitMib = 96 },
		},
		"no such program": {
			argv: []string{"/nowhere"}, reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_START_FAILED, code: 1, message: "/nowhere",
		},
		"no image": {
			argv: []string{"true"}, reason: skerryv1.SandboxEndReason_SANDBOX_END_REASON_START_FAILED, code: 1, message: "image",
			change: func(s *workerv1.SandboxSpec) { s.Image.Digest = "sha256:" + strings.Repeat("0", 64) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := g.spec(c.argv...)
			if c.change != nil {
				c.change(spec)
			}
			id := g.start(t, spec)
			g.start(t, spec) // again: nothing happens
			if c.act != nil {
				g.await(t, id, runs)
				c.act(t, id)
			}
			end := g.await(t, id, ended).GetEnd()
			if end.GetReason() != c.reason || end.GetReturnCode() != c.code || !strings.Contains(end.GetMessage(), c.message) {
				t.Errorf("end %v", end)
			}
			for got := ""; got != id; { // those of others may come late
				got = <-g.ended
			}
			if !strings.Contains(g.text(), c.output) {
				t.Errorf("output %q", g.text())
			}
			if n := processesOf(t, id); n != 0 {
				t.Errorf("%d processes are left", n)
			}
			_, err := g.rpc.ForgetSandbox(t.Context(), connect.NewRequest(&workerv1.ForgetSandboxRequest{SandboxId: id}))
			ok(t, err)
		})
	}
	stop()
	nothingOf(t)
}

// TestSandboxReadyAndUsage starts a sandbox with a probe that succeeds late, and asks what it uses.
func TestSandboxReadyAndUsage(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	spec := g.spec("python3", "-c", "import http.server; http.server.HTTPServer(('127.0.0.1', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()")
	spec.Definition.Probe = &skerryv1.Probe{Kind: &skerryv1.Probe_TcpPort{TcpPort: 8000}, Interval: durationpb.New(10 * time.Millisecond)}
	id := g.start(t, spec)
	s := g.await(t, id, (*workerv1.SandboxStatus).GetReady)
	if !runs(s) || string(s.GetRecord()) != "the gateway's" || s.GetResources().GetMemoryMib() != 128 {
		t.Errorf("status %v", s)
	}
	u, err := g.rpc.GetSandboxUsage(t.Context(), connect.NewRequest(&workerv1.GetSandboxUsageRequest{SandboxId: id}))
	ok(t, err)
	if m := u.Msg; m.GetCpuTime().AsDuration() <= 0 || m.GetMemoryBytes() < 1<<20 || m.GetProcesses() == 0 || m.GetDiskLimitBytes() == 0 {
		t.Errorf("usage %v", m)
	}
	_, err = g.rpc.StartSandbox(t.Context(), connect.NewRequest(&workerv1.StartSandboxRequest{Spec: &workerv1.SandboxSpec{SandboxId: "../x"}}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a bad id: %v", err)
	}
}
