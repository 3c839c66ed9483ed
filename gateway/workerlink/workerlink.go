// Package workerlink is the gateway's end of the links that workers dial: it takes the connection over, asks the worker what it is, and
// starts containers on it for gateway/task.
package workerlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
)

// Path is where workers ask for a link.
const Path = "/skerry.worker.v1/link"

// DescribeTimeout is how long a worker may take to say what it is.
const DescribeTimeout = 10 * time.Second

// Hub keeps the links. It is the http.Handler of Path, behind the authentication of workers. Safe for concurrent use.
type Hub struct {
	scheduler *task.Scheduler
	sandboxes *sandbox.Service
	outputs   Outputs
	owners    *owners
	log       *slog.Logger

	environmentName func(id string) string

	mu     sync.Mutex
	closed bool
	links  map[string]*worker      // by worker id
	data   map[string]*link.Client // by worker id
	joined chan struct{}           // closed when the first worker has joined
	more   chan struct{}           // closed when there is another link of either kind
	first  sync.Once
	wg     sync.WaitGroup // one for each link
}

// Deps are what a Hub joins workers to. All are required.
type Deps struct {
	Scheduler *task.Scheduler
	Sandboxes *sandbox.Service
	Outputs   Outputs
	// EnvironmentName returns what the environment of an id is called, which is what code in containers is told.
	EnvironmentName func(id string) string
	Log             *slog.Logger
}

// New returns a Hub without workers.
func New(d Deps) *Hub {
	return &Hub{
		scheduler: d.Scheduler, sandboxes: d.Sandboxes, outputs: d.Outputs, environmentName: d.EnvironmentName, owners: newOwners(), log: d.Log,
		links: map[string]*worker{}, data: map[string]*link.Client{}, joined: make(chan struct{}), more: make(chan struct{}),
	}
}

// Joined is closed once a worker has joined.
func (h *Hub) Joined() <-chan struct{} { return h.joined }

// ServeHTTP takes the connection over and returns when the link has ended.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("kind") == dataKind {
		h.serveData(w, r)
		return
	}
	conn, err := link.Upgrade(w, r)
	if err != nil {
		h.log.Warn("worker link refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	client, err := link.NewClient(conn)
	if err != nil {
		h.log.Warn("worker link failed", "remote", r.RemoteAddr, "error", err)
		return
	}
	if err := h.serve(r.Context(), client); err != nil {
		h.log.Warn("worker link ended", "remote", r.RemoteAddr, "error", err)
	}
}

// serve holds one link from Describe to its end.
func (h *Hub) serve(ctx context.Context, client *link.Client) error {
	defer client.Close() //nolint:errcheck // a second close of a connection that ended says nothing new
	// What goes over a link is small or compressed already: gzip would only cost time.
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	var token string
	if t := identity.Caller(ctx); t != nil {
		token = t.ID
	}
	w := newWorker(ctx, workerv1connect.NewWorkerServiceClient(client.HTTPClient(), link.BaseURL, plain), h.environmentName, h.log)
	info, err := w.describe(ctx)
	if err != nil {
		return err
	}
	w.token = token
	if err := h.enter(info.ID, w, client); err != nil {
		return err
	}
	defer h.wg.Done()
	leave, err := h.scheduler.Join(info, &observed{w, w.token, h.owners, h.outputs})
	if err != nil {
		h.forget(info.ID)
		return err
	}
	h.first.Do(func() { close(h.joined) })
	h.log.Info("worker joined", "worker", info.ID, "host", info.Hostname)
	watch := h.watchSandboxes(info.ID, client, plain)
	<-client.Done()
	h.forget(info.ID)
	watch()
	w.end(fault.New(fault.Unavailable, "worker %q: link lost", info.ID))
	leave()
	h.log.Info("worker left", "worker", info.ID, "host", info.Hostname)
	return nil
}

// TokenOf returns the id of the token that a worker has joined with; empty if it is not there.
func (h *Hub) TokenOf(workerID string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w := h.links[workerID]; w != nil {
		return w.token
	}
	return ""
}

// OwnerOf implements Owners.
func (h *Hub) OwnerOf(containerID string) (tokenID string, err error) {
	if ident.Check(ident.Sandbox, containerID) != nil {
		token, known := h.owners.of(containerID)
		if !known {
			return "", fault.New(fault.NotFound, "container %q: nothing is known of it", containerID)
		}
		return token, nil
	}
	sb, err := h.sandboxes.Get(context.Background(), containerID)
	if err != nil {
		return "", err
	}
	token := h.TokenOf(sb.WorkerID)
	if token == "" {
		return "", fault.New(fault.Unavailable, "sandbox %q: its worker %q has not linked yet", containerID, sb.WorkerID)
	}
	return token, nil
}

// watchSandboxes follows a worker's sandboxes until the function that it returns is called, which waits for the end.
func (h *Hub) watchSandboxes(workerID string, client *link.Client, opts ...connect.ClientOption) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		rpc := workerv1connect.NewSandboxServiceClient(client.HTTPClient(), link.BaseURL, opts...)
		h.sandboxes.Join(ctx, workerID, &sandboxes{rpc: rpc, log: h.log, environmentName: h.environmentName})
	}()
	return func() {
		cancel()
		<-done
	}
}

// enter adds a link, which wg then counts. It refuses a second one of a worker, and all once the Hub is closed.
func (h *Hub) enter(id string, w *worker, client *link.Client) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fault.New(fault.Unavailable, "worker %q: the gateway is stopping", id)
	}
	if h.links[id] != nil {
		return fault.New(fault.Exists, "worker %q: is connected already; stop the other skerryd of its data folder", id)
	}
	w.client = client
	h.links[id] = w
	h.another()
	h.wg.Add(1)
	return nil
}

func (h *Hub) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.links, id)
}

// Close ends all links and waits for them.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	var err error
	for _, w := range h.links {
		err = errors.Join(err, w.client.Close())
	}
	for _, c := range h.data {
		err = errors.Join(err, c.Close())
	}
	h.mu.Unlock()
	h.wg.Wait()
	return err
}

// describe asks a worker what it is and checks the answer: a worker is trusted with containers, not with the gateway.
func (w *worker) describe(ctx context.Context) (fleet.Worker, error) {
	ctx, cancel := context.WithTimeout(ctx, DescribeTimeout)
	defer cancel()
	answer, err := w.rpc.Describe(ctx, connect.NewRequest(&workerv1.DescribeRequest{}))
	if err != nil {
		return fleet.Worker{}, fmt.Errorf("describe: %w", fault.FromConnect(err))
	}
	res := answer.Msg
	if err := ident.Check(ident.Worker, res.GetWorkerId()); err != nil {
		return fleet.Worker{}, err
	}
	return fleet.Worker{
		ID: res.GetWorkerId(), Hostname: res.GetHostname(), Version: res.GetVersion(),
		Capacity: placement.Needs{CPUMilli: res.GetCpuMilli(), MemoryMiB: res.GetMemoryMib()},
		Labels:   res.GetLabels(),
	}, nil
}
