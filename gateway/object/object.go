// Package object is the noun of what has an id, a name in an environment, and contents that something else keeps: dicts, queues and volumes.
package object

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/ident"
)

// Window is how long an ephemeral object lives without a word from its client.
const Window = 2 * time.Minute

// Bounds of a page of a list.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// PageSize is how many of a list are sent where so many are asked for; 0: DefaultPage.
func PageSize(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// Creation says what becomes of a name that nothing has, or that something has.
type Creation uint8

// The creations; the numbers are those of skerry.v1.ObjectCreation.
const (
	// Lookup: it has to be there.
	Lookup Creation = 0
	// IfMissing: it is made where it is not there.
	IfMissing Creation = 1
	// MustBeNew: it must not be there.
	MustBeNew Creation = 2
	// Ephemeral: it has no name, and lives as long as its client.
	Ephemeral Creation = 3
)

// Object is one of them, without its contents.
type Object struct {
	ID   string
	Kind ident.Kind
	// Name is empty for an ephemeral object.
	Name string
	// Environment is its id.
	Environment string
	CreatedAt   time.Time
	// CreatedBy is the name of the token, or the app whose code made it.
	CreatedBy string
}

// Ref names an object: by ID, or by kind, environment (its id) and name.
type Ref struct {
	ID                string
	Kind              ident.Kind
	Environment, Name string
}

// Page is a part of a list: of one kind and environment, those made before a moment (zero: all), the newest first.
type Page struct {
	Kind        ident.Kind
	Environment string
	Before      time.Time
	Limit       int
}

// Store keeps what objects are called.
type Store interface {
	// CreateObject adds an object; seen is when its client was heard of, zero for one with a name. It sets CreatedAt so that no two of a kind and
	// environment have the same. Errors: fault.Exists, fault.Precondition (the environment is being deleted).
	CreateObject(ctx context.Context, o *Object, seen time.Time) error
	// Object finds an object, or returns a fault.NotFound.
	Object(ctx context.Context, ref Ref) (*Object, error)
	// Objects lists objects that have a name.
	Objects(ctx context.Context, p Page) ([]Object, error)
	// RenameObject gives an object that has a name another one. Errors: fault.NotFound, fault.Exists.
	RenameObject(ctx context.Context, id, name string) error
}

// Lives keeps how long objects live. An object that is doomed has no name any more and is found by nobody, until it is forgotten.
type Lives interface {
	// KeepObject notes that the client of an ephemeral object was heard of. Errors: fault.NotFound.
	KeepObject(ctx context.Context, id string, at time.Time) error
	// DoomObjects marks the object of an id as deleted, or all of a kind that an environment has. Errors: fault.NotFound, for an id.
	DoomObjects(ctx context.Context, ref Ref) error
	// DoomedObjects lists the doomed ones of a kind, and dooms those that are ephemeral and were not heard of since a moment.
	DoomedObjects(ctx context.Context, kind ident.Kind, heardBefore time.Time) ([]string, error)
	// ForgetObject removes a doomed object. One that is not there is no error.
	ForgetObject(ctx context.Context, id string) error
}

// Contents are what objects hold. Implemented by the nouns.
type Contents interface {
	// Drop removes all that an object holds. It is called again if the process ends before it has returned.
	Drop(ctx context.Context, id string) error
}
