package workerlink_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/gateway/workerlink"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/payload"
)

// worker is a worker's end of a link, with containers that echo their arguments until they are told to stop.
type worker struct {
	id     string
	starts chan *workerv1.StartContainer
	// exit, if set, is how a container ends when it gets its first input, instead of answering it.
	exit *workerv1.ContainerExited
}

func newWorker() *worker {
	return &worker{id: ident.New(ident.Worker), starts: make(chan *workerv1.StartContainer, 100)}
}

func (w *worker) Describe(context.Context, *connect.Request[workerv1.DescribeRequest]) (*connect.Response[workerv1.DescribeResponse], error) {
	return connect.NewResponse(&workerv1.DescribeResponse{WorkerId: w.id, Hostname: "host", Version: "1", CpuMilli: 1000, MemoryMib: 1000}), nil
}

type runStream = connect.BidiStream[workerv1.RunContainerRequest, workerv1.RunContainerResponse]

func (w *worker) RunContainer(_ context.Context, stream *runStream) error {
	for {
		m, err := stream.Receive()
		if err != nil {
			return err
		}
		if start := m.GetStart(); start != nil {
			w.starts <- start
			ready := &workerv1.ContainerReady{Phases: []*workerv1.StartPhase{{Name: "init", Elapsed: durationpb.New(time.Second)}}}
			if err := stream.Send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Ready{Ready: ready}}); err != nil {
				return err
			}
		}
		if w.exit != nil && len(m.GetInputs()) > 0 {
			return stream.Send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Exited{Exited: w.exit}})
		}
		if err := answer(stream, m); err != nil {
			return err
		}
		if m.GetStop() != nil {
			exited := &workerv1.ContainerExited{Reason: workerv1.ExitReason_EXIT_REASON_STOPPED}
			return stream.Send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Exited{Exited: exited}})
		}
	}
}

func answer(stream *runStream, m *workerv1.RunContainerRequest) error {
	outputs := &workerv1.ContainerOutputs{}
	for _, in := range m.GetInputs() {
		outputs.Outputs = append(outputs.Outputs, &workerv1.ContainerOutput{
			Key: in.GetKey(), Elapsed: durationpb.New(10 * time.Microsecond),
			Result: &skerryv1.Result{Status: skerryv1.ResultStatus_RESULT_STATUS_SUCCESS, Value: in.GetArgs()},
		})
	}
	if len(outputs.GetOutputs()) == 0 {
		return nil
	}
	return stream.Send(&workerv1.RunContainerResponse{Event: &workerv1.RunContainerResponse_Outputs{Outputs: outputs}})
}

func (w *worker) Exec(_ context.Context, stream *connect.BidiStream[workerv1.ExecRequest, workerv1.ExecResponse]) error {
	m, err := stream.Receive()
	if err != nil {
		return err
	}
	out := &skerryv1.ExecResponse{Stdout: []byte(m.GetFrame().GetStart().GetArgv()[0]), Exit: &skerryv1.ExecExit{Code: 3}}
	return stream.Send(&workerv1.ExecResponse{Frame: out})
}

