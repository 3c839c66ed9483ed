// Package gatewaylink joins a builder to its gateway: it dials, authenticates, and serves skerry.build.v1 on that connection.
package gatewaylink

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/gen/skerry/build/v1/buildv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

// Path is where a gateway takes links of builders.
const Path = "/skerry.build.v1/link"

// Delays between attempts to reach the gateway: the first, and the most, for each failure doubles it.
const (
	FirstDelay = 100 * time.Millisecond
	MaxDelay   = 10 * time.Second
)

// DialTimeout is how long one attempt may take.
const DialTimeout = 10 * time.Second

// Config says where the gateway is.
type Config struct {
	// URL is the gateway's, such as "http://127.0.0.1:7070" or "https://skerry.example.com".
	URL string
	// Token is the builder's; may be empty where Dial's connections are trusted as they are.
	Token string
	// TLS is used for https URLs; nil: the host's trust.
	TLS *tls.Config
	// Dial makes connections; nil: TCP to the URL's host.
	Dial func(ctx context.Context) (net.Conn, error)
}

// Link is a builder's link. Run keeps it.
type Link struct {
	config  Config
	url     *url.URL
	handler http.Handler
	log     *slog.Logger

	first  sync.Once
	linked chan struct{} // closed once there has been a link
}

// Linked is closed once the gateway has been reached.
func (l *Link) Linked() <-chan struct{} { return l.linked }

// New describes a link that lets a gateway use b; nothing is dialled. Errors: fault.Invalid for a URL that is none.
func New(c Config, b Builder, log *slog.Logger) (*Link, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fault.New(fault.Invalid, "gateway %q: want an http or https URL", c.URL)
	}
	if u.Path == "" {
		u.Path = "/" // JoinPath would make a path without a slash in front
	}
	mux := http.NewServeMux()
	mux.Handle(buildv1connect.NewBuilderServiceHandler(&service{builder: b, log: log}, connect.WithInterceptors(link.Ended())))
	return &Link{config: c, url: u.JoinPath(Path), handler: mux, log: log, linked: make(chan struct{})}, nil
}

// Run dials and serves until ctx ends; a link that breaks is made anew. Builds end with the link they came over. It returns nil when
// ctx ends.
func (l *Link) Run(ctx context.Context) error {
	delay := FirstDelay
	for ctx.Err() == nil {
		linked, err := l.once(ctx)
		if linked {
			delay = FirstDelay
		}
		l.pause(ctx, err, delay)
		delay = min(2*delay, MaxDelay)
	}
	return nil
}

// pause waits before the next attempt. The gateway can't tell us when it is back: this is the one place where time decides.
func (l *Link) pause(ctx context.Context, cause error, delay time.Duration) {
	if ctx.Err() != nil {
		return
	}
	l.log.Warn("no link to the gateway, dialling again", "err", cause, "delay", delay)
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// once makes one link and serves on it. It says whether there was one.
func (l *Link) once(ctx context.Context) (linked bool, err error) {
	conn, err := l.connect(ctx)
	if err != nil {
		return false, err
	}
	l.log.Info("linked to the gateway", "url", l.config.URL)
	l.first.Do(func() { close(l.linked) })
	return true, link.Serve(ctx, conn, l.handler)
}

func (l *Link) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("gateway %q: %w", l.config.URL, err)
	}
	r := &http.Request{Method: http.MethodGet, URL: l.url, Host: l.url.Host, Header: http.Header{}}
	if l.config.Token != "" {
		r.Header.Set("Authorization", "Bearer "+l.config.Token)
	}
	return link.Dial(ctx, conn, r)
}

func (l *Link) dial(ctx context.Context) (net.Conn, error) {
	if l.config.Dial != nil {
		return l.config.Dial(ctx)
	}
	host := l.url.Host
	if l.url.Port() == "" {
		host = net.JoinHostPort(host, l.url.Scheme)
	}
	d := &net.Dialer{}
	if l.url.Scheme == "http" {
		return d.DialContext(ctx, "tcp", host)
	}
	t := &tls.Dialer{NetDialer: d, Config: l.config.TLS}
	return t.DialContext(ctx, "tcp", host)
}
