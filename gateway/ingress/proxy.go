package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds of what is kept of servers in containers.
const (
	// keepIdle is how long a connection is kept for the next request: short, because it counts as use of the sandbox, and shorter than servers
	// keep theirs.
	keepIdle = 2 * time.Second
	// keepEach is how many are kept for one route.
	keepEach = 16
	// maxResponseHeader bounds the headers of a response in bytes.
	maxResponseHeader = 256 << 10
	proxyBuffer       = 32 << 10
)

// MetadataHeader tells a server in a sandbox what the maker of the visitor's token wanted it to know.
const MetadataHeader = "X-Skerry-User-Metadata"

// passage is a request that was let in.
type passage struct {
	route   route.Route
	visit   *route.Visit
	visitor visitor
}

type passageKey struct{}

func passageOf(ctx context.Context) *passage {
	p, _ := ctx.Value(passageKey{}).(*passage)
	return p
}

// newProxy returns the one proxy for all routes; each request's context has its passage.
func (s *Server) newProxy() *httputil.ReverseProxy {
	transport := func(set func(*http.Protocols)) *http.Transport {
		var p http.Protocols
		set(&p)
		return &http.Transport{
			DialContext: dialBackend, DisableCompression: true, Protocols: &p, IdleConnTimeout: keepIdle, MaxIdleConnsPerHost: keepEach,
			MaxResponseHeaderBytes: maxResponseHeader, ExpectContinueTimeout: time.Second,
		}
	}
	s.transports = transports{
		http1: transport(func(p *http.Protocols) { p.SetHTTP1(true) }),
		h2c:   transport(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }),
	}
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      &s.transports,
		FlushInterval:  -1,
		BufferPool:     &bufferPool{sync.Pool{New: func() any { return make([]byte, proxyBuffer) }}},
		ModifyResponse: slimUpgrade,
		ErrorHandler:   failed,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// transports speaks what the end of the request's route speaks.
type transports struct{ http1, h2c *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	if p := passageOf(r.Context()); p != nil && p.route.Protocol == route.H2C {
		return t.h2c.RoundTrip(r)
	}
	return t.http1.RoundTrip(r)
}

// dialBackend connects for a request. Connections are kept by the route's name, so that whichever request it serves, it leads there.
func dialBackend(ctx context.Context, _, _ string) (net.Conn, error) {
	p := passageOf(ctx)
	if p == nil {
		return nil, errors.New("a connection without a route")
	}
	conn, err := p.route.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if c, ok := conn.(net.Conn); ok {
		return c, nil
	}
	return &backConn{conn}, nil
}

// backConn is a connection to a backend as net/http wants it; the transport sets no deadlines on it.
type backConn struct{ route.Conn }

// LocalAddr implements net.Conn.
func (*backConn) LocalAddr() net.Addr { return &net.UnixAddr{Name: "route", Net: "route"} }

// RemoteAddr implements net.Conn.
func (*backConn) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "route", Net: "route"} }

// SetDeadline implements net.Conn.
func (*backConn) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline implements net.Conn.
func (*backConn) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline implements net.Conn.
func (*backConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// ByName returns a handler that serves routes by the host that requests name. What is no name of a route goes to next; nil: not found.
func (s *Server) ByName(routes route.Routes, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := routes.Find(hostOf(r.Host))
		switch {
		case err == nil:
			s.serve(w, r, to)
		case errors.Is(err, fault.Invalid) && next != nil:
			next.ServeHTTP(w, r)
		default:
			answer(w, r, http.StatusNotFound, err)
		}
	})
}

// hostOf takes the name out of a Host header.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// serveSingle serves a request by the route of its listener.
func (s *Server) serveSingle(w http.ResponseWriter, r *http.Request) {
	to, ok := r.Context().Value(routeKey{}).(route.Route)
	if !ok {
		answer(w, r, http.StatusNotFound, errors.New("nothing is served here"))
		return
	}
	s.serve(w, r, to)
}

