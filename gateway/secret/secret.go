// Package secret is the noun of values that become environment variables of containers. They are sealed at rest and leave the gateway
// only for the worker that starts a container with them.
package secret

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds.
const (
	// MaxSize is the largest sum of names and values in bytes.
	MaxSize = 64 << 10
	// maxRequired bounds the variables that a secret may be required to have.
	maxRequired = 1000
	// usedEvery is how exact LastUsedAt is: a secret that many containers start with is not written for each.
	usedEvery = time.Minute
)

// Record is a sealed secret: an app's own, or one that an environment has by a name.
type Record struct {
	ID, AppID, Name string // either AppID or Name is empty
	Environment     string // its id; of a secret with a name
	CreatedBy       string // the name of a token; of a secret with a name
	Sealed          Sealed
	CreatedAt       time.Time
	LastUsedAt      time.Time // zero: never
}

// Owner is an app that secrets are for.
type Owner struct{ AppID, Environment string }

// Store keeps sealed secrets.
type Store interface {
	// CreateSecret adds a secret. Of those with a name, no two of an environment were made at the same time, for lists go on from one: it sets
	// CreatedAt to a later one. Errors: fault.NotFound where its app or environment is not there, fault.Exists where its name is taken,
	// fault.Precondition where its app has stopped.
	CreateSecret(ctx context.Context, r *Record) error
	// Secret returns a secret, or a fault.NotFound.
	Secret(ctx context.Context, id string) (*Record, error)
	// NamedSecret returns the secret of a name, or a fault.NotFound.
	NamedSecret(ctx context.Context, environment, name string) (*Record, error)
	// Secrets lists secrets with a name that were made before a time, newest first.
	Secrets(ctx context.Context, environment string, before time.Time, limit int) ([]Record, error)
	// DeleteSecret deletes a secret. Errors: fault.NotFound.
	DeleteSecret(ctx context.Context, id string) error
	// DeleteAppSecrets deletes all secrets of an app.
	DeleteAppSecrets(ctx context.Context, appID string) error
	// SecretsUsed notes that secrets were used.
	SecretsUsed(ctx context.Context, ids []string, at time.Time) error
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

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
