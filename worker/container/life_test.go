package container

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
)

// parts are what a container's life is made of, in the test's hands. A part that it does not need is nil.
type parts struct {
	Network
	Rootfs
	Sandboxes
	Dialects
	LogSink
	Events
}

// lifeOf starts a container of parts; ended gets its exit.
func lifeOf(t *testing.T, p parts) (c *Container, stop context.CancelFunc, ended <-chan Exit) {
	t.Helper()
	host, err := NewHost(HostConfig{
		RunDir: t.TempDir(), DiskDir: t.TempDir(), RuntimeDir: t.TempDir(),
		Network: p, Rootfs: p, Sandboxes: p, Dialects: p, Logs: p, StopGrace: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	c = host.New(Spec{ID: "ta-1"}, p)
	ctx, cancel := context.WithCancel(t.Context())
	exits := make(chan Exit, 1)
	go func() {
		exit, err := c.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		exits <- exit
	}()
	return c, cancel, exits
}

// noNetwork never has an endpoint.
type noNetwork struct{ Network }

func (noNetwork) Acquire(ctx context.Context, _ string, _ bool) (*Endpoint, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

type anyNetwork struct{ Network }

func (anyNetwork) Acquire(context.Context, string, bool) (*Endpoint, error) { return &Endpoint{}, nil }
func (anyNetwork) Release(*Endpoint) error                                  { return nil }

type anyRootfs struct{}

func (anyRootfs) Image(context.Context, Image) (path string, release func(), err error) {
	return "", func() {}, nil
}

func (anyRootfs) Mounts(context.Context, []Mount) (binds []Bind, release func(), err error) {
	return nil, func() {}, nil
}

type noLogs struct{}

func (noLogs) Write(string, LogEntry) {}
func (noLogs) EOF(string)             {}

// history notes what a container tells.
type history struct {
	Events
	LogSink
	stop func()

	mu   sync.Mutex
	told []string
}

// Outputs has the container end meanwhile.
func (h *history) Outputs([]Output) {
	h.stop()
	for range 10_000 { // the container's goroutine has time enough to overtake, if it can
		runtime.Gosched()
	}
	h.tell("outputs")
}

func (h *history) Returned([]payload.Key) { h.tell("returned") }
func (h *history) EOF(string)             { h.tell("end") }

func (h *history) tell(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, what)
}

// TestEndWaitsForEvents ends a container while somebody is being told of its only input.
func TestEndWaitsForEvents(t *testing.T) {
	h := &history{}
	c, stop, ended := lifeOf(t, parts{Network: noNetwork{}, Rootfs: anyRootfs{}, LogSink: h, Events: h})
	h.stop = stop
	keys := []payload.Key{{CallID: "fc-1"}}
	c.Submit([]Input{{Key: keys[0]}})
	c.Cancel(keys)
	if exit := <-ended; exit.Reason != NotStarted {
		t.Errorf("exit %+v", exit)
	}
	c.Cancel(keys) // too late
	if want := []string{"outputs", "end"}; !slices.Equal(h.told, want) {
		t.Errorf("told %v, want %v", h.told, want)
	}
}

// slowSandboxes starts a sandbox whose init has dialled long before Start returns.
type slowSandboxes struct {
	started chan SandboxParams
	ready   chan struct{} // closed to have Start return
	sandbox *countedSandbox
}

func (s *slowSandboxes) Start(_ context.Context, p SandboxParams) (Sandbox, error) {
	s.started <- p
	<-s.ready
	return s.sandbox, nil
}

type countedSandbox struct {
	Sandbox
	looked    chan struct{} // closed when somebody waits for its end
	once      sync.Once
	kills     int
	deletions int
}

func (s *countedSandbox) Done() <-chan struct{} {
	s.once.Do(func() { close(s.looked) })
	return nil
}

func (s *countedSandbox) Kill() error                  { s.kills++; return nil }
func (s *countedSandbox) Delete(context.Context) error { s.deletions++; return nil }

// oneProcess is a guest whose process ends when it is told to.
type oneProcess struct {
	Guest
	up      chan struct{} // closed when the container knows that the process is up
	signals chan syscall.Signal
	end     chan struct{}
}

type guestDialects struct {
	Dialects
	g *oneProcess
}

func (d guestDialects) Guest(net.Conn) (Guest, error) { return d.g, nil }

func (g *oneProcess) Start(context.Context, Process) error { return nil }

func (g *oneProcess) Wait(context.Context, string) (ProcessEnd, error) {
	close(g.up)
	<-g.end
	return ProcessEnd{Signal: syscall.SIGINT}, nil
}

func (g *oneProcess) Output(context.Context, string, func(Chunk) error) error { return nil }

func (g *oneProcess) Signal(_ context.Context, _ string, s syscall.Signal, _ bool) error {
	g.signals <- s
	return nil
}

func (g *oneProcess) Close() error { return nil }

// TestSandboxThatComesUpWhileItEnds stops a container whose init is there before the runtime has said that the sandbox is: it is given back.
func TestSandboxThatComesUpWhileItEnds(t *testing.T) {
	boxes := &slowSandboxes{
		started: make(chan SandboxParams, 1), ready: make(chan struct{}), sandbox: &countedSandbox{looked: make(chan struct{})},
	}
	guest := &oneProcess{up: make(chan struct{}), signals: make(chan syscall.Signal, 9), end: make(chan struct{})}
	c, _, ended := lifeOf(t, parts{Network: anyNetwork{}, Rootfs: anyRootfs{}, Sandboxes: boxes, Dialects: guestDialects{g: guest}, LogSink: noLogs{}})
	p := <-boxes.started
	init, err := (&net.Dialer{}).DialContext(t.Context(), "unix", filepath.Join(filepath.Dir(p.Dir), runName, guestSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer init.Close()
	<-guest.up
	c.Stop(false)
	select {
	case s := <-guest.signals:
		if s != syscall.SIGINT {
			t.Fatalf("signal %v", s)
		}
	case exit := <-ended:
		t.Fatalf("exit %+v", exit)
	}
	close(boxes.ready)
	<-boxes.sandbox.looked
	close(guest.end)
	if exit := <-ended; exit.Reason != Stopped {
		t.Errorf("exit %+v", exit)
	}
	if boxes.sandbox.kills != 1 || boxes.sandbox.deletions != 1 {
		t.Errorf("%d kills, %d deletions", boxes.sandbox.kills, boxes.sandbox.deletions)
	}
	if _, err := os.Stat(filepath.Dir(p.Dir)); !os.IsNotExist(err) {
		t.Errorf("its folder: %v", err)
	}
}