// serve lets a request in and passes it on.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, to route.Route) {
	if r.Method == http.MethodConnect || r.URL.Path == "*" {
		answer(w, r, http.StatusMethodNotAllowed, errors.New("this is no proxy"))
		return
	}
	who := s.visitorOf(r)
	shown := shownBy(r)
	visit, err := to.Admit(r.Context(), route.Visitor{Addr: who.addr, Tokens: shown.all()})
	if err != nil {
		answer(w, r, statusOf(err), err)
		return
	}
	defer visit.End()
	if shown.query != "" && shown.query == visit.Token && remembers(r) {
		remember(w, r, who, visit)
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), passageKey{}, &passage{to, visit, who}))
	defer cancel(nil)
	stop := context.AfterFunc(visit.Context, func() { cancel(context.Cause(visit.Context)) })
	defer stop()
	if r.ProtoMajor == 1 {
		// So that a server may answer while it reads. A connection that can't do it is HTTP/1.0's.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	s.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// rewrite makes the request that goes to the server in the container.
func rewrite(pr *httputil.ProxyRequest) {
	p := passageOf(pr.In.Context())
	pr.Out.URL.Scheme, pr.Out.URL.Host = "http", p.route.Name()
	pr.Out.Host = pr.In.Host
	pr.Out.URL.RawQuery = withoutToken(pr.In.URL.RawQuery) // as it came: servers differ in what they understand
	if !strings.EqualFold(pr.Out.Header.Get("Upgrade"), "websocket") {
		// What is spoken after another one is out of our hands: HTTP/2 would carry requests that nobody has looked at.
		pr.Out.Header.Del("Upgrade")
		pr.Out.Header.Del("Connection")
	}
	for name := range pr.Out.Trailer {
		if ours(strings.ReplaceAll(name, "_", "-")) {
			delete(pr.Out.Trailer, name)
		}
	}
	for name := range pr.Out.Header {
		// Servers that know headers as variables take '_' for '-'.
		if ours(strings.ReplaceAll(name, "_", "-")) {
			delete(pr.Out.Header, name)
		}
	}
	hideTokens(pr.Out.Header, p.visit.Token)
	if p.visit.Metadata != "" {
		pr.Out.Header.Set(MetadataHeader, p.visit.Metadata)
	}
	p.visitor.forward(pr.Out.Header)
}

// ours says whether only the gateway may set a header.
func ours(name string) bool {
	return strings.EqualFold(name, MetadataHeader) || strings.EqualFold(name, "Forwarded") ||
		len(name) >= len(forwardedPrefix) && strings.EqualFold(name[:len(forwardedPrefix)], forwardedPrefix)
}

const forwardedPrefix = "X-Forwarded-"

// failed answers a request that the server in the container did not answer.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	if cause := context.Cause(r.Context()); cause != nil && fault.KindOf(cause) != nil {
		err = cause // the visit has ended
	}
	switch {
	case fault.KindOf(err) != nil:
		status := statusOf(err)
		if errors.Is(err, fault.NotFound) && context.Cause(r.Context()) == nil {
			status = http.StatusBadGateway // the route is there, and nothing listens at its end
		}
		answer(w, r, status, err)
	case r.Context().Err() != nil:
		w.WriteHeader(http.StatusBadGateway) // the visitor has gone: nobody reads it
	default:
		answer(w, r, http.StatusBadGateway, fmt.Errorf("the server behind this address gave no proper answer: %w", err))
	}
}

// slimUpgrade has connections that switched protocols carried by small buffers: many of them are idle for hours.
func slimUpgrade(res *http.Response) error {
	if rwc, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		res.Body = &slimConn{rwc}
	}
	return nil
}

type slimConn struct{ io.ReadWriteCloser }

// WriteTo implements io.WriterTo.
func (c *slimConn) WriteTo(w io.Writer) (int64, error) { return 0, pump(w, c.ReadWriteCloser) }

// ReadFrom implements io.ReaderFrom.
func (c *slimConn) ReadFrom(r io.Reader) (int64, error) { return 0, pump(c.ReadWriteCloser, r) }

// CloseWrite passes on that the visitor has no more to say.
func (c *slimConn) CloseWrite() error {
	if half, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// bufferPool lends buffers to the proxy.
type bufferPool struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte { return p.pool.Get().([]byte) }

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put(b) } //nolint:staticcheck // SA6002: a slice's header is small beside what it spares
