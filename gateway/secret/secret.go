// Package secret is the noun of values that become environment variables of containers. They are sealed at rest and leave the gateway
// only for the worker that starts a container with them.
package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// MaxSize is the largest sum of names and values in bytes.
const MaxSize = 64 << 10

// Record is a sealed secret.
type Record struct {
	ID, AppID string
	Sealed    []byte
	CreatedAt time.Time
}

// Store keeps sealed secrets.
type Store interface {
	// CreateSecret adds a secret. Errors: fault.NotFound where its app is not there.
	CreateSecret(ctx context.Context, r Record) error
	// Secret returns a secret, or a fault.NotFound.
	Secret(ctx context.Context, id string) (*Record, error)
	// DeleteAppSecrets deletes all secrets of an app.
	DeleteAppSecrets(ctx context.Context, appID string) error
}

// Service seals, keeps and opens secrets. It is safe for concurrent use.
type Service struct {
	store  Store
	sealer *Sealer
}

// New returns a service over a store.
func New(store Store, sealer *Sealer) *Service { return &Service{store: store, sealer: sealer} }

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Create keeps the variables as a secret of the app and returns its id. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Create(ctx context.Context, appID string, variables map[string]string) (string, error) {
	if err := check(variables); err != nil {
		return "", err
	}
	plain, err := json.Marshal(variables)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	id := ident.New(ident.Secret)
	sealed, err := s.sealer.Seal(id, plain)
	if err != nil {
		return "", err
	}
	r := Record{ID: id, AppID: appID, Sealed: sealed, CreatedAt: time.Now()}
	if err := s.store.CreateSecret(ctx, r); err != nil {
		return "", err
	}
	return id, nil
}

// Env opens secrets and merges them, later ones over earlier ones. Errors: fault.NotFound, fault.DataLoss.
func (s *Service) Env(ctx context.Context, ids []string) (map[string]string, error) {
	env := map[string]string{}
	for _, id := range ids {
		r, err := s.store.Secret(ctx, id)
		if err != nil {
			return nil, err
		}
		plain, err := s.sealer.Open(id, r.Sealed)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(plain, &env); err != nil {
			return nil, fault.New(fault.DataLoss, "secret %q: sealed content is malformed", id)
		}
	}
	return env, nil
}

// Check returns a fault.NotFound unless the secret is there for the app.
func (s *Service) Check(ctx context.Context, appID, id string) error {
	r, err := s.store.Secret(ctx, id)
	if err != nil {
		return err
	}
	if r.AppID != appID {
		return fault.New(fault.NotFound, "secret %q: not of app %q", id, appID)
	}
	return nil
}

// DeleteApp deletes the secrets of an app.
func (s *Service) DeleteApp(ctx context.Context, appID string) error {
	return s.store.DeleteAppSecrets(ctx, appID)
}

func check(variables map[string]string) error {
	size := 0
	for name, value := range variables {
		size += len(name) + len(value)
		if !variableName.MatchString(name) {
			return fault.New(fault.Invalid, "secret variable %.80q: want a letter or '_', then letters, digits and '_'", name)
		}
		if strings.HasPrefix(name, "SKERRY_") {
			return fault.New(fault.Invalid, "secret variable %.80q: names beginning with SKERRY_ are reserved", name)
		}
		if strings.ContainsRune(value, 0) {
			return fault.New(fault.Invalid, "secret variable %.80q: the value has a zero byte, which no environment can carry", name)
		}
	}
	if size > MaxSize {
		return fault.New(fault.Invalid, "secret: %d bytes of names and values, at most %d are kept", size, MaxSize)
	}
	return nil
}
