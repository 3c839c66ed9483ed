package dns

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// Limits per asker and of all together.
const (
	// AskerRate is how many queries a second one asker may send on average, AskerBurst how many at once.
	AskerRate  = 500
	AskerBurst = 2000
	// AskerPending is how many of one asker's queries may be under way, AskerStreams how many TCP connections it may hold.
	AskerPending = 256
	AskerStreams = 32
	// Pending is how many queries may be under way in all.
	Pending = 4096
)

// askers bounds what each source of queries may use. There are no more of them than addresses that the rules let through.
type askers struct {
	mu      sync.Mutex
	pending int
	byAddr  map[netip.Addr]*asker
}

type asker struct {
	limit            *rate.Limiter
	pending, streams int
}

func newAskers() *askers { return &askers{byAddr: map[netip.Addr]*asker{}} }

// get returns the asker of an address; a.mu is held.
func (a *askers) get(addr netip.Addr) *asker {
	s := a.byAddr[addr]
	if s == nil {
		s = &asker{limit: rate.NewLimiter(AskerRate, AskerBurst)}
		a.byAddr[addr] = s
	}
	return s
}

// admit counts a query, which ends with done, unless it is one too many.
func (a *askers) admit(addr netip.Addr) (done func(), ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.get(addr)
	if a.pending >= Pending || s.pending >= AskerPending || !s.limit.Allow() {
		return nil, false
	}
	a.pending++
	s.pending++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.pending--
		s.pending--
	}, true
}

// connect counts a TCP connection, which ends with done, unless it is one too many.
func (a *askers) connect(addr netip.Addr) (done func(), ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.get(addr)
	if s.streams >= AskerStreams {
		return nil, false
	}
	s.streams++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		s.streams--
	}, true
}

func (a *askers) forget(addr netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byAddr, addr)
}

// boundedListener closes connections beyond an asker's limit.
type boundedListener struct {
	net.Listener
	askers *askers
}

// Accept returns the next connection that is within its asker's limit.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr, _ := peer(conn.RemoteAddr())
		done, ok := l.askers.connect(addr)
		if ok {
			return &countedConn{Conn: conn, done: done}, nil
		}
		if err := conn.Close(); err != nil {
			return nil, err
		}
	}
}

// countedConn gives its place back when it is closed, once.
type countedConn struct {
	net.Conn
	once sync.Once
	done func()
}

// Close closes the connection.
func (c *countedConn) Close() error {
	c.once.Do(c.done)
	return c.Conn.Close()
}
