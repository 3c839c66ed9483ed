package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// Limits towards hosts.
const (
	handshakeTimeout = 10 * time.Second
	idleUpstream     = 30 * time.Second
	idlePerHost      = 16
	maxAnswerHeader  = 1 << 20 // bytes
	pingAfter        = 30 * time.Second
	pingTimeout      = 15 * time.Second
)

// connKey finds a request's guestConn in its context.
type connKey struct{}

// secureProtocols are what clients of opened connections may speak; those without TLS have HTTP/1 alone.
func secureProtocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	return &p
}

// server serves requests of connections to hosts by the scheme.
func (p *Proxy) server(scheme string, protocols *http.Protocols) *http.Server {
	if protocols == nil {
		protocols = new(http.Protocols)
		protocols.SetHTTP1(true)
	}
	return &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serveRequest(w, r, scheme) }),
		Protocols:         protocols,
		ReadHeaderTimeout: HelloTimeout, IdleTimeout: IdleTimeout, MaxHeaderBytes: MaxHeader,
		HTTP2:    &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what guests do wrong
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if secure, ok := c.(*tls.Conn); ok {
				c = secure.NetConn()
			}
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

// transport makes an endpoint's way to its hosts.
func (p *Proxy) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			number := uint16(portTLS)
			if port == portOf["http"] {
				number = portHTTP
			}
			return p.connect(ctx, host, number)
		},
		TLSClientConfig:     &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: handshakeTimeout,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
		MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: idleUpstream, ExpectContinueTimeout: time.Second,
		MaxResponseHeaderBytes: maxAnswerHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

const portHTTP = 80

var portOf = map[string]string{"http": "80", "https": "443"}

// serveRequest checks one request and passes it on.
func (p *Proxy) serveRequest(w http.ResponseWriter, r *http.Request, scheme string) {
	c, ok := r.Context().Value(connKey{}).(*guestConn)
	if !ok {
		answer(w, fault.New(fault.Internal, "a connection of nobody"))
		return
	}
	if err := passable(r, scheme); err != nil {
		answer(w, err)
		return
	}
	host, err := hostOf(r, scheme)
	if err != nil {
		answer(w, err)
		return
	}
	if c.host != "" && host != c.host {
		// The connection was to one host, with its certificate; a request over it is for no other, though a server may serve both.
		http.Error(w, "skerry: this connection is to "+c.host, http.StatusMisdirectedRequest)
		return
	}
	ctx, f, now, upstream, err := c.guest.begin(r.Context(), host)
	if err != nil {
		answer(w, err)
		return
	}
	defer f.end()
	in := &injection{}
	if c.host != "" {
		if in, err = newInjection(now.SecretsOf(host)); err != nil {
			answer(w, err)
			return
		}
	}
	forward(w, r.WithContext(ctx), &route{scheme: scheme, host: host, upstream: upstream, injection: in})
}

// hostOf returns the host that a request is for. Errors: fault.Denied.
func hostOf(r *http.Request, scheme string) (string, error) {
	host := r.Host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if port != portOf[scheme] {
			return "", fault.New(fault.Denied, "host %q: only port %s is reached here", host, portOf[scheme])
		}
		host = h
	}
	name, err := policy.Name(host)
	if err != nil {
		return "", fault.New(fault.Denied, "%v", err)
	}
	return name, nil
}

// passable says whether a request is of a kind that is passed on. Errors: fault.Denied.
func passable(r *http.Request, scheme string) error {
	upgrade := r.Header.Get("Upgrade")
	switch {
	case scheme == "http" && r.ProtoMajor != 1:
		return fault.New(fault.Denied, "HTTP/2 without TLS is not passed on")
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return fault.New(fault.Denied, "method %s is not passed on", r.Method)
	case upgrade != "" && !strings.EqualFold(upgrade, "websocket"):
		// Over another protocol more requests could follow, which nobody would look at.
		return fault.New(fault.Denied, "an upgrade to %q is not passed on; websocket is", upgrade)
	}
	return nil
}

// route is where one request goes.
type route struct {
	scheme, host string
	upstream     *http.Transport
	injection    *injection
}

// forward passes a request on and its answer back, both as streams.
func forward(w http.ResponseWriter, r *http.Request, to *route) {
	if err := to.injection.prepare(r); err != nil {
		answer(w, err)
		return
	}
	if r.ProtoMajor == 1 {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			answer(w, err)
			return
		}
	}
	proxy := &httputil.ReverseProxy{
		Transport:     to.upstream,
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // ends of connections
		Rewrite:       func(pr *httputil.ProxyRequest) { to.rewrite(pr) },
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Alt-Svc") // other ways to the host are closed
			to.injection.scrub(resp.Header)
			if len(resp.Trailer) > 0 {
				resp.Header.Del("Content-Length") // with which HTTP/1.1 has no trailers
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if cause := context.Cause(r.Context()); errors.Is(cause, errCut) {
				err = fault.Wrap(fault.Denied, cause)
			}
			answer(w, to.injection.hide(err))
		},
	}
	// The writer sees headers of interim answers, the call after it trailers; both are set behind ModifyResponse.
	out := &scrubbed{ResponseWriter: w, injection: to.injection}
	defer func() { to.injection.scrub(w.Header()) }()
	proxy.ServeHTTP(out, r)
}

// rewrite makes the request that goes out: the client's own, without what a proxy usually adds or takes away.
func (to *route) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme, out.URL.Host, out.Host = to.scheme, net.JoinHostPort(to.host, portOf[to.scheme]), to.host
	out.URL.RawQuery = pr.In.URL.RawQuery
	out.Trailer = pr.In.Trailer // filled in once the body has been read
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values := pr.In.Header.Values(name); len(values) > 0 {
			out.Header[name] = values
		}
	}
	to.injection.apply(out)
}

// scrubbed takes secrets out of headers as they are written.
type scrubbed struct {
	http.ResponseWriter

	injection *injection
}

// WriteHeader writes a header, an interim one too.
func (s *scrubbed) WriteHeader(code int) {
	s.injection.scrub(s.Header())
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (s *scrubbed) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// answer tells the client why its request goes nowhere.
func answer(w http.ResponseWriter, err error) {
	code := http.StatusBadGateway
	switch {
	case errors.Is(err, fault.Invalid):
		code = http.StatusBadRequest
	case errors.Is(err, fault.Denied):
		code = http.StatusForbidden
	case errors.Is(err, fault.Exhausted):
		code = http.StatusServiceUnavailable
	}
	w.Header().Set("X-Skerry-Egress", "refused")
	http.Error(w, "skerry: "+err.Error(), code)
}
