package sandboxrpc

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
)

// Prefix is the path below which sandboxes are served: /sandboxes/<id>/<service>/<method>, and of a sidecar
// /sandboxes/<id>/sidecars/<name>/<service>/<method>.
const Prefix = "/sandboxes/"

// bufferSize is that of the buffers bytes go through, in bytes.
const bufferSize = 64 << 10

// services are those that clients reach; a sandbox's init serves others that are its worker's alone.
var services = map[string]bool{
	skerryv1connect.ProcessServiceName: true, skerryv1connect.FilesystemServiceName: true, skerryv1connect.InterpreterServiceName: true,
}

// Sandboxes finds sandboxes. Implemented by sandbox.Service.
type Sandboxes interface {
	// Locate returns the linked worker of a sandbox. Errors: fault.Invalid, fault.NotFound, fault.Precondition, fault.Unavailable.
	Locate(ctx context.Context, id string) (workerID string, sb sandbox.Sandbox, err error)
}

// Links are the data links of workers. Implemented by workerlink.Hub.
type Links interface {
	// Data returns a worker's data link, which may be about to come, or a fault.Unavailable.
	Data(ctx context.Context, workerID string) (http.RoundTripper, error)
}

// Resumer has paused sandboxes run on. Implemented by snapshot.Service.
type Resumer interface {
	// Resume returns once a sandbox runs. Errors: fault.NotFound, fault.Precondition, fault.Exhausted, fault.Unavailable.
	Resume(ctx context.Context, id string) (sandbox.Sandbox, error)
}

// Relay passes clients' requests on to what is served inside sandboxes: ProcessService, FilesystemService and InterpreterService of skerry-init,
// over the data links of workers. It decides who may ask; what is asked is checked in the sandbox. It is the http.Handler of Prefix, behind
// the authentication of clients, and safe for concurrent use.
type Relay struct {
	sandboxes Sandboxes
	resumer   Resumer
	links     Links
	log       *slog.Logger
	buffers   buffers
}

// NewRelay returns a Relay.
func NewRelay(s Sandboxes, r Resumer, l Links, log *slog.Logger) *Relay {
	return &Relay{sandboxes: s, resumer: r, links: l, log: log}
}

// ServeHTTP passes a request on and its answer back; both stream.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	to, err := r.find(req)
	if err != nil {
		refuse(w, req, err)
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport: to, FlushInterval: -1, BufferPool: &r.buffers, ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
		Rewrite:        rewrite,
		ModifyResponse: func(res *http.Response) error { trim(res.Header); return nil },
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			if cause := context.Cause(req.Context()); cause != nil {
				err = cause // the client has left, or the gateway stops
			}
			refuse(w, req, fault.New(fault.Unavailable, "sandbox: the link to its worker is lost: %w", err))
		},
	}
	proxy.ServeHTTP(w, req)
}

// find checks the path, and returns the way to the sandbox that it names.
func (r *Relay) find(req *http.Request) (http.RoundTripper, error) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, Prefix), "/")
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return nil, err
	}
	if name, ok := strings.CutPrefix(rest, "sidecars/"); ok {
		name, rest, _ = strings.Cut(name, "/")
		if err := ident.CheckName("sidecar", name); err != nil {
			return nil, err
		}
	}
	service, method, _ := strings.Cut(rest, "/")
	if !services[service] || method == "" || strings.Contains(method, "/") {
		return nil, fault.New(fault.Unimplemented, "sandbox %q: serves no %.100q", id, rest)
	}
	worker, sb, err := r.sandboxes.Locate(req.Context(), id)
	if err == nil {
		err = identity.CheckApp(req.Context(), sb.AppID)
	}
	if err == nil && sb.State == sandbox.Paused {
		_, err = r.resumer.Resume(req.Context(), id) // whoever uses it wakes it
	}
	if err != nil {
		return nil, err
	}
	return r.links.Data(req.Context(), worker)
}

// passed are the headers of a request that a sandbox gets. Credentials are not among them.
var passed = []string{
	"Accept", "Accept-Encoding", "Content-Encoding", "Content-Type", "Te", "User-Agent",
	"Connect-Protocol-Version", "Connect-Timeout-Ms", "Connect-Accept-Encoding", "Connect-Content-Encoding",
	"Grpc-Timeout", "Grpc-Encoding", "Grpc-Accept-Encoding",
}

// answered are the headers of an answer that a client gets: a sandbox is not to be trusted with others.
var answered = map[string]bool{
	"X-Content-Type-Options": true, "Content-Type": true, "Content-Encoding": true, "Content-Length": true, "Trailer": true,
	"Connect-Content-Encoding": true, "Connect-Accept-Encoding": true,
	"Grpc-Encoding": true, "Grpc-Accept-Encoding": true, "Grpc-Status": true, "Grpc-Message": true, "Grpc-Status-Details-Bin": true,
}

var target = mustParse(link.BaseURL)

func mustParse(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil {
		panic(err)
	}
	return u
}

func rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = target.Scheme, target.Host, target.Host
	h := http.Header{}
	for _, name := range passed {
		if v := p.In.Header[name]; v != nil {
			h[name] = v
		}
	}
	p.Out.Header = h
}

func trim(h http.Header) {
	for name := range h {
		if !answered[name] {
			delete(h, name)
		}
	}
}

// refuse answers in the protocol that the request came in.
func refuse(w http.ResponseWriter, req *http.Request, err error) {
	errs := connect.NewErrorWriter()
	if !errs.IsSupported(req) {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	if werr := errs.Write(w, req, fault.ToConnect(err)); werr != nil && !errors.Is(werr, context.Canceled) {
		return // a client that has gone is no concern of ours
	}
}

// buffers is a httputil.BufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
