package tunnel

import (
	"context"
	"errors"
	"net/netip"
	"strconv"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Why visits end.
var (
	errEnded      = fault.New(fault.Precondition, "the sandbox has ended")
	errClosed     = fault.New(fault.NotFound, "the tunnel was closed")
	errNotAllowed = fault.New(fault.Denied, "the sandbox's inbound allow-list does not have your address")
	errRevoked    = fault.New(fault.Unauthenticated, "the token was revoked")
	errExpired    = fault.New(fault.Unauthenticated, "the token has expired")
)

// end is a port of a sandbox, as routes lead to it.
type end struct {
	service   *Service
	id, label string
	port      uint16
	demand    bool // a token is needed, also where the port is open
	local     bool // it was found by a name of this machine
}

var _ route.Backend = (*end)(nil)

// visit is a connection or request that was let in, under the service's lock.
type visit struct {
	addr   netip.Addr
	port   uint16
	token  string // hash of the token that opened the port; empty: it is open
	cancel context.CancelCauseFunc
}

// Name implements route.Backend.
func (e *end) Name() string { return strconv.Itoa(int(e.port)) + "." + e.label }

// Dial implements route.Backend.
func (e *end) Dial(ctx context.Context) (route.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.service.cfg.StartWait, errStarting)
	defer cancel()
	conn, err := e.service.deps.Dialer.DialPort(ctx, e.id, e.port)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, fault.NotFound):
		return nil, err
	}
	// Visitors need not know which sandbox it is, nor where.
	e.service.deps.Log.Debug("port of a sandbox is not reached", "sandbox", e.id, "port", e.port, "error", err)
	if errors.Is(err, fault.Precondition) {
		return nil, errEnded
	}
	return nil, errAway
}

var (
	errStarting = fault.New(fault.Unavailable, "the sandbox is still starting, or its worker is away; try again")
	errAway     = fault.New(fault.Unavailable, "the sandbox is not reached at the moment: its worker is away, or it has too many connections; try again")
)

// Admit implements route.Backend.
func (e *end) Admit(ctx context.Context, v route.Visitor) (admitted *route.Visit, err error) {
	met := false
	err = e.service.heard(ctx, e.service.cfg.StartWait, e.id, func(sb *sandbox) (bool, error) {
		met = true
		admitted, err = e.service.admit(sb, e, v)
		return false, err
	})
	switch {
	case err == nil:
		return admitted, nil
	case met || errors.Is(err, errStarting) || errors.Is(err, errStopping) || ctx.Err() != nil:
		return nil, err
	case errors.Is(err, fault.Unavailable):
		return nil, errAway
	default:
		return nil, errEnded
	}
}

// admit lets a visitor in. The lock is held.
func (s *Service) admit(sb *sandbox, e *end, v route.Visitor) (*route.Visit, error) {
	if sb.info.NoNetwork {
		return nil, fault.New(fault.NotFound, "the sandbox has no network")
	}
	if !sb.allows(v.Addr) {
		return nil, errNotAllowed
	}
	grant, token := s.granted(sb, e.port, v.Tokens)
	// Names of this machine don't open to others what loopback addresses do not.
	demand := e.demand || sb.tunnels[e.port] == nil || e.local && !v.Addr.Unmap().IsLoopback()
	if token == "" && demand {
		return nil, fault.New(fault.Unauthenticated, "port %d is open to visitors with a token for it; this one shows none that is valid", e.port)
	}
	if len(sb.visits) >= MaxVisits {
		return nil, fault.New(fault.Exhausted, "the sandbox has %d connections, which is the most", MaxVisits)
	}
	in := &visit{addr: v.Addr, port: e.port, token: grant.Hash}
	ctx, cancel := context.WithCancelCause(context.Background())
	in.cancel = cancel
	stop := func() {}
	if token != "" && !grant.ExpiresAt.IsZero() {
		ctx, stop = context.WithDeadlineCause(ctx, grant.ExpiresAt, errExpired)
	}
	sb.visits[in] = struct{}{}
	return &route.Visit{
		Context: ctx, Token: token, TokenExpires: grant.ExpiresAt, Metadata: grant.Metadata,
		End: func() {
			stop()
			cancel(nil)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(sb.visits, in)
		},
	}, nil
}

// cut ends visits of a port. The lock is held.
func (sb *sandbox) cut(cause error, which func(*visit) bool) {
	for v := range sb.visits {
		if which(v) {
			v.cancel(cause)
		}
	}
}
