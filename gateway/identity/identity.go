// Package identity is the noun of who may speak with a gateway: tokens and their roles.
package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Role says which services a token opens.
type Role string

// The roles. They don't include one another.
const (
	// Admin opens the public services.
	Admin Role = "admin"
	// Worker opens the worker link and the bulk service.
	Worker Role = "worker"
	// Builder opens the builder link and the bulk service.
	Builder Role = "builder"
)

// secretLength is the number of characters of a secret; 43 of 62 are 256 bits.
const secretLength = 43

// Token is a token without its secret.
type Token struct {
	ID, Name  string
	Role      Role
	CreatedAt time.Time
	Ephemeral bool // it is of a part of this process, and ends with it
	// Environments are the ids of those that it opens; none: all.
	Environments []string
}

// Credential is a token's id and secret, which is shown once and kept nowhere.
type Credential struct{ ID, Secret string }

// Encode returns "id.secret", as it stands after "Bearer " in an Authorization header.
func (c Credential) Encode() string { return c.ID + "." + c.Secret }

// String hides the secret from logs.
func (c Credential) String() string { return c.ID }

// Record is what a store keeps of a token.
type Record struct {
	Token
	SecretHash string // hex SHA-256; the secret has 256 bits of its own, so no slow hash is needed
}

// Store keeps tokens.
type Store interface {
	// CreateToken adds a token.
	CreateToken(ctx context.Context, r Record) error
	// Token returns a token, or a fault.NotFound.
	Token(ctx context.Context, id string) (*Record, error)
	// CountTokens counts the tokens of a role.
	CountTokens(ctx context.Context, role Role) (int, error)
}

// Service makes and checks tokens. It is safe for concurrent use.
type Service struct {
	store Store

	mu     sync.RWMutex
	memory map[string]Record // tokens of this process's own parts, and stored ones once read
}

// New returns a service over a store.
func New(store Store) *Service { return &Service{store: store, memory: map[string]Record{}} }

// Create makes and stores a token, for the environments of the ids alone or, without one, for all. Errors: fault.Invalid for a name that is
// empty or longer than 64 bytes.
func (s *Service) Create(ctx context.Context, name string, role Role, environments ...string) (Credential, error) {
	if name == "" || len(name) > 64 || strings.ContainsAny(name, "\r\n\x00") {
		return Credential{}, fault.New(fault.Invalid, "token name %q: want 1 to 64 bytes in one line", name[:min(len(name), 64)])
	}
	r, c := mint(name, role)
	r.Environments = environments
	if err := s.store.CreateToken(ctx, r); err != nil {
		return Credential{}, err
	}
	return c, nil
}

// CreateFirst makes an admin token where none is stored. Save, which keeps the secret for its user, is called before the token is stored:
// where it fails there is no token, and the next start tries again. It returns false where a token was there.
func (s *Service) CreateFirst(ctx context.Context, name string, save func(Credential) error) (bool, error) {
	n, err := s.store.CountTokens(ctx, Admin)
	if err != nil || n > 0 {
		return false, err
	}
	r, c := mint(name, Admin)
	if err := save(c); err != nil {
		return false, err
	}
	return true, s.store.CreateToken(ctx, r)
}

// Ephemeral makes a token that lives as long as this service, for parts of the same process.
func (s *Service) Ephemeral(name string, role Role) Credential {
	r, c := mint(name, role)
	r.Ephemeral = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory[r.ID] = r
	return c
}

// Authenticate returns the token of an Authorization header's value. Errors: fault.Unauthenticated, with the same text for an unknown
// id and a wrong secret.
func (s *Service) Authenticate(ctx context.Context, authorization string) (*Token, error) {
	const hint = "set SKERRY_TOKEN_ID and SKERRY_TOKEN_SECRET, or a profile in ~/.skerry.toml"
	value, ok := strings.CutPrefix(authorization, "Bearer ")
	if !ok {
		return nil, fault.New(fault.Unauthenticated, "no token: %s", hint)
	}
	id, secret, _ := strings.Cut(value, ".")
	wrong := fault.New(fault.Unauthenticated, "token: unknown id or wrong secret; %s", hint)
	if ident.Check(ident.Token, id) != nil {
		return nil, wrong
	}
	r, err := s.record(ctx, id)
	if errors.Is(err, fault.NotFound) {
		return nil, wrong
	}
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(hash(secret)), []byte(r.SecretHash)) != 1 {
		return nil, wrong
	}
	return &r.Token, nil
}

func (s *Service) record(ctx context.Context, id string) (Record, error) {
	s.mu.RLock()
	r, ok := s.memory[id]
	s.mu.RUnlock()
	if ok {
		return r, nil
	}
	stored, err := s.store.Token(ctx, id)
	if err != nil {
		return Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory[id] = *stored
	return *stored, nil
}

// mint makes a token that nothing has stored yet.
func mint(name string, role Role) (Record, Credential) {
	c := Credential{ID: ident.New(ident.Token), Secret: ident.Random(secretLength)}
	t := Token{ID: c.ID, Name: name, Role: role, CreatedAt: time.Now().UTC()}
	return Record{Token: t, SecretHash: hash(c.Secret)}, c
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
