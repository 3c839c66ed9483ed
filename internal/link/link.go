// Package link turns connections round: the side that dials a connection serves HTTP/2 on it, and the side that accepted it is the
// client. Workers and builders reach a gateway this way, and a container's init its worker.
package link

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Defaults of both ends. HTTP/2's own defaults (250 streams, 64 KiB windows) would hold up a worker with a few hundred containers.
const (
	// MaxConcurrentStreams is how many RPCs one link carries at a time.
	MaxConcurrentStreams = 100_000
	// PingInterval is how long a link may be silent before it is probed.
	PingInterval = 15 * time.Second
	// PingTimeout is how long a probe may take before the link counts as lost.
	PingTimeout = 10 * time.Second
	// closeGrace is how long a link that ends may take to send what was written to it.
	closeGrace   = time.Second
	streamWindow = 4 << 20
	connWindow   = 32 << 20
	// dataStreamWindow and dataConnWindow are those of data links, in bytes.
	dataStreamWindow = 512 << 10
	dataConnWindow   = 1 << 30
	// requestFrame is the largest frame of a request, in bytes. The client holds a buffer of this size for every request whose body it is still
	// to get, and most of those wait: connections to ports, inputs for containers. Larger ones carry no more.
	requestFrame = 32 << 10
	// maxHeader bounds the headers of one answer, in bytes.
	maxHeader = 64 << 10
)

// Serve serves h over HTTP/2 on a connection that this side dialled, until the connection or ctx ends; then what handlers have
// written still goes out. It closes conn. Handlers of Connect are made with Ended.
func Serve(ctx context.Context, conn net.Conn, h http.Handler) error {
	return serve(ctx, conn, h, streamWindow, connWindow)
}

// ServeData is Serve for links that carry many streams whose readers may be slow; see NewDataClient.
func ServeData(ctx context.Context, conn net.Conn, h http.Handler) error {
	return serve(ctx, conn, h, dataStreamWindow, dataConnWindow)
}

func serve(ctx context.Context, conn net.Conn, h http.Handler, stream, all int32) error {
	s := &http2.Server{
		MaxConcurrentStreams:         MaxConcurrentStreams,
		MaxReadFrameSize:             requestFrame,
		MaxUploadBufferPerStream:     stream,
		MaxUploadBufferPerConnection: all,
		ReadIdleTimeout:              PingInterval,
		PingTimeout:                  PingTimeout,
	}
	base := &http.Server{} //nolint:gosec // it only carries the order to shut down
	if err := http2.ConfigureServer(base, s); err != nil {
		return errors.Join(fmt.Errorf("link: %w", err), conn.Close())
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { wind(base, conn, ended) })
	defer stop()
	requests, release := cutShort(ctx)
	defer release()
	s.ServeConn(conn, &http2.ServeConnOpts{Context: requests, BaseConfig: base, Handler: h})
	close(ended)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return errors.New("link: connection closed by the peer")
}

// wind ends a served connection: what handlers have written, and the last that they write, still goes out.
func wind(base *http.Server, conn net.Conn, ended <-chan struct{}) {
	_ = base.Shutdown(context.Background()) // it has no listeners and no connections of its own to wait for
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	_ = conn.Close() // closed already where the peer has followed
}

// Client is the accepting side's end of a turned connection. It is an http.RoundTripper; safe for concurrent use.
type Client struct {
	cc   *http2.ClientConn
	done chan struct{}
}

// NewClient begins HTTP/2 as the client of an accepted connection. The Client owns conn from here on.
func NewClient(conn net.Conn) (*Client, error) { return newClient(conn, nil) }

// NewDataClient is NewClient for links that carry many streams whose readers may be slow: what each may have in flight is small, what all may
// have together is large, so that those that wait hold up no others.
func NewDataClient(conn net.Conn) (*Client, error) {
	return newClient(conn, &http.HTTP2Config{MaxReceiveBufferPerStream: dataStreamWindow, MaxReceiveBufferPerConnection: dataConnWindow})
}

