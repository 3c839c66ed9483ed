package sandboxlink

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/sandbox"
)

// Transport sends requests of clients over a link to an init. It lets through what clients may reach and nothing else, and of the answers what
// may go on: what is inside is not trusted. Errors: fault.NotFound for another path. Implemented by worker/guest through worker/agent.
type Transport func(g box.Guest) http.RoundTripper

// Proxy passes what comes over the data link on to the init of the sandbox that it names, and the answers back: both bodies as they come, one
// independent of the other. It is an http.Handler for paths that begin with Prefix.
type Proxy struct {
	host      *sandbox.Host
	transport Transport
	log       *slog.Logger
	buffers   sync.Pool
}

const (
	// Prefix is the beginning of the paths of requests to sandboxes: <Prefix><sandbox id>/...
	Prefix = "/sandboxes/"
	// ReasonHeader says, in an answer to a request for a port, why it is not reached.
	ReasonHeader = "X-Skerry-Reason"
	// bufferSize is how much of an answer is passed on at a time.
	bufferSize = 64 << 10
	maxReason  = 200
	// peeked is how much of an answer of one message is read before its headers are passed on, at most.
	peeked = 512
)

// NewProxy returns a proxy to the sandboxes of host.
func NewProxy(host *sandbox.Host, transport Transport, log *slog.Logger) *Proxy {
	return &Proxy{host: host, transport: transport, log: log, buffers: sync.Pool{New: func() any { return new([bufferSize]byte) }}}
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, Prefix)
	id, path, _ := strings.Cut(rest, "/")
	if !ok {
		refuse(w, r, fault.New(fault.NotFound, "%s: sandboxes are at %s", r.URL.Path, Prefix))
		return
	}
	s, err := p.host.Get(id)
	if err != nil {
		refuse(w, r, err)
		return
	}
	to, release, err := find(r.Context(), s, path)
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer release()
	started := func() {}
	if strings.HasSuffix(to.path, startProcess) {
		started = p.host.Turn(r.Context())
	}
	defer started()
	p.pass(w, r, to, started)
}

// startProcess ends the paths of requests that start processes.
const startProcess = ".ProcessService/StartProcess"

// sidecarPrefix is the beginning of what follows a sandbox's id in the paths of requests to a sidecar of it: sidecars/<name>/...
const sidecarPrefix = "sidecars/"

// find returns the way to the init that a path names.
func find(ctx context.Context, s *sandbox.Sandbox, path string) (to way, release func(), err error) {
	if of, ok := strings.CutPrefix(path, sidecarPrefix); ok {
		name, rest, _ := strings.Cut(of, "/")
		g, release, err := s.UseSidecar(ctx, name)
		explain := func(ctx context.Context, err error) error {
			return s.Explain(ctx, s.Sidecars().Explain(ctx, name, err))
		}
		return way{g, "/" + rest, explain}, release, err
	}
	g, release, err := s.Use(ctx)
	return way{g, "/" + path, s.Explain}, release, err
}

// way is where a request goes.
type way struct {
	guest box.Guest
	path  string
	// explain returns why there is no container any more where that is why a request has failed, else its error.
	explain func(context.Context, error) error
}

// pass sends the request and takes the answer; begun is called when some of it has been passed on.
func (p *Proxy) pass(w http.ResponseWriter, r *http.Request, to way, begun func()) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel() // ends what still goes to init when its answer has ended
	out := r.Clone(ctx)
	out.URL.Path, out.URL.RawPath, out.URL.RawQuery = to.path, "", ""
	res, err := p.transport(to.guest).RoundTrip(out)
	if err != nil {
		p.log.Debug("request to a sandbox not passed on", "path", r.URL.Path, "error", err)
		if !errors.Is(err, fault.NotFound) {
			err = to.explain(r.Context(), fault.New(fault.Unavailable, "the sandbox's init was not reached"))
		}
		refuse(w, r, err)
		return
	}
	defer res.Body.Close()
	var body io.Reader = res.Body
	if single(res) {
		// Before its first byte has been passed on, what is broken off can still be told in words.
		b := bufio.NewReaderSize(body, peeked)
		if _, err := b.Peek(1); err != nil && !errors.Is(err, io.EOF) {
			p.log.Debug("answer of a sandbox broken off", "path", r.URL.Path, "error", err)
			refuse(w, r, to.explain(r.Context(), fault.New(fault.Unavailable, "the sandbox's init broke its answer off")))
			return
		}
		body = b
	}
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	if err := p.copyBody(w, body, begun); err != nil {
		p.log.Debug("answer of a sandbox broken off", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler) // resets the stream: the peer must not take what it has for the whole
	}
	for name, values := range res.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
}

// single says whether an answer is one message, which comes with its headers; those of streams are waited for by themselves.
func single(res *http.Response) bool {
	kind := res.Header.Get("Content-Type")
	return kind == "application/proto" || kind == "application/json"
}

// copyBody passes an answer's body on as it comes. It calls begun after each piece.
func (p *Proxy) copyBody(w http.ResponseWriter, body io.Reader, begun func()) error {
	flush := http.NewResponseController(w).Flush
	if err := flush(); err != nil {
		return err
	}
	buf := p.buffers.Get().(*[bufferSize]byte) //nolint:forcetypeassert // the pool has nothing else
	defer p.buffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
			begun()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// refuse answers in the protocol of the request, and for connections to ports in a header.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	reason := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, err.Error())
	w.Header().Set(ReasonHeader, reason[:min(len(reason), maxReason)])
	_ = connect.NewErrorWriter().Write(w, r, fault.ToConnect(err)) // who has gone doesn't want it
}
