package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/buildlink"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/internal/blob"
	buildv1 "github.com/skerry-dev/skerry/internal/gen/skerry/build/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
)

// gateway is a real one on a loopback port, and an admin's clients of it.
type gateway struct {
	*server.Server
	dir   string
	blobs *blob.Store
	admin identity.Credential
	log   *syncBuffer
	http  *http.Client

	app    skerryv1connect.AppServiceClient
	fn     skerryv1connect.FunctionServiceClient
	image  skerryv1connect.ImageServiceClient
	mount  skerryv1connect.MountServiceClient
	blob   skerryv1connect.BlobServiceClient
	secret skerryv1connect.SecretServiceClient
	token  skerryv1connect.TokenServiceClient
	logs   skerryv1connect.LogServiceClient
}

type syncBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed at the next write
}

// written is closed when there is more than now.
func (s *syncBuffer) written() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more == nil {
		s.more = make(chan struct{})
	}
	return s.more
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T, change func(*server.Config)) *gateway {
	t.Helper()
	g, stop := startIn(t, t.TempDir(), change)
	t.Cleanup(stop)
	return g
}

// startIn starts a gateway on a data folder; stop ends it and checks that it ended in good order.
func startIn(t *testing.T, dir string, change func(*server.Config)) (*gateway, func()) {
	t.Helper()
	g := &gateway{dir: filepath.Join(dir, "gateway"), log: &syncBuffer{}}
	var err error
	if g.blobs, err = blob.Open(t.Context(), filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{Dir: g.dir, Listen: "127.0.0.1:0", Version: "test", BuilderWait: 2 * time.Second}
	if change != nil {
		change(&cfg)
	}
	log := slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if g.Server, err = server.New(t.Context(), cfg, g.blobs, log); err != nil {
		t.Fatal(err)
	}
	if g.admin, err = g.Tokens().Create(t.Context(), "tester", identity.Admin); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	g.connect(t, g.admin.Encode())
	return g, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("gateway ended with %v\n%s", err, g.log)
		}
		g.Close()
		if err := g.blobs.Close(); err != nil {
			t.Error(err)
		}
	}
}

// connect makes clients that send a token, over HTTP/2 as the SDKs do.
func (g *gateway) connect(t *testing.T, token string) {
	t.Helper()
	g.http = g.client(t, token)
	g.app = skerryv1connect.NewAppServiceClient(g.http, g.URL())
	g.fn = skerryv1connect.NewFunctionServiceClient(g.http, g.URL())
	g.image = skerryv1connect.NewImageServiceClient(g.http, g.URL())
	g.mount = skerryv1connect.NewMountServiceClient(g.http, g.URL())
	g.blob = skerryv1connect.NewBlobServiceClient(g.http, g.URL())
	g.secret = skerryv1connect.NewSecretServiceClient(g.http, g.URL())
	g.token = skerryv1connect.NewTokenServiceClient(g.http, g.URL())
	g.logs = skerryv1connect.NewLogServiceClient(g.http, g.URL())
}

func (g *gateway) client(t *testing.T, token string) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	p.SetHTTP2(true)
	local, err := g.LocalTLS()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Protocols: &p, TLSClientConfig: local}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: bearer{token, transport}}
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

func wantCode(t *testing.T, err error, code connect.Code, says string) {
	t.Helper()
	if connect.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("error = %v, want %s that says %q", err, code, says)
	}
}

func call[Q, R any](t *testing.T, f func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), q *Q) *R {
	t.Helper()
	r, err := f(t.Context(), connect.NewRequest(q))
	if err != nil {
		t.Fatalf("%T: %v", q, err)
	}
	return r.Msg
}

func fails[Q, R any](t *testing.T, f func(context.Context, *connect.Request[Q]) (*connect.Response[R], error), q *Q) error {
	t.Helper()
	if _, err := f(t.Context(), connect.NewRequest(q)); err != nil {
		return err
	}
	t.Fatalf("%T: no error", q)
	return nil
}

