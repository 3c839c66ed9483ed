// Package environment is the noun of environments: namespaces of everything that has a name, from apps to secrets.
//
// What is in an environment refers to it by id, so that a rename carries it all along. Whether an environment is there, and what it is
// called, is asked with every request; so all of them are kept in memory, and written through to the store.
package environment

import (
	"context"
	"regexp"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Main is the environment that is always there and that requests mean which name none. It has no other id than its name, which is why it
// keeps that.
const Main = "main"

// MaxCount bounds the environments of an installation.
const MaxCount = 1000

// Environment is a namespace. Deleting says that what is in it is being removed; nothing comes into it any more.
type Environment struct {
	ID, Name  string
	CreatedAt time.Time
	CreatedBy string // the name of the token that made it
	Deleting  bool
}

// Store keeps environments.
type Store interface {
	// Environments lists those that are not deleted.
	Environments(ctx context.Context) ([]Environment, error)
	// CreateEnvironment adds one. Errors: fault.Exists.
	CreateEnvironment(ctx context.Context, e Environment) error
	// RenameEnvironment gives one another name. Errors: fault.Exists, fault.NotFound.
	RenameEnvironment(ctx context.Context, id, name string) error
	// CloseEnvironment marks one as being deleted: from then on the store takes nothing more into it. Errors: fault.NotFound.
	CloseEnvironment(ctx context.Context, id string) error
	// DeleteEnvironment gives the name of a closed one free. What happened in it stays in the records.
	DeleteEnvironment(ctx context.Context, id string, at time.Time) error
}

// Contents is one kind of thing that environments have in them.
type Contents struct {
	// Noun names it for logs, such as "volumes".
	Noun string
	// Empty removes all of the kind that an environment has, and returns when it is gone. It is called again after a crash.
	Empty func(ctx context.Context, id string) error
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9\-_.]{0,63}$`)

// CheckName returns a fault.Invalid unless an environment may be called so.
func CheckName(name string) error {
	if !namePattern.MatchString(name) || len(name) > 2 && name[:3] == "en-" {
		return fault.New(fault.Invalid, "environment name %.80q: want 1 to 64 letters, digits, '-', '_' or '.', "+
			"a letter or digit first, and not en- in front", name)
	}
	return nil
}
