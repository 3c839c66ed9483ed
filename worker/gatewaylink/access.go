package gatewaylink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"path"
	"regexp"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/net/netutil"

	"github.com/skerry-dev/skerry/worker/container"
)

// ContainerHeader says in a worker's request which of its containers it is for: the gateway gives it that container's rights.
const ContainerHeader = "X-Skerry-Container"

// Bounds of what one container may do on its socket.
const (
	maxAccessConns   = 128
	maxAccessHeader  = 64 << 10
	accessHeaderTime = 10 * time.Second
	accessIdleTime   = 2 * time.Minute
)

// Access lets code in containers call the gateway: what it sends to its socket, HTTP/1.1 with bodies in both directions at once, goes on over
// the worker's own connections with the name of the container. The container holds no credential, and can't say that it is another. Only
// procedures of the public API go on: the others are the worker's own.
type Access struct {
	proxy *httputil.ReverseProxy
	log   *slog.Logger
}

var _ container.Access = (*Access)(nil)

// NewAccess returns an access to the gateway at url. The HTTP client authenticates the worker and speaks HTTP/2.
func NewAccess(client *http.Client, url string, log *slog.Logger) (*Access, error) {
	target, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	a := &Access{log: log}
	a.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, target.Host
			kept := http.Header{}
			for _, name := range forwarded {
				if v := r.In.Header.Values(name); len(v) > 0 {
					kept[http.CanonicalHeaderKey(name)] = v
				}
			}
			kept.Set(ContainerHeader, containerOf(r.In.Context()))
			r.Out.Header = kept
		},
		Transport:     client.Transport,
		FlushInterval: -1,
		ErrorHandler:  a.unavailable,
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return a, nil
}

// forwarded are the headers that a call needs; nothing else a container says about itself goes on.
var forwarded = []string{
	"Content-Type", "Content-Encoding", "Accept-Encoding", "User-Agent", "Connect-Protocol-Version", "Connect-Timeout-Ms",
	"Connect-Content-Encoding", "Connect-Accept-Encoding", "X-Skerry-Client-Version", "X-Skerry-Python-Version",
}

// public are the paths of the public API's procedures, also of those that are served in sandboxes and sidecars.
var public = regexp.MustCompile(`^(/sandboxes/sb-[0-9A-Za-z]+(/sidecars/[0-9A-Za-z\-_.]+)?)?/skerry\.v1\.[A-Za-z]+/[A-Za-z]+$`)

type containerKey struct{}

func containerOf(ctx context.Context) string {
	id, _ := ctx.Value(containerKey{}).(string) // Serve sets it
	return id
}

// Serve implements container.Access.
func (a *Access) Serve(ctx context.Context, containerID string, ln net.Listener) error {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// A stream's answer begins before its request has ended.
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				a.unavailable(w, r, err)
				return
			}
			if !public.MatchString(r.URL.Path) || path.Clean(r.URL.Path) != r.URL.Path {
				refuse(w, r, connect.CodePermissionDenied, "code in containers may not call "+r.URL.Path)
				return
			}
			a.proxy.ServeHTTP(w, r)
		}),
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(ctx, containerKey{}, containerID) },
		ReadHeaderTimeout: accessHeaderTime, IdleTimeout: accessIdleTime, MaxHeaderBytes: maxAccessHeader,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() {
		// The container has ended, and with it whoever would mind.
		_ = server.Close()
	})
	defer stop()
	if err := server.Serve(netutil.LimitListener(ln, maxAccessConns)); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return fmt.Errorf("container %q: socket to the gateway: %w", containerID, err)
	}
	return nil
}

// unavailable answers that the gateway was not reached: clients try again. Why is for the worker's operator, for it says where the gateway is.
func (a *Access) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	a.log.Debug("call of a container not passed on", "container", containerOf(r.Context()), "error", err)
	refuse(w, r, connect.CodeUnavailable, "the worker does not reach its gateway")
}

// refuse answers in the Connect protocol's way.
func refuse(w http.ResponseWriter, r *http.Request, code connect.Code, message string) {
	_ = connect.NewErrorWriter().Write(w, r, connect.NewError(code, errors.New(message))) // who has gone doesn't want it
}

// AccessClient returns an HTTP/2 client for calls of containers, with connections of its own.
func (d *Dialer) AccessClient() (*http.Client, string) { return d.BulkClient() }