// fakeBuilder is a builder at the far end of a real link.
type fakeBuilder struct {
	buildv1connect.UnimplementedBuilderServiceHandler
	build  func(ctx context.Context, req *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error
	asked  func()              // before it says which series it has; may be nil
	token  identity.Credential // zero: one of a part of the gateway's process
	python []string            // series; none: 3.11 and 3.13
	empty  bool                // it stores nothing of what it says that it has built
}

func (f *fakeBuilder) ListPythonSeries(context.Context, *connect.Request[buildv1.ListPythonSeriesRequest]) (*connect.Response[buildv1.ListPythonSeriesResponse], error) {
	if f.asked != nil {
		f.asked()
	}
	series := f.python
	if series == nil {
		series = []string{"3.11", "3.13"}
	}
	return connect.NewResponse(&buildv1.ListPythonSeriesResponse{Series: series, Hint: "Run skerryd base prepare."}), nil
}

func (f *fakeBuilder) Build(ctx context.Context, req *connect.Request[buildv1.BuildRequest], stream *connect.ServerStream[buildv1.BuildResponse]) error {
	return f.build(ctx, req.Msg, func(m *buildv1.BuildResponse) { _ = stream.Send(m) })
}

// join links a builder to the gateway as a real one does.
func (g *gateway) join(t *testing.T, b *fakeBuilder) {
	t.Helper()
	conn, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if local, err := g.LocalTLS(); err != nil {
		t.Fatal(err)
	} else if local != nil {
		conn = tls.Client(conn, local)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL()+buildlink.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.token == (identity.Credential{}) {
		b.token = g.Tokens().Ephemeral("builder", identity.Builder)
	}
	if !b.empty {
		g.store(t)
	}
	r.Header.Set("Authorization", "Bearer "+b.token.Encode())
	conn, err = link.Dial(t.Context(), conn, r)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(buildv1connect.NewBuilderServiceHandler(b))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = link.Serve(ctx, conn, mux)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

var erofs = []byte("an EROFS file")

// store puts into the blob store what builders say that they have built.
func (g *gateway) store(t *testing.T) {
	t.Helper()
	if err := g.blobs.Put(t.Context(), ident.Digest(erofs), uint64(len(erofs)), bytes.NewReader(erofs)); err != nil {
		t.Error(err)
	}
}

// instantly is a builder that always succeeds.
func (g *gateway) instantly(t *testing.T) *fakeBuilder {
	t.Helper()
	return &fakeBuilder{build: func(_ context.Context, _ *buildv1.BuildRequest, send func(*buildv1.BuildResponse)) error {
		send(built())
		return nil
	}}
}

func built() *buildv1.BuildResponse {
	return &buildv1.BuildResponse{Event: &buildv1.BuildResponse_Built{Built: &buildv1.Built{
		Erofs: &skerryv1.BlobRef{Digest: ident.Digest(erofs), Size: uint64(len(erofs))}, Env: map[string]string{"PATH": "/usr/bin"}, Workdir: "/root",
	}}}
}

func slim(python string, packages ...string) *skerryv1.Recipe {
	r := &skerryv1.Recipe{Base: &skerryv1.Base{Kind: &skerryv1.Base_DebianSlim{DebianSlim: &skerryv1.DebianSlim{PythonVersion: python}}}}
	if len(packages) > 0 {
		r.Steps = []*skerryv1.Step{{Kind: &skerryv1.Step_PipInstall{PipInstall: &skerryv1.PipInstall{Packages: packages}}}}
	}
	return r
}

// buildImage has an image built and returns its events.
func (g *gateway) buildImage(t *testing.T, req *skerryv1.BuildImageRequest) ([]*skerryv1.BuildImageResponse, error) {
	t.Helper()
	stream, err := g.image.BuildImage(t.Context(), connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	var events []*skerryv1.BuildImageResponse
	for stream.Receive() {
		events = append(events, stream.Msg())
	}
	return events, stream.Err()
}

// mustImage returns the id of a built image.
func (g *gateway) mustImage(t *testing.T) string {
	t.Helper()
	g.join(t, g.instantly(t))
	events, err := g.buildImage(t, &skerryv1.BuildImageRequest{Recipe: slim("3.11")})
	if err != nil || len(events) == 0 {
		t.Fatalf("build: %v, %v\n%s", events, err, g.log)
	}
	return events[len(events)-1].GetBuilt().GetImageId()
}
