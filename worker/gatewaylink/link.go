// Package gatewaylink is the worker's end of its links to the gateway: the control link, which the worker dials and on which it serves
// skerry.worker.v1.WorkerService, and the bulk connection, on which it is an ordinary client.
package gatewaylink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/link"
)

// Path is where the gateway takes control links, and, with the query DataQuery, data links.
const (
	Path      = "/skerry.worker.v1/link"
	DataQuery = "kind=data"
)

// WorkerHeader says in the request for a data link which worker it is of; that worker has a control link.
const WorkerHeader = "X-Skerry-Worker"

// dialTimeout bounds one attempt to connect.
const dialTimeout = 10 * time.Second

// Address says where the gateway is and how to be let in.
type Address struct {
	URL   string      // "http://host:port" or "https://host:port"
	Token string      // a worker token, "tk-....secret"
	TLS   *tls.Config // for https; nil: the system's roots
}

// Dialer reaches one gateway. It is safe for concurrent use.
type Dialer struct {
	url   *url.URL
	token string
	tls   *tls.Config
}

// NewDialer checks an address.
func NewDialer(a Address) (*Dialer, error) {
	u, err := parseURL(a.URL)
	if err != nil {
		return nil, err
	}
	cfg := a.TLS
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &Dialer{url: u, token: a.Token, tls: cfg}, nil
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "gateway address %q: %w", text, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.New(fault.Invalid, "gateway address %q: want http://host:port or https://host:port", text)
	}
	return u, nil
}

// BulkClient returns an HTTP/2 client for the bulk service, with connections of its own.
func (d *Dialer) BulkClient() (*http.Client, string) {
	return link.HTTPClient(d.token, d.tls), d.url.String()
}

// dial connects to the gateway for an HTTP/1.1 upgrade, with TLS where its address says so.
func (d *Dialer) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host := d.url.Host
	if d.url.Port() == "" {
		host = net.JoinHostPort(d.url.Hostname(), map[string]string{"http": "80", "https": "443"}[d.url.Scheme])
	}
	if d.url.Scheme == "http" {
		return (&net.Dialer{}).DialContext(ctx, "tcp", host)
	}
	cfg := d.tls.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	return (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", host)
}

// Serve keeps a control link to the gateway, on which h is served, until ctx ends. When one is lost it dials again, on a growing pause;
// changed, if not nil, hears of every link that is up (nil) and that is lost or could not be made (why).
func (d *Dialer) Serve(ctx context.Context, h http.Handler, changed func(error)) error {
	return d.serve(ctx, changed, func(up func()) error {
		conn, err := d.upgrade(ctx, "", nil)
		if err != nil {
			return err
		}
		up()
		return link.Serve(ctx, conn, h)
	})
}

// ServeData keeps a data link of the worker to the gateway, as Serve keeps a control link.
func (d *Dialer) ServeData(ctx context.Context, workerID string, h http.Handler, changed func(error)) error {
	return d.serve(ctx, changed, func(up func()) error {
		conn, err := d.upgrade(ctx, DataQuery, http.Header{WorkerHeader: {workerID}})
		if err != nil {
			return err
		}
		up()
		return link.ServeData(ctx, conn, h)
	})
}

// serve keeps a link that one makes until ctx ends.
func (d *Dialer) serve(ctx context.Context, changed func(error), one func(up func()) error) error {
	if changed == nil {
		changed = func(error) {}
	}
	wait := newBackoff()
	for ctx.Err() == nil {
		began := time.Now()
		if err := one(func() { changed(nil) }); ctx.Err() == nil {
			changed(err)
		}
		wait.pause(ctx, time.Since(began))
	}
	return nil
}

// upgrade dials the gateway and asks for a link.
func (d *Dialer) upgrade(ctx context.Context, query string, header http.Header) (net.Conn, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("gateway %s: %w", d.url, err)
	}
	u := d.url.JoinPath(Path)
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("gateway %s: %w", d.url, err), conn.Close())
	}
	maps.Copy(req.Header, header)
	req.Header.Set("Authorization", "Bearer "+d.token)
	upgrade, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if conn, err = link.Dial(upgrade, conn, req); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", d.url, err)
	}
	return conn, nil
}
