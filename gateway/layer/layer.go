// Package layer is the noun of results of build steps that builders share: which there are, who may add to them, and when they go.
//
// What a build made is a bundle of files in the blob store (internal/cas), in the builder's terms: the gateway knows of it only that its
// chunks are there. It is found by names of the recipe's beginnings, so that a builder which gets another recipe finds what the two have
// in common. The gateway makes the names: a builder can put results under those of recipes that it was given, and under no others.
package layer

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
)

// Defaults of Config.
const (
	// DefaultMaxBytes is how much all results may have together, in bytes.
	DefaultMaxBytes = 20 << 30
	// DefaultMaxAge is how long results are kept that no build has looked into.
	DefaultMaxAge = 30 * 24 * time.Hour
)

const (
	// maxBundles is how many bundles one build is given: what those with less in common have is mostly in the first.
	maxBundles = 3
	// maxGrants is how many builds may be about to store their results; the oldest are forgotten first.
	maxGrants = 1024
	// grantTime is how long a build may take from its beginning until its results are stored.
	grantTime = 24 * time.Hour
	// maxChunks is the most of a bundle.
	maxChunks = 1 << 18
)

// Entry is a bundle that is found.
type Entry struct {
	Bundle string // its digest
	Bytes  uint64 // of its files
	UsedAt time.Time
}

// Store keeps which bundles there are.
type Store interface {
	// PutLayers has names stand for a bundle from now on. Bundles that no name stands for any more are forgotten.
	PutLayers(ctx context.Context, e Entry, names []string) error
	// FindLayers returns the bundles that names stand for, in the order of the names; empty where there is none. They count as used.
	FindLayers(ctx context.Context, names []string, now time.Time) ([]string, error)
	// Layers returns all bundles, the one that was used last first.
	Layers(ctx context.Context) ([]Entry, error)
	// ForgetLayers forgets a bundle and its names. One that is not there is no error.
	ForgetLayers(ctx context.Context, bundle string) error
}

// Blobs is where bundles are. Implemented by blob.Store.
type Blobs interface {
	cas.Claimer
	// Remove removes a blob whose time is before a moment, and says whether it did.
	Remove(ctx context.Context, digest string, before time.Time) (bool, error)
}

// Config bounds what is kept. Zero fields are defaults.
type Config struct {
	// MaxBytes is how much all results may have together; below 0: nothing is shared.
	MaxBytes int64
	// MaxAge is how long results are kept that no build has looked into.
	MaxAge time.Duration
}

// Recipe is what is found of a recipe.
type Recipe struct {
	// Beginnings are the names of its beginnings, the shortest first.
	Beginnings []string
	// Base is the name of the base that builders make for it; empty: it is nothing that they make.
	Base string
}

// Offer is what a build may take and give.
type Offer struct {
	// Bundles are where results may be found, the one with most in common first.
	Bundles []string
	// Known says that the first of them came of the same recipe, whole.
	Known bool
	// Base is the bundle of the base that others start from; empty: there is none.
	Base string
	// Grant is what Put is called with, and PutBase.
	Grant string
	// MaxBytes is the most that a bundle may have.
	MaxBytes uint64
}