// dial links the worker to a hub. Cut ends the link as a broken network would and returns when the worker has noticed.
func (w *worker) dial(t testing.TB, address string) (cut func()) {
	t.Helper()
	u, err := url.Parse(address + workerlink.Path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	turned, err := link.Dial(t.Context(), conn, &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(workerv1connect.NewWorkerServiceHandler(w))
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(ended)
		_ = link.Serve(ctx, turned, mux) // it ends with an error whoever ends it
	}()
	cut = func() {
		cancel()
		<-ended
	}
	t.Cleanup(cut)
	return cut
}

var discard = slog.New(slog.DiscardHandler)

// rig is a hub with a scheduler behind it.
type rig struct {
	hub       *workerlink.Hub
	scheduler *task.Scheduler
	url       string
	fn        *function.Function
	finished  chan task.Outcome
	outputs   chan string // what the logs are told
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{
		finished: make(chan task.Outcome, 100), outputs: make(chan string, 100),
		fn: &function.Function{
			ID: ident.New(ident.Function), AppID: ident.New(ident.App), AppName: "app", Environment: "main", Version: 1,
			Definition: function.Definition{
				SecretIDs: []string{"st-1"},
				Name:      "f", Module: "m", Qualname: "f", Timeout: time.Minute, Mounts: []function.Mount{{RemotePath: "/root", TreeDigest: "sha256:1"}},
				Resources:  function.Resources{CPUMilli: 100, MemoryMiB: 100},
				Autoscaler: function.Autoscaler{ScaledownWindow: time.Hour, MaxContainers: 1},
			},
		},
	}
	r.scheduler = task.New(task.Deps{Functions: r, Images: r, Secrets: r, Fleet: fleet.New(), Clock: task.SystemClock, Log: discard})
	r.scheduler.SetSink(r)
	r.hub = workerlink.New(workerlink.Deps{
		Scheduler: r.scheduler, Sandboxes: sandbox.New(sandbox.Deps{Log: discard}), Outputs: r, EnvironmentName: strings.ToUpper, Log: discard,
	})
	server := httptest.NewServer(r.hub)
	r.url = server.URL
	t.Cleanup(func() {
		if err := r.hub.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		server.Close()
	})
	return r
}

// Items implements task.Sink.
func (r *rig) Items(string, *task.Input, uint64, []*payload.Payload) {}

func (r *rig) Finished(_ string, outcomes []task.Outcome) {
	for _, o := range outcomes {
		r.finished <- o
	}
}

func (r *rig) Open(string, logs.Origin) { r.outputs <- "open" }
func (r *rig) Ended(string)             { r.outputs <- "ended" }

func (r *rig) Function(context.Context, string) (*function.Function, error) { return r.fn, nil }

func (r *rig) AppFunctions(context.Context, string) ([]*function.Function, error) {
	return []*function.Function{r.fn}, nil
}

var image = payload.Ref{Digest: ident.Digest([]byte("image")), Size: 5}

func (r *rig) ContainerImage(context.Context, string) (task.Image, error) {
	return task.Image{File: image, Workdir: "/w", Env: map[string]string{"PATH": "/bin"}}, nil
}

func (r *rig) SecretEnv(context.Context, []string) (map[string]string, error) {
	return map[string]string{"S": "s"}, nil
}

func (r *rig) offer(t testing.TB, i uint32) {
	t.Helper()
	in := &task.Input{
		Key:  payload.Key{CallID: ident.New(ident.Call), Index: i},
		Args: payload.Payload{Format: payload.Pickle, Inline: []byte("args")},
	}
	if err := r.scheduler.Offer(t.Context(), r.fn.ID, in); err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	r, w := newRig(t), newWorker()
	w.dial(t, r.url)
	for i := range uint32(20) {
		r.offer(t, i)
	}
	for range 20 {
		if o := <-r.finished; o.Result.Status != payload.Success || string(o.Result.Value.Inline) != "args" {
			t.Fatalf("outcome %+v", o.Result)
		}
	}
	s := <-w.starts
	d := s.GetDefinition()
	if s.GetFunctionId() != r.fn.ID || s.GetAppName() != "app" || s.GetImage().GetDigest() != image.Digest || s.GetImageWorkdir() != "/w" ||
		s.GetSecretEnv()["S"] != "s" || s.GetImageEnv()["PATH"] != "/bin" || s.GetAppFunctionIds()["f"] != r.fn.ID ||
		d.GetQualname() != "f" || d.GetTimeout().AsDuration() != time.Minute || d.GetMounts()[0].GetRemotePath() != "/root" ||
		d.GetResources().GetMemoryMib() != 100 || d.GetAutoscaler().GetMaxContainers() != 1 {
		t.Errorf("started with %v", s)
	}
	done := r.scheduler.AppDone(r.fn.AppID)
	if err := r.scheduler.Stop(t.Context(), s.GetContainerId(), true); err != nil {
		t.Fatal(err)
	}
	<-done
	if got := []string{<-r.outputs, <-r.outputs}; !slices.Equal(got, []string{"open", "ended"}) {
		t.Errorf("the logs were told %v", got)
	}
}

// TestLinkLost cuts the link under a container, and has its input run on the link that comes next.
func TestLinkLost(t *testing.T) {
	r, w := newRig(t), newWorker()
	cut := w.dial(t, r.url)
	r.offer(t, 0)
	<-r.finished
	<-w.starts
	done := r.scheduler.AppDone(r.fn.AppID)
	cut()
	<-done
	r.offer(t, 1)
	other := newWorker()
	other.dial(t, r.url)
	if o := <-r.finished; o.Result.Status != payload.Success {
		t.Errorf("outcome %+v", o.Result)
	}
	<-other.starts
}

func TestExits(t *testing.T) {
	for name, c := range map[string]struct {
		exit   *workerv1.ContainerExited
		status payload.Status
	}{
		"lost": {&workerv1.ContainerExited{Reason: workerv1.ExitReason_EXIT_REASON_LOST}, 0},
		// Nothing that a worker says may do more than end its own container.
		"unknown reason": {&workerv1.ContainerExited{Reason: 99}, payload.InternalFailure},
		"bad key": {&workerv1.ContainerExited{
			Reason: workerv1.ExitReason_EXIT_REASON_LOST, Lost: []*workerv1.InputKey{{}},
		}, payload.InternalFailure},
	} {
		t.Run(name, func(t *testing.T) {
			r, w := newRig(t), newWorker()
			w.exit = c.exit
			cut := w.dial(t, r.url)
			r.offer(t, 0)
			if c.status == 0 {
				// It does not name the input as lost, so it is run again without counting: on a worker that works.
				<-w.starts
				cut()
				newWorker().dial(t, r.url)
				c.status = payload.Success
			}
			if o := <-r.finished; o.Result.Status != c.status {
				t.Errorf("outcome %+v", o.Result)
			}
		})
	}
}

func TestExec(t *testing.T) {
	r, w := newRig(t), newWorker()
	if _, err := r.hub.Exec(t.Context(), w.id); !errors.Is(err, fault.NotFound) {
		t.Errorf("no such worker: %v", err)
	}
	w.dial(t, r.url)
	<-r.hub.Joined()
	stream, err := r.hub.Exec(t.Context(), w.id)
	if err != nil {
		t.Fatal(err)
	}
	start := &skerryv1.ExecRequest{Start: &skerryv1.ExecStart{Argv: []string{"ls"}}}
	if err := stream.Send(start); err != nil {
		t.Fatal(err)
	}
	m, err := stream.Receive()
	if err != nil || string(m.GetStdout()) != "ls" || m.GetExit().GetCode() != 3 {
		t.Errorf("answer %v, error %v", m, err)
	}
	if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the exit: %v", err)
	}
}
