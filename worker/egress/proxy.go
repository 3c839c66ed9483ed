// Package egress is the proxy on the host through which endpoints reach hosts by name: the network's rules send it their connections to
// ports 443 and 80 where a policy lists domains, and to port 443 where it has secrets.
//
// It takes the name from what the client itself says first: the server name of its TLS hello, or the Host of each HTTP/1.1 request. The
// address that the client meant to reach is not looked at: the proxy resolves the name and connects to that, so a name that is allowed
// leads nowhere else. TLS is passed on unopened, but for hosts that secrets name: there the proxy answers with a certificate of the
// installation's authority (package authority), and makes each request of its own over a connection that it has verified.
//
// Whatever it can't tell the name of it refuses: addresses, no server name, encrypted hellos where names are listed, HTTP/2 without TLS.
// Nothing of it is needed for anything to be closed: while no proxy listens, the connections are refused by the kernel.
//
// The other end of every connection is a guest that may be hostile: what it may hold and how long it may take is bounded.
package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/egress/authority"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// Limits of the proxy.
const (
	// MaxConnections is how many connections one endpoint may have open to the proxy, MaxRequests how many relays and requests it may have
	// under way. Each costs up to two descriptors of the process.
	MaxConnections = 512
	MaxRequests    = 1024
	// MaxTotal is how many connections all endpoints together may have.
	MaxTotal = 8192
	// MaxHello bounds a TLS hello, MaxHeader the header of a request, both in bytes.
	MaxHello  = 64 << 10
	MaxHeader = 64 << 10
	// HelloTimeout is how long a hello or a request's header may take to arrive.
	HelloTimeout = 10 * time.Second
	// DialTimeout is how long one address of a host may take to accept a connection, MaxAddresses how many are tried.
	DialTimeout  = 5 * time.Second
	MaxAddresses = 4
	// IdleTimeout is how long a connection may wait for its next request.
	IdleTimeout = 2 * time.Minute
)

// Config is what a proxy needs.
type Config struct {
	// TLS and HTTP are where it listens for connections that were to ports 443 and 80. They must be addresses of the host when Run begins.
	TLS, HTTP netip.AddrPort
	// Resolve returns a name's IPv4 addresses and how long they are good for. Errors: fault.NotFound, fault.Unavailable.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, time.Duration, error)
	// Permit says whether anybody may reach an address; its error says why not.
	Permit func(netip.Addr) error
	// Authority signs for hosts of secrets; without one their connections fail.
	Authority *authority.Authority
	// ExtraRoots is a file with certificates to trust besides the system's, PEM; none if empty.
	ExtraRoots string
	// Log hears of what the operator should know; what guests do wrong is not logged.
	Log *slog.Logger
}

// Proxy serves endpoints. New allocates, Run serves. Methods may be called concurrently.
type Proxy struct {
	cfg   Config
	roots *x509.CertPool
	names *names

	opened  *handOver      // connections to hosts of secrets, for the server of those
	serving sync.WaitGroup // connections whose hello is read, and relays
	flowing sync.WaitGroup // flows

	mu     sync.Mutex
	ended  bool
	guests map[netip.Addr]*guest
	total  int // connections
}

// New reads the roots. Errors: fault.Invalid if the extra ones can't be read.
func New(cfg Config) (*Proxy, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("egress proxy: certificates of the system: %w", err)
	}
	if cfg.ExtraRoots != "" {
		text, err := os.ReadFile(cfg.ExtraRoots)
		if err != nil {
			return nil, fault.New(fault.Invalid, "egress proxy: extra certificates: %v", err)
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, fault.New(fault.Invalid, "egress proxy: extra certificates %s: no certificate in it", cfg.ExtraRoots)
		}
	}
	return &Proxy{cfg: cfg, roots: roots, names: newNames(cfg.Resolve), opened: newHandOver(cfg.TLS), guests: map[netip.Addr]*guest{}}, nil
}

// SetPolicy says what the endpoint at an address may reach, and cuts what it has open and may not any more. Endpoints that the proxy was not
// told of are refused.
func (p *Proxy) SetPolicy(at netip.Addr, pol policy.Policy) {
	p.mu.Lock()
	g := p.guests[at]
	if g == nil {
		g = newGuest(&p.flowing)
		g.ended = p.ended
		p.guests[at] = g
	}
	p.mu.Unlock()
	g.set(pol, p.transport())
}

// Forget cuts all that an endpoint has open and refuses it from then on.
func (p *Proxy) Forget(at netip.Addr) {
	p.mu.Lock()
	g := p.guests[at]
	delete(p.guests, at)
	p.mu.Unlock()
	if g != nil {
		g.end()
	}
}

// Run listens and serves until ctx ends, then cuts everything and returns nil. It calls listening once both ports are open.
func (p *Proxy) Run(ctx context.Context, listening func()) error {
	secure, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(p.cfg.TLS))
	if err != nil {
		return fmt.Errorf("egress proxy: listen on %s: %w", p.cfg.TLS, err)
	}
	plain, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(p.cfg.HTTP))
	if err != nil {
		return errors.Join(fmt.Errorf("egress proxy: listen on %s: %w", p.cfg.HTTP, err), secure.Close())
	}
	web, opened := p.server("http", nil), p.server("https", secureProtocols())
	group := lifecycle.NewGroup(ctx)
	group.Go("egress tls", func(ctx context.Context) error { return p.acceptTLS(ctx, secure) })
	group.Go("egress http", func(context.Context) error { return served(web.Serve(&guestListener{plain, p})) })
	group.Go("egress opened tls", func(context.Context) error { return served(opened.Serve(p.opened)) })
	group.Go("egress end", func(ctx context.Context) error {
		<-ctx.Done()
		err := errors.Join(secure.Close(), web.Close(), opened.Close())
		p.cutAll()
		return err
	})
	listening()
	err = group.Wait()
	p.serving.Wait()
	p.flowing.Wait()
	return err
}

// served makes the end of a server that was closed no error.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// cutAll ends what is under way; new connections find nobody any more.
func (p *Proxy) cutAll() {
	p.mu.Lock()
	p.ended = true
	var all []*guest
	for _, g := range p.guests {
		all = append(all, g)
	}
	p.mu.Unlock()
	for _, g := range all {
		g.end()
	}
}

// connect returns a connection to a host that the endpoint's policy allows. Errors: fault.NotFound if the name has no address,
// fault.Denied if it has none that may be reached, fault.Unavailable if none answers.
func (p *Proxy) connect(ctx context.Context, host string, port uint16) (*net.TCPConn, error) {
	addrs, err := p.names.lookUp(ctx, host)
	if err != nil {
		return nil, err
	}
	var denied, failed error
	for _, addr := range addrs[:min(len(addrs), MaxAddresses)] {
		if err := p.cfg.Permit(addr); err != nil {
			denied = err
			continue
		}
		dialer := net.Dialer{Timeout: DialTimeout}
		conn, err := dialer.DialContext(ctx, "tcp4", netip.AddrPortFrom(addr, port).String())
		if err != nil {
			failed = err
			continue
		}
		if own, ok := conn.(*net.TCPConn); ok {
			return own, nil
		}
		return nil, errors.Join(fault.New(fault.Internal, "host %q: not a TCP connection", host), conn.Close())
	}
	if failed != nil {
		return nil, fault.New(fault.Unavailable, "host %q: %v", host, failed)
	}
	return nil, fault.New(fault.Denied, "host %q: %v", host, denied)
}
