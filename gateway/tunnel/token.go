package tunnel

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

const (
	// tokenPrefix tells our tokens from those of servers in sandboxes, and lets scanners for leaked secrets find them.
	tokenPrefix = "skc_"
	// tokenLength is the number of random characters; 43 of 62 are 256 bits.
	tokenLength = 43
)

// Access says which port a token opens.
type Access struct {
	SandboxID string
	Port      uint16
	// Metadata is what the server in the sandbox gets to know about its user.
	Metadata string
	// TTL is how long the token works; 0: as long as the sandbox lives.
	TTL time.Duration
}

// Credentials are where to go, and with what.
type Credentials struct {
	URL, Token string
	// ExpiresAt is zero where the token lives as long as its sandbox.
	ExpiresAt time.Time
}

// CreateToken makes a token and stores it. Errors: fault.Invalid, fault.NotFound, fault.Precondition (the sandbox has ended, or has no
// network), fault.Exhausted (it has too many), fault.Unavailable.
func (s *Service) CreateToken(ctx context.Context, a Access) (Credentials, error) {
	if err := checkAccess(a); err != nil {
		return Credentials{}, err
	}
	c := Credentials{Token: tokenPrefix + ident.Random(tokenLength)}
	now := s.deps.Now()
	if a.TTL > 0 {
		c.ExpiresAt = now.Add(a.TTL)
	}
	g := Grant{Hash: hash(c.Token), SandboxID: a.SandboxID, Port: a.Port, Metadata: a.Metadata, ExpiresAt: c.ExpiresAt}
	var mark uint64
	err := s.heard(ctx, s.cfg.StartWait, a.SandboxID, func(sb *sandbox) (bool, error) {
		if err := checkNetwork(sb); err != nil {
			return false, err
		}
		expired := sb.expire(now)
		if err := sb.room(g); err != nil {
			return false, err
		}
		w, changes, err := s.guard(sb, a.Port)
		if err != nil {
			return false, err
		}
		sb.grants[g.Hash] = g
		c.URL = s.present(sb, w).URL
		mark = s.keep(sb, append(append(expired, changes...), Change{Grant: &g})...)
		return false, nil
	})
	if err != nil {
		return Credentials{}, err
	}
	return c, s.journal.await(ctx, mark)
}

func checkAccess(a Access) error {
	switch {
	case a.Port == 0:
		return fault.New(fault.Invalid, "port: missing; give one from 1 to 65535")
	case a.TTL < 0 || a.TTL > MaxTTL:
		return fault.New(fault.Invalid, "ttl %s: want at most %s", a.TTL, MaxTTL)
	case len(a.Metadata) > MaxMetadata:
		return fault.New(fault.Invalid, "user metadata: %d bytes, at most %d fit into a header", len(a.Metadata), MaxMetadata)
	case !utf8.ValidString(a.Metadata) || strings.ContainsFunc(a.Metadata, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fault.New(fault.Invalid, "user metadata: has control characters, which a header can't carry; encode them, in JSON for example")
	}
	return nil
}

func checkNetwork(sb *sandbox) error {
	if sb.info.NoNetwork {
		return fault.New(fault.Precondition, "sandbox %q: has no network, so nothing reaches its ports", sb.id)
	}
	return nil
}

// guard returns the way in for visitors with tokens, opened if needed, and what is to be stored of it. The lock is held.
func (s *Service) guard(sb *sandbox, port uint16) (*way, []Change, error) {
	if w := sb.guards[port]; w != nil && w.err == nil {
		return w, nil, nil
	}
	w := &way{key: WayKey{SandboxID: sb.id, Port: port, Guarded: true}, kind: Encrypted}
	if s.cfg.Domain == "" && len(sb.guards) >= MaxTunnels {
		return nil, nil, fault.New(fault.Exhausted, "sandbox %q: %d of its ports have addresses for tokens, which is the most", sb.id, MaxTunnels)
	}
	s.listen(sb, w, 0)
	if w.err != nil || !w.addr.IsValid() {
		return w, nil, w.err
	}
	sb.guards[port] = w
	return w, []Change{{Way: w.record()}}, nil
}

// expire forgets grants that have expired. The lock is held.
func (sb *sandbox) expire(now time.Time) []Change {
	var changes []Change
	for h, g := range sb.grants {
		if !g.ExpiresAt.IsZero() && !g.ExpiresAt.After(now) {
			delete(sb.grants, h)
			changes = append(changes, Change{Expire: h})
		}
	}
	return changes
}

// room says whether there is room for a grant. The lock is held.
func (sb *sandbox) room(g Grant) error {
	size := len(g.Metadata)
	for _, other := range sb.grants {
		size += len(other.Metadata)
	}
	if len(sb.grants) >= MaxTokens || size > MaxAllMetadata {
		return fault.New(fault.Exhausted, "sandbox %q: has %d valid tokens with %d bytes of metadata; at most %d with %d; revoke some",
			sb.id, len(sb.grants), size, MaxTokens, MaxAllMetadata)
	}
	return nil
}

// granted returns the grant of the first token that opens a port, and that token. The lock is held.
func (s *Service) granted(sb *sandbox, port uint16, tokens []string) (Grant, string) {
	for _, token := range tokens {
		if len(token) != len(tokenPrefix)+tokenLength {
			continue
		}
		h := hash(token)
		g, ok := sb.grants[h]
		if !ok || g.Port != port || subtle.ConstantTimeCompare([]byte(g.Hash), []byte(h)) != 1 {
			continue
		}
		if g.ExpiresAt.IsZero() || g.ExpiresAt.After(s.deps.Now()) {
			return g, token
		}
	}
	return Grant{}, ""
}

// Revoke makes all tokens of a port invalid, and ends the visits of their bearers; port 0: of all ports. Errors: fault.NotFound.
func (s *Service) Revoke(ctx context.Context, sandboxID string, port uint16) error {
	var mark uint64
	err := s.heard(ctx, s.cfg.StartWait, sandboxID, func(sb *sandbox) (bool, error) {
		for h, g := range sb.grants {
			if port == 0 || g.Port == port {
				delete(sb.grants, h)
			}
		}
		sb.cut(errRevoked, func(v *visit) bool { return v.token != "" && (port == 0 || v.port == port) })
		if sb.stored {
			mark = s.keep(sb, Change{Revoke: &Revocation{SandboxID: sandboxID, Port: port}})
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	return s.journal.await(ctx, mark)
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Link is a URL with the token in it, for people.
func (c Credentials) Link() string { return c.URL + "/?" + route.TokenParameter + "=" + c.Token }
