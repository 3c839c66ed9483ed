// Package ingress serves routes to visitors: raw connections and HTTP at addresses of this host, and HTTP by host name, with TLS where there is
// a domain.
//
// Of HTTP nothing is passed on as it came: requests are parsed and written again. X-Forwarded-For, -Proto and -Host say who asks;
// X-Skerry-User-Metadata is what the maker of the visitor's token wanted known, and is taken from all other requests. Raw connections are
// passed on as they are.
package ingress

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"time"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// Bounds of visitors.
const (
	// DefaultMaxConnections is how many connections there may be by host name, of all sandboxes.
	DefaultMaxConnections = 50_000
	// DefaultHeaderTimeout is how long a visitor may take to make TLS and to say what it wants.
	DefaultHeaderTimeout = 15 * time.Second
	idleTimeout          = 2 * time.Minute // of a connection between two requests
	maxHeaderBytes       = 64 << 10
	maxStreams           = 250
)

// Config says where host names are served.
type Config struct {
	// Listen is an address for host names alone. Empty: there is none.
	Listen string
	// Certificates are for host names. None: Listen speaks in clear.
	Certificates []KeyPair
	// TrustedProxies are believed what they say about who asks.
	TrustedProxies []netip.Prefix
	// MaxConnections bounds connections at Listen. Default: DefaultMaxConnections.
	MaxConnections int
	// HeaderTimeout is how long a visitor may take to say what it wants. Default: DefaultHeaderTimeout.
	HeaderTimeout time.Duration
	// Now is the clock that files of certificates are looked at by. Default: time.Now.
	Now func() time.Time
}

// Server serves routes. New opens its port, Run serves, Close ends everything. It is safe for concurrent use.
type Server struct {
	cfg    Config
	log    *slog.Logger
	certs  *certificates
	byName net.Listener // nil: none
	single *http.Server // listeners for one route each
	proxy  *httputil.ReverseProxy

	transports transports
	group      *lifecycle.Group
}

var _ route.Listeners = (*Server)(nil)

// New opens the port for host names, if any. Errors: fault.Invalid (certificates), fault.Precondition (the address can't be had).
func New(ctx context.Context, cfg Config, log *slog.Logger) (*Server, error) {
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = DefaultMaxConnections
	}
	if cfg.HeaderTimeout == 0 {
		cfg.HeaderTimeout = DefaultHeaderTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	certs, err := loadCertificates(cfg, log)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log, certs: certs, group: lifecycle.NewGroup(context.WithoutCancel(ctx))}
	s.proxy = s.newProxy()
	if cfg.Listen != "" {
		if s.byName, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
			return nil, fault.New(fault.Precondition, "ingress_listen %q: %w; stop what uses it, or choose another", cfg.Listen, err)
		}
	}
	s.single = s.newServer(http.HandlerFunc(s.serveSingle))
	s.single.ConnContext = connContext
	return s, nil
}

// Addr is where host names are served; nil: nowhere.
func (s *Server) Addr() net.Addr {
	if s.byName == nil {
		return nil
	}
	return s.byName.Addr()
}

// Covers says whether a certificate is for host names right under a domain.
func (s *Server) Covers(domain string) bool { return s.certs.covers("x." + domain) }

// Run serves host names until ctx ends.
func (s *Server) Run(ctx context.Context, routes route.Routes) error {
	if s.byName == nil {
		<-ctx.Done()
		return nil
	}
	server := s.newServer(s.ByName(routes, nil))
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // what is under way is cut, as clients of a gateway that stops are
	defer stop()
	ln := net.Listener(newBoundedListener(s.byName, s.cfg.MaxConnections))
	if len(s.cfg.Certificates) > 0 {
		ln = tls.NewListener(ln, s.certs.config(routes))
	}
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close closes all listeners and ends all connections.
func (s *Server) Close() error {
	var err error
	if s.byName != nil {
		err = ignoreClosed(s.byName.Close())
	}
	err = errors.Join(err, ignoreClosed(s.single.Close()), s.group.Stop())
	s.transports.http1.CloseIdleConnections()
	s.transports.h2c.CloseIdleConnections()
	return err
}

func (s *Server) newServer(h http.Handler) *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, Protocols: &p, ReadHeaderTimeout: s.cfg.HeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}
