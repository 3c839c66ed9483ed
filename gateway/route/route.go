// Package route is the noun of ways from outside to something that listens in a container: who may come in, and where it leads. A port
// of a sandbox is one; what serves them (gateway/ingress) knows only this.
package route

import (
	"context"
	"io"
	"net/netip"
	"time"
)

// TokenParameter is how a token stands in a URL, and in a cookie.
const TokenParameter = "_skerry_token"

// Conn is a connection to what listens at the end of a route. One goroutine may read while another writes. Close ends both directions at
// once, from any goroutine.
type Conn interface {
	io.ReadWriteCloser
	// CloseWrite says that nothing more is written; what the other side has to say is still read.
	CloseWrite() error
}

// Protocol is what is spoken at the end of a route.
type Protocol uint8

// The protocols.
const (
	// HTTP1 is HTTP/1.1, WebSockets included.
	HTTP1 Protocol = 1 + iota
	// H2C is HTTP/2 in clear, without asking for it first.
	H2C
	// Raw is whatever the two ends speak.
	Raw
)

// Visitor is who comes in by a route.
type Visitor struct {
	// Addr is where it comes from.
	Addr netip.Addr
	// Tokens are what it shows; they may be somebody else's.
	Tokens []string
}

// Visit is one connection or request that was let in.
type Visit struct {
	// Context is done, with a cause, when the visit has to end: the route was closed, or its visitor is no longer allowed.
	Context context.Context //nolint:containedctx // the visit's own end, which who serves it watches beside the visitor's
	// Token is the one of the visitor's that is valid here; empty: none, and none was needed.
	Token string
	// TokenExpires is until when it is; zero: as long as what it opens.
	TokenExpires time.Time
	// Metadata is what the maker of that token lets the server know about its user.
	Metadata string
	// End gives the visit's place back. It is called once.
	End func()
}

// Backend is where a route leads.
type Backend interface {
	// Name tells it from others, in letters, digits, '-' and '.'; HTTP connections are kept by it.
	Name() string
	// Admit lets a visitor in. It may wait until is known who may. Errors: fault.NotFound (the route is closed), fault.Denied (not from
	// there), fault.Unauthenticated (no token, or a wrong one), fault.Exhausted (too many at once), fault.Unavailable (not known yet).
	Admit(ctx context.Context, v Visitor) (*Visit, error)
	// Dial connects, and waits while what listens is being started. Errors: fault.NotFound (nothing listens there), fault.Precondition (it has
	// ended), fault.Unavailable (it starts, or can't be reached now).
	Dial(ctx context.Context) (Conn, error)
}

// Route is a way in.
type Route struct {
	Backend
	// Protocol is what its end speaks.
	Protocol Protocol
}

// Routes finds ways in by host name.
type Routes interface {
	// Find returns the route of a host name, without a port and in lower case. Errors: fault.Invalid (it is no name of this kind),
	// fault.NotFound (it is one, and leads nowhere).
	Find(host string) (Route, error)
}

// Listener is a way in at an address of this host.
type Listener interface {
	// Addr is where it listens.
	Addr() netip.AddrPort
	// Close takes no more connections; it ends none.
	Close() error
}

// Listeners opens ways in at addresses of this host.
type Listeners interface {
	// Listen serves a route at an address; port 0: one that is free. Errors: fault.Unavailable (the port is in use), fault.Exhausted (no
	// more can be opened).
	Listen(at netip.AddrPort, r Route) (Listener, error)
}