// NewGuestClient is NewDataClient for a peer that is not trusted: a connection that it floods ends.
func NewGuestClient(conn net.Conn) (*Client, error) { return NewDataClient(newGuard(conn)) }

func newClient(conn net.Conn, windows *http.HTTP2Config) (*Client, error) {
	c := &Client{done: make(chan struct{})}
	t, err := http2.ConfigureTransports(&http.Transport{HTTP2: windows})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("link: %w", err), conn.Close())
	}
	t.AllowHTTP, t.MaxReadFrameSize, t.ReadIdleTimeout, t.PingTimeout = true, 1<<20, PingInterval, PingTimeout
	t.MaxHeaderListSize = maxHeader
	cc, err := t.NewClientConn(&notifyConn{Conn: conn, done: c.done})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("link: %w", err), conn.Close())
	}
	c.cc = cc
	return c, nil
}

// RoundTrip sends a request over the link.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) { return c.cc.RoundTrip(r) }

// HTTPClient returns the link as an HTTP client for Connect. Base URLs are BaseURL.
func (c *Client) HTTPClient() *http.Client { return &http.Client{Transport: c} }

// BaseURL is what generated clients over a link are given; nothing resolves it.
const BaseURL = "http://link"

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Usable says whether the link takes requests: it has not ended, and the peer has not said that it stops. Requests may fail before Done is
// closed, but not before Usable is false.
func (c *Client) Usable() bool {
	s := c.cc.State()
	return !s.Closed && !s.Closing
}

// Close ends the connection at once; requests under way fail.
func (c *Client) Close() error { return c.cc.Close() }

// notifyConn closes done when the transport closes the connection, which it does at the first read error as well.
type notifyConn struct {
	net.Conn
	done chan struct{}
	once sync.Once
}

func (n *notifyConn) Read(p []byte) (int, error) {
	k, err := n.Conn.Read(p)
	if err != nil {
		n.once.Do(func() { close(n.done) })
	}
	return k, err
}

func (n *notifyConn) Close() error {
	n.once.Do(func() { close(n.done) })
	return n.Conn.Close()
}

// Protocol is the token of the HTTP/1.1 Upgrade that turns a connection.
const Protocol = "skerry-link"

// Upgrade answers a request for a link and hands the raw connection over. The caller has authenticated the request.
func Upgrade(w http.ResponseWriter, r *http.Request) (net.Conn, error) {
	if r.Header.Get("Upgrade") != Protocol {
		http.Error(w, "this address takes "+Protocol+" upgrades only", http.StatusUpgradeRequired)
		return nil, errors.New("link: not an upgrade request")
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"
	if _, err := conn.Write([]byte(answer)); err != nil {
		return nil, errors.Join(fmt.Errorf("link: %w", err), conn.Close())
	}
	return buffered(conn, rw.Reader), nil
}

// Dial asks for a link over a fresh connection to a gateway; after it the caller calls Serve. Request is the upgrade request without
// its link headers: its URL's path, host and authorization are the caller's.
func Dial(ctx context.Context, conn net.Conn, r *http.Request) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", Protocol)
	if err := r.Write(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("link: %w", err), conn.Close())
	}
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("link: %w", err), conn.Close())
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		_ = res.Body.Close()
		return nil, errors.Join(fmt.Errorf("link: the gateway answered %s", res.Status), conn.Close())
	}
	return buffered(conn, br), nil
}

// buffered puts bytes that were read ahead back in front of the connection.
func buffered(conn net.Conn, br *bufio.Reader) net.Conn {
	if br.Buffered() == 0 {
		return conn
	}
	return &bufferedConn{Conn: conn, br: br}
}

type bufferedConn struct {
	net.Conn
	br *bufio.Reader
}

func (b *bufferedConn) Read(p []byte) (int, error) { return b.br.Read(p) }
