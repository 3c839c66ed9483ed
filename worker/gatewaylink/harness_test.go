package gatewaylink

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"

	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/worker/container"
)

const (
	token = "tk-1.secret"
	// window is how much of a request the test gateway takes before its handler reads it, in bytes.
	window   = 64 << 10
	patience = 30 * time.Second
)

var quiet = slog.New(slog.DiscardHandler)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await returns what comes out of a channel.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("not %s", what)
		panic("not reached")
	}
}

// gateway is the other end of a worker's links, over real connections.
type gateway struct {
	workerv1connect.UnimplementedBulkServiceHandler
	*httptest.Server
	links    chan *link.Client
	pushLogs func(*connect.BidiStream[workerv1.PushLogsRequest, workerv1.PushLogsResponse]) error
	blobs    map[string][]byte // by digest, as they are sent: not what the digest says
	stored   chan []byte       // blobs that were stored
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{links: make(chan *link.Client, 8), blobs: map[string][]byte{}, stored: make(chan []byte, 8)}
	mux := http.NewServeMux()
	mux.HandleFunc(Path, func(w http.ResponseWriter, r *http.Request) {
		conn, err := link.Upgrade(w, r)
		if err != nil {
			return
		}
		client, err := link.NewClient(conn)
		if err != nil {
			t.Error(err)
			return
		}
		g.links <- client
		<-client.Done()
	})
	mux.Handle(workerv1connect.NewBulkServiceHandler(g))
	g.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	g.Config.Protocols = new(http.Protocols)
	g.Config.Protocols.SetHTTP1(true)
	g.Config.Protocols.SetUnencryptedHTTP2(true)
	g.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: window, MaxReceiveBufferPerConnection: window}
	g.Start()
	t.Cleanup(func() {
		g.CloseClientConnections()
		g.Close()
	})
	return g
}

func (g *gateway) dialer(t *testing.T) *Dialer {
	t.Helper()
	d, err := NewDialer(Address{URL: g.URL, Token: token})
	ok(t, err)
	return d
}

func (g *gateway) PushLogs(_ context.Context, s *connect.BidiStream[workerv1.PushLogsRequest, workerv1.PushLogsResponse]) error {
	return g.pushLogs(s)
}

func (g *gateway) FetchBlob(_ context.Context, r *connect.Request[workerv1.FetchBlobRequest], s *connect.ServerStream[workerv1.FetchBlobResponse]) error {
	data, there := g.blobs[r.Msg.GetDigest()]
	if !there {
		return connect.NewError(connect.CodeNotFound, nil)
	}
	for len(data) > 0 {
		n := min(len(data), 1000)
		if err := s.Send(&workerv1.FetchBlobResponse{Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (g *gateway) ClaimBlob(_ context.Context, r *connect.Request[workerv1.ClaimBlobRequest]) (*connect.Response[workerv1.ClaimBlobResponse], error) {
	data, there := g.blobs[r.Msg.GetDigest()]
	if !there {
		return nil, connect.NewError(connect.CodeNotFound, nil)
	}
	return connect.NewResponse(&workerv1.ClaimBlobResponse{Size: uint64(len(data))}), nil
}

func (g *gateway) StoreBlob(_ context.Context, s *connect.ClientStream[workerv1.StoreBlobRequest]) (*connect.Response[workerv1.StoreBlobResponse], error) {
	var data []byte
	for s.Receive() {
		data = append(data, s.Msg().GetData()...)
		if s.Msg().GetBlob() != nil {
			g.stored <- data
		}
	}
	return connect.NewResponse(&workerv1.StoreBlobResponse{}), s.Err()
}

// parts are those of a worker that has no place for a container: each waits for its network until it is given up.
type parts struct {
	container.Dialects
	container.Sandboxes
	asked chan string // containers that wait
}

func (p *parts) Acquire(ctx context.Context, id string, _ bool) (*container.Endpoint, error) {
	p.asked <- id
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (p *parts) Release(*container.Endpoint) error { return nil }

func (p *parts) Image(context.Context, container.Image) (path string, release func(), err error) {
	return "", func() {}, nil
}

func (p *parts) Mounts(context.Context, []container.Mount) (binds []container.Bind, release func(), err error) {
	return nil, func() {}, nil
}

func (p *parts) Write(string, container.LogEntry) {}
func (p *parts) EOF(string)                       {}

// serve returns a service, its parts, and the gateway's client of it over a link.
func serve(t *testing.T) (*Service, *parts, workerv1connect.WorkerServiceClient) {
	t.Helper()
	p := &parts{asked: make(chan string, 8)}
	host, err := container.NewHost(container.HostConfig{
		RunDir: t.TempDir(), DiskDir: t.TempDir(), RuntimeDir: t.TempDir(),
		Network: p, Rootfs: p, Sandboxes: p, Dialects: p, Logs: p,
	})
	ok(t, err)
	s := NewService(host, Description{WorkerID: "wo-1", CPUMilli: 2000}, quiet)
	worker, gateway := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- link.Serve(ctx, worker, s.Handler()) }()
	client, err := link.NewClient(gateway)
	ok(t, err)
	t.Cleanup(func() {
		cancel()
		_ = client.Close() // the other end may have been faster
		<-served
		ok(t, s.Drain(context.Background()))
	})
	return s, p, workerv1connect.NewWorkerServiceClient(client.HTTPClient(), link.BaseURL)
}
