package tunnel

import (
	"context"
	"net/netip"
	"time"
)

// WayKey names a way in.
type WayKey struct {
	SandboxID string
	Port      uint16
	// Guarded says that it opens to tokens only.
	Guarded bool
}

// Way is a record of a way in.
type Way struct {
	WayKey
	Kind Kind
	// Closed says that a port of the definition was closed and stays so.
	Closed bool
	// Addr is where it listens; the zero value: at no address of its own.
	Addr netip.AddrPort
}

// Grant is a record of a token.
type Grant struct {
	// Hash is the hex SHA-256 of the token, which has 256 bits of its own, so that no slow hash is needed.
	Hash      string
	SandboxID string
	Port      uint16
	Metadata  string
	// ExpiresAt is zero for one that lives as long as its sandbox.
	ExpiresAt time.Time
}

// Revocation makes all grants of a port invalid; port 0: of all ports.
type Revocation struct {
	SandboxID string
	Port      uint16
}

// Change is one step of what is to be stored: exactly one field is set.
type Change struct {
	Way    *Way
	Close  *WayKey
	Grant  *Grant
	Revoke *Revocation
	// Expire removes the grant of a hash.
	Expire string
	// Forget removes all of a sandbox.
	Forget string
}

// Store keeps ways and grants.
type Store interface {
	// Tunnels returns all that is kept.
	Tunnels(ctx context.Context) ([]Way, []Grant, error)
	// ChangeTunnels applies changes in their order, all or none.
	ChangeTunnels(ctx context.Context, changes []Change) error
}
