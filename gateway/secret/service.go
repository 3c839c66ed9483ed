package secret

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Service seals, keeps and opens secrets. It is safe for concurrent use.
type Service struct {
	store    Store
	rotation Rotation
	sealer   *Sealer

	mu   sync.Mutex
	used map[string]time.Time // when it was last written that a secret was used
}

// New returns a service over a store.
func New(store Store, rotation Rotation, sealer *Sealer) *Service {
	return &Service{store: store, rotation: rotation, sealer: sealer, used: map[string]time.Time{}}
}

// Create keeps the variables as a secret of the app and returns its id. Errors: fault.Invalid, fault.NotFound, fault.Unavailable.
func (s *Service) Create(ctx context.Context, appID string, variables map[string]string) (string, error) {
	r, err := s.create(ctx, Record{AppID: appID}, variables)
	if err != nil {
		return "", err
	}
	return r.ID, nil
}

// CreateNamed keeps the variables under a name of an environment. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Unavailable.
func (s *Service) CreateNamed(ctx context.Context, r Record, variables map[string]string) (*Record, error) {
	if err := ident.CheckName("secret", r.Name); err != nil {
		return nil, err
	}
	return s.create(ctx, r, variables)
}

func (s *Service) create(ctx context.Context, r Record, variables map[string]string) (*Record, error) {
	r.ID, r.CreatedAt = ident.New(ident.Secret), time.Now().UTC()
	var err error
	if r.Sealed, err = s.seal(ctx, r.ID, variables); err != nil {
		return nil, err
	}
	if err := s.store.CreateSecret(ctx, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

func (s *Service) seal(ctx context.Context, id string, variables map[string]string) (Sealed, error) {
	if err := check(variables); err != nil {
		return Sealed{}, err
	}
	plain, err := json.Marshal(variables)
	if err != nil {
		return Sealed{}, fmt.Errorf("secret: %w", err)
	}
	return s.sealer.Seal(ctx, id, plain)
}

func (s *Service) open(ctx context.Context, r *Record) (map[string]string, error) {
	plain, err := s.sealer.Open(ctx, r.ID, r.Sealed)
	if err != nil {
		return nil, err
	}
	variables := map[string]string{}
	if err := json.Unmarshal(plain, &variables); err != nil {
		return nil, fault.New(fault.DataLoss, "secret %q: sealed content is malformed", r.ID)
	}
	return variables, nil
}

// Get returns the secret of a name, which must have the required variables. Errors: fault.Invalid, fault.NotFound, fault.DataLoss,
// fault.Unavailable.
func (s *Service) Get(ctx context.Context, environment, name string, required []string) (*Record, error) {
	if err := ident.CheckName("secret", name); err != nil {
		return nil, err
	}
	if len(required) > maxRequired {
		return nil, fault.New(fault.Invalid, "secret %q: %d required keys, at most %d", name, len(required), maxRequired)
	}
	r, err := s.store.NamedSecret(ctx, environment, name)
	if err != nil || len(required) == 0 {
		return r, err
	}
	variables, err := s.open(ctx, r)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, key := range required {
		if _, ok := variables[key]; !ok && !slices.Contains(missing, key) {
			missing = append(missing, fmt.Sprintf("%.80q", key))
		}
	}
	if len(missing) > 0 {
		return nil, fault.New(fault.NotFound, "secret %q: has no %s, which is required; add what is missing with its update", name, strings.Join(missing, ", "))
	}
	return r, nil
}

// Describe returns a secret by its id. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Describe(ctx context.Context, id string) (*Record, error) {
	if err := ident.Check(ident.Secret, id); err != nil {
		return nil, err
	}
	return s.store.Secret(ctx, id)
}

// Bounds of lists.
const (
	defaultList = 100
	maxList     = 1000
)

// List returns secrets with a name, newest first. A zero time is now, a limit of 0 is 100. Errors: fault.Invalid.
func (s *Service) List(ctx context.Context, environment string, before time.Time, limit int) ([]Record, error) {
	limit = cmp.Or(limit, defaultList)
	if limit > maxList {
		return nil, fault.New(fault.Invalid, "secrets: %d at a time, at most %d", limit, maxList)
	}
	if before.IsZero() {
		before = time.Now().Add(time.Hour) // clocks go back
	}
	return s.store.Secrets(ctx, environment, before, limit)
}

// Update gives a secret with a name variables beside those it has or, with replace, instead of them. Containers that run keep what they
// have. Errors: fault.Invalid, fault.NotFound, fault.DataLoss, fault.Unavailable.
func (s *Service) Update(ctx context.Context, id string, variables map[string]string, replace bool) error {
	for {
		r, err := s.Describe(ctx, id)
		if err != nil {
			return err
		}
		if r.Name == "" {
			return fault.New(fault.Invalid, "secret %q: is of an app alone and does not change; make one with a name", id)
		}
		merged := maps.Clone(variables)
		if !replace {
			if merged, err = s.open(ctx, r); err != nil {
				return err
			}
			maps.Copy(merged, variables)
		}
		sealed, err := s.seal(ctx, id, merged)
		if err != nil {
			return err
		}
		// Somebody else may have changed it in between: then theirs is what ours is merged with.
		if done, err := s.rotation.ReplaceSealed(ctx, id, r.Sealed, sealed); done || err != nil {
			return err
		}
	}
}

// Delete deletes a secret with a name. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Delete(ctx context.Context, id string) error {
	r, err := s.Describe(ctx, id)
	if err != nil {
		return err
	}
	if r.Name == "" {
		return fault.New(fault.Invalid, "secret %q: is of an app alone and goes with it", id)
	}
	return s.store.DeleteSecret(ctx, id)
}

