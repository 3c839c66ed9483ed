package ingress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
)

// acceptAgain is how long a listener waits when no more files can be opened.
const acceptAgain = 100 * time.Millisecond

// listener is a way in at an address of this host.
type listener struct {
	*net.TCPListener
	route route.Route
}

// Addr implements route.Listener.
func (l *listener) Addr() netip.AddrPort {
	return l.TCPListener.Addr().(*net.TCPAddr).AddrPort()
}

// Listen implements route.Listeners.
func (s *Server) Listen(at netip.AddrPort, r route.Route) (route.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(s.group.Context(), "tcp", at.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.New(fault.Unavailable, "address %s: is in use", at)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		return nil, fault.New(fault.Exhausted, "address %s: %w", at, err)
	case err != nil:
		return nil, fault.New(fault.Precondition, "address %s: can't be listened on: %w", at, err)
	}
	l := &listener{TCPListener: ln.(*net.TCPListener), route: r}
	if r.Protocol == route.Raw {
		s.group.Go("raw listener", func(ctx context.Context) error { s.acceptRaw(ctx, l); return nil })
	} else {
		s.group.Go("http listener", func(context.Context) error { s.serveListener(l); return nil })
	}
	return l, nil
}

// acceptRaw takes connections until the listener is closed or ctx ends.
func (s *Server) acceptRaw(ctx context.Context, l *listener) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // closed is what it is to be
	defer stop()
	for {
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			s.group.Go("raw connection", func(ctx context.Context) error { s.carry(ctx, conn, l.route); return nil })
		case errors.Is(err, net.ErrClosed):
			return
		default:
			s.log.Warn("listener takes no connections", "address", l.Addr().String(), "error", err, "again_in", acceptAgain)
			timer := time.NewTimer(acceptAgain)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
}

// carry serves a raw connection to its end.
func (s *Server) carry(ctx context.Context, conn *net.TCPConn, r route.Route) {
	defer func() { _ = conn.Close() }() // closed already where all went well
	visit, err := r.Admit(ctx, route.Visitor{Addr: addrOf(conn.RemoteAddr().String())})
	if err != nil {
		refuseRaw(ctx, conn, err)
		return
	}
	defer visit.End()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(visit.Context, func() { cancel(context.Cause(visit.Context)) })
	defer stop()
	back, err := r.Dial(ctx)
	if err != nil {
		refuseRaw(ctx, conn, err)
		return
	}
	if err := relay(ctx, conn, back); err != nil {
		s.log.Debug("connection through a tunnel was cut", "to", r.Name(), "error", err)
	}
}

// serveListener serves HTTP for one route until the listener is closed.
func (s *Server) serveListener(l *listener) {
	err := s.single.Serve(&routed{TCPListener: l.TCPListener, route: l.route})
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		s.log.Warn("listener has ended", "address", l.Addr().String(), "error", err)
	}
}

// routed marks the connections of a listener with its route.
type routed struct {
	*net.TCPListener
	route route.Route
}

// Accept implements net.Listener.
func (l *routed) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &routedConn{TCPConn: conn, route: l.route}, nil
}

type routedConn struct {
	*net.TCPConn
	route route.Route
}

type routeKey struct{}

// connContext gives requests of a connection the route of its listener.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if rc, ok := c.(*routedConn); ok {
		return context.WithValue(ctx, routeKey{}, rc.route)
	}
	return ctx
}

// boundedListener takes a number of connections at a time, and closes those over it at once.
type boundedListener struct {
	net.Listener
	places chan struct{}
}

func newBoundedListener(ln net.Listener, n int) *boundedListener {
	return &boundedListener{Listener: ln, places: make(chan struct{}, n)}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &boundedConn{TCPConn: conn.(*net.TCPConn), leave: sync.OnceFunc(func() { <-l.places })}, nil
		default:
			abort(conn)
		}
	}
}

type boundedConn struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.leave()
	return c.TCPConn.Close()
}

// addrOf takes the address out of a host:port; the zero address, which no list has, where there is none.
func addrOf(hostport string) netip.Addr {
	at, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}
