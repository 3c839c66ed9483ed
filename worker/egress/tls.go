package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// portTLS is where hosts are reached.
const portTLS = 443

// descriptorPause is how long no connection is accepted where the process has no descriptor left.
const descriptorPause = 100 * time.Millisecond

// acceptTLS takes connections that were to port 443 until ctx ends.
func (p *Proxy) acceptTLS(ctx context.Context, l *net.TCPListener) error {
	for {
		conn, err := l.AcceptTCP()
		if ctx.Err() != nil {
			if err == nil {
				err = conn.Close()
			}
			if errors.Is(err, net.ErrClosed) {
				err = nil
			}
			return err
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			// The connection waits for a descriptor, and nothing tells when there is one.
			select {
			case <-ctx.Done():
			case <-time.After(descriptorPause):
			}
			continue
		}
		if err != nil {
			return err
		}
		if c := p.admit(conn); c != nil {
			p.serving.Go(func() { p.serveTLS(ctx, c) })
		}
	}
}

// serveTLS reads the hello and passes the connection on, unopened or to the server of opened ones.
func (p *Proxy) serveTLS(ctx context.Context, c *guestConn) {
	limit, cancel := context.WithTimeout(ctx, HelloTimeout)
	heard, err := readHello(limit, c)
	cancel()
	if err != nil {
		alert(c, alertAccessDenied)
		_ = c.Close() // the alert is all there is to tell
		return
	}
	c.host, c.early = heard.name, heard.read
	now := c.guest.current()
	// A server that has the key would read another name out of the hello than the one that is checked here.
	hidden := heard.encrypted && now.Listed() && !now.HasEveryName()
	switch {
	case hidden || !allows(now, heard.name):
		alert(c, alertAccessDenied)
		_ = c.Close() // as above
	case len(now.SecretsOf(heard.name)) > 0:
		p.opened.give(tls.Server(c, p.leafConfig(heard.name)))
	default:
		p.relay(ctx, c)
	}
}

// leafConfig answers as the host.
func (p *Proxy) leafConfig(host string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if p.cfg.Authority == nil {
				return nil, fault.New(fault.Precondition, "host %q: no certificate authority", host)
			}
			leaf, err := p.cfg.Authority.Leaf(host)
			if err != nil {
				p.cfg.Log.Error("requests to hosts of secrets fail", "err", err)
			}
			return leaf, err
		},
	}
}

// relay passes bytes both ways until both ends have said all, or the flow is cut.
func (p *Proxy) relay(ctx context.Context, c *guestConn) {
	defer c.Close() //nolint:errcheck // closed by either end already, or cut
	ctx, f, _, _, err := c.guest.begin(ctx, c.host)
	if err != nil {
		alert(c, alertAccessDenied)
		return
	}
	defer f.end()
	to, err := p.connect(ctx, c.host, portTLS)
	if errors.Is(err, fault.Denied) {
		alert(c, alertAccessDenied)
		return
	}
	if err != nil {
		alert(c, alertInternalError)
		return
	}
	defer to.Close() //nolint:errcheck // as above
	stop := context.AfterFunc(ctx, func() { _, _ = abort(c.TCPConn), abort(to) })
	defer stop()
	if _, err := to.Write(c.early); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pass(to, c.TCPConn) })
	both.Go(func() { pass(c.TCPConn, to) })
	both.Wait()
}

// pass copies from one connection to the other within the kernel. The end of one direction is passed on; an error ends both.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = abort(to), abort(from)
		return
	}
	_ = to.CloseWrite() // its end may have gone
}

// abort closes a connection so that the other end hears of a reset: it may not take what came so far for all there is.
func abort(c *net.TCPConn) error {
	return errors.Join(c.SetLinger(0), c.Close())
}