// Env opens secrets and merges them, later ones over earlier ones. Errors: fault.NotFound, fault.DataLoss, fault.Unavailable.
func (s *Service) Env(ctx context.Context, ids []string) (map[string]string, error) {
	env := map[string]string{}
	for _, id := range ids {
		r, err := s.store.Secret(ctx, id)
		if err != nil {
			return nil, err
		}
		variables, err := s.open(ctx, r)
		if err != nil {
			return nil, err
		}
		maps.Copy(env, variables)
	}
	return env, s.note(ctx, ids)
}

// note has the use of secrets written down, each at most once in a minute.
func (s *Service) note(ctx context.Context, ids []string) error {
	now := time.Now()
	s.mu.Lock()
	var due []string
	for _, id := range ids {
		if now.Sub(s.used[id]) >= usedEvery {
			s.used[id] = now
			due = append(due, id)
		}
	}
	if len(s.used) > maxOpened {
		maps.DeleteFunc(s.used, func(_ string, at time.Time) bool { return now.Sub(at) >= usedEvery })
	}
	s.mu.Unlock()
	if len(due) == 0 {
		return nil
	}
	return s.store.SecretsUsed(ctx, due, now)
}

// Check returns a fault.NotFound unless the secret is there for the owner: its own, or one of its environment.
func (s *Service) Check(ctx context.Context, owner Owner, id string) error {
	r, err := s.store.Secret(ctx, id)
	if err != nil {
		return err
	}
	own := r.AppID != "" && r.AppID == owner.AppID
	if !own && (r.Name == "" || r.Environment != owner.Environment) {
		return fault.New(fault.NotFound, "secret %q: not of app %q, nor of its environment", id, owner.AppID)
	}
	return nil
}

// DeleteApp deletes the secrets of an app.
func (s *Service) DeleteApp(ctx context.Context, appID string) error {
	return s.store.DeleteAppSecrets(ctx, appID)
}

// Ensure returns the secret of a name, made with the variables where there is none. Errors: as CreateNamed.
func (s *Service) Ensure(ctx context.Context, r Record, variables map[string]string) (*Record, error) {
	for {
		found, err := s.Get(ctx, r.Environment, r.Name, nil)
		if !errors.Is(err, fault.NotFound) {
			return found, err
		}
		made, err := s.CreateNamed(ctx, r, variables)
		if !errors.Is(err, fault.Exists) { // another client was faster
			return made, err
		}
	}
}
