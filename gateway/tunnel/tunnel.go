// Package tunnel is the noun of ports of sandboxes that are reachable from outside: which are open, by which addresses and host names, who
// may come in, and the tokens that open those that are not.
//
// A port is open to whoever knows its address (a tunnel), or to those who show a token. A tunnel of a definition opens when its sandbox is
// first heard of; others when somebody asks. What was told to a client is stored before, so that it holds after a crash of the gateway; what
// comes of the definition alone is written behind. Everything ends with the sandbox.
package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/skerry-dev/skerry/gateway/route"
)

// Kind is how a port is reached.
type Kind uint8

// The kinds.
const (
	// Encrypted is TLS with HTTP/1.1 within.
	Encrypted Kind = 1 + iota
	// H2 is TLS with HTTP/2 within.
	H2
	// Unencrypted is TCP as it is.
	Unencrypted
)

// String names a kind for people.
func (k Kind) String() string {
	switch k {
	case Encrypted:
		return "encrypted"
	case H2:
		return "HTTP/2"
	case Unencrypted:
		return "unencrypted"
	default:
		return "unknown"
	}
}

// Limits.
const (
	// MaxTunnels is how many ports of a sandbox are open at a time, and how many have addresses for tokens beside.
	MaxTunnels = 64
	// MaxVisits is how many connections and requests of a sandbox there are at a time.
	MaxVisits = 10_000
	// MaxTokens is how many tokens of a sandbox are valid at a time, signed URLs included.
	MaxTokens = 1000
	// MaxMetadata is the size of a token's user metadata in bytes.
	MaxMetadata = 4 << 10
	// MaxAllMetadata is that of all tokens of a sandbox.
	MaxAllMetadata = 1 << 20
	// DefaultPort is the port of a connect token that names none.
	DefaultPort = 8080
	// DefaultTTL is how long a signed URL works unless told otherwise.
	DefaultTTL = time.Hour
	// MaxTTL is how long one works at most.
	MaxTTL = 7 * 24 * time.Hour
	// MaxWait is how long clients may wait for the start of a sandbox.
	MaxWait = 60 * time.Second
)

// State is where a sandbox is in its life.
type State uint8

// The states.
const (
	Starting State = 1 + iota
	Running
	Paused
	Ended
)

// Port is a port of a sandbox's definition.
type Port struct {
	Number uint16
	Kind   Kind
}

// Sandbox is what tunnels need to know of a sandbox.
type Sandbox struct {
	ID    string
	State State
	// Ports are open from its start.
	Ports []Port
	// NoNetwork says that it has no network: none of its ports is reachable.
	NoNetwork bool
	// Restricted says that only visitors from Inbound may come in.
	Restricted bool
	Inbound    []netip.Prefix
	// CustomDomain is the parent of its host names; empty: the installation's domain.
	CustomDomain string
}

// Tunnel is a port that is reachable.
type Tunnel struct {
	Port uint16
	Kind Kind
	// URL is empty for Unencrypted.
	URL string
	// Host and HostPort are where to connect to, with TLS where the URL has it.
	Host     string
	HostPort uint16
}

// Sandboxes knows all sandboxes, also those that this gateway was not told of since it started. Implemented in gateway/server.
type Sandboxes interface {
	// Sandbox returns a sandbox, or a fault.NotFound.
	Sandbox(ctx context.Context, id string) (Sandbox, error)
}

// Dialer connects to ports in sandboxes. Implemented in gateway/server.
type Dialer interface {
	// DialPort connects to a port and waits while the sandbox starts or resumes, until ctx ends; the connection outlives ctx. Errors: those
	// of route.Backend's Dial. The text of a fault.NotFound is for visitors.
	DialPort(ctx context.Context, sandboxID string, port uint16) (route.Conn, error)
}
