package egress

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// errCut is why a flow ends that the policy doesn't allow any more.
var errCut = errors.New("the network policy of this sandbox has changed")

// guest is an endpoint as the proxy knows it.
type guest struct {
	under *sync.WaitGroup // of the proxy: what is under way

	mu          sync.Mutex
	policy      policy.Policy
	ended       bool
	connections map[*guestConn]bool
	flows       map[*flow]bool
	upstream    *http.Transport // of the present policy's time
}

func newGuest(under *sync.WaitGroup) *guest {
	return &guest{under: under, connections: map[*guestConn]bool{}, flows: map[*flow]bool{}}
}

// flow is a relay or a request that is under way.
type flow struct {
	guest *guest
	host  string
	cut   context.CancelCauseFunc
}

// set replaces the policy. Connections to hosts that the old one's requests left idle are not used by the new one's.
func (g *guest) set(p policy.Policy, upstream *http.Transport) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.policy = p
	if g.upstream != nil {
		g.upstream.CloseIdleConnections()
	}
	g.upstream = upstream
	for f := range g.flows {
		if !allows(p, f.host) {
			f.cut(errCut)
		}
	}
}

// end cuts everything, idle connections too, and lets nothing begin.
func (g *guest) end() {
	g.mu.Lock()
	g.ended = true
	for f := range g.flows {
		f.cut(errCut)
	}
	if g.upstream != nil {
		g.upstream.CloseIdleConnections()
	}
	open := slices.Collect(maps.Keys(g.connections))
	g.mu.Unlock()
	for _, c := range open {
		_, _ = c.SetLinger(0), c.Close() // whose own end this is
	}
}

// allows says whether a policy lets a host be reached by its name. Ranges don't count here: what they open doesn't come to the proxy, and a
// name that is not listed must not even be asked for.
func allows(p policy.Policy, host string) bool {
	return !p.Block && (!p.Listed() || p.HasName(host))
}

// begin checks the policy and counts a flow to host, which lasts until end and whose context ends when it is cut. It returns the policy and
// the transport that the flow goes by. Errors: fault.Denied, fault.Exhausted.
func (g *guest) begin(ctx context.Context, host string) (context.Context, *flow, policy.Policy, *http.Transport, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ended || !allows(g.policy, host):
		return nil, nil, policy.Policy{}, nil, fault.New(fault.Denied, "host %q is not in the network policy of this sandbox", host)
	case len(g.flows) >= MaxRequests:
		return nil, nil, policy.Policy{}, nil, fault.New(fault.Exhausted, "%d requests are under way in this sandbox; at most that many are", MaxRequests)
	}
	ctx, cut := context.WithCancelCause(ctx)
	f := &flow{guest: g, host: host, cut: cut}
	g.under.Add(1)
	g.flows[f] = true
	return ctx, f, g.policy, g.upstream, nil
}

// end forgets a flow.
func (f *flow) end() {
	f.cut(nil)
	f.guest.mu.Lock()
	defer f.guest.mu.Unlock()
	delete(f.guest.flows, f)
	f.guest.under.Done()
}

// current returns the policy.
func (g *guest) current() policy.Policy {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.policy
}

// guestConn is a connection of an endpoint, counted until it is closed.
type guestConn struct {
	*net.TCPConn

	guest  *guest
	host   string // that the hello named; empty without TLS
	early  []byte // what was read of it and is to be read again
	closed sync.Once
	done   func()
}

// Read reads, what was read for the hello first.
func (c *guestConn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.TCPConn.Read(b)
}

// Close closes the connection.
func (c *guestConn) Close() error {
	c.closed.Do(c.done)
	return c.TCPConn.Close()
}

// admit counts a connection, or closes it and returns nil if it is nobody's or one too many.
func (p *Proxy) admit(conn *net.TCPConn) *guestConn {
	var from netip.Addr
	if peer, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		from = peer.AddrPort().Addr().Unmap()
	}
	p.mu.Lock()
	g := p.guests[from]
	room := g != nil && p.total < MaxTotal
	if room {
		p.total++
	}
	p.mu.Unlock()
	if !room {
		_ = conn.Close() // there is nobody to tell
		return nil
	}
	c := &guestConn{TCPConn: conn, guest: g}
	c.done = func() { g.disconnected(c); p.disconnected() }
	if !g.connected(c) {
		_ = c.Close() // as above
		return nil
	}
	return c
}

func (p *Proxy) disconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total--
}

func (g *guest) connected(c *guestConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || len(g.connections) >= MaxConnections {
		return false
	}
	g.connections[c] = true
	return true
}

func (g *guest) disconnected(c *guestConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.connections, c)
}

// guestListener gives an HTTP server the connections of endpoints.
type guestListener struct {
	*net.TCPListener

	proxy *Proxy
}

// Accept returns the next one that is within its endpoint's limits.
func (l *guestListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if c := l.proxy.admit(conn); c != nil {
			return c, nil
		}
	}
}

// handOver is a listener for connections that were accepted elsewhere.
type handOver struct {
	at    net.Addr
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

var _ net.Listener = (*handOver)(nil)

func newHandOver(at netip.AddrPort) *handOver {
	return &handOver{at: net.TCPAddrFromAddrPort(at), conns: make(chan net.Conn), ended: make(chan struct{})}
}

// give hands a connection over; it is closed if nobody accepts any more.
func (h *handOver) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.ended:
		_ = c.Close() // at the end
	}
}

// Accept returns the next one.
func (h *handOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (h *handOver) Close() error {
	h.once.Do(func() { close(h.ended) })
	return nil
}

// Addr is where they were accepted.
func (h *handOver) Addr() net.Addr { return h.at }
