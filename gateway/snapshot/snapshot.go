// Package snapshot is the noun of states of sandboxes that are kept: their files as images, and their files with all that runs as snapshots.
package snapshot

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Defaults and bounds.
const (
	// DefaultLimit is how long a snapshot may take.
	DefaultLimit = 55 * time.Second
	// MaxLimit is the longest that a client may give it.
	MaxLimit = 30 * time.Minute
	// DefaultImageTTL and DefaultTTL are how long images and snapshots are kept.
	DefaultImageTTL = 30 * 24 * time.Hour
	DefaultTTL      = 7 * 24 * time.Hour
	// MaxForks is how many sandboxes one fork makes.
	MaxForks = 100
)

// Snapshot is a sandbox that is kept with its memory.
type Snapshot struct {
	ID        string
	Sandbox   sandbox.Sandbox // as it was
	WorkerID  string          // that has it on its disk
	Manifest  string          // digest of its manifest in the blob store; empty: it is on its worker only
	Size      uint64          // bytes
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// Store keeps snapshots. Implemented by gateway/sqlstore.
type Store interface {
	// PutSnapshot adds a snapshot.
	PutSnapshot(ctx context.Context, s Snapshot) error
	// Snapshot returns a snapshot, or a fault.NotFound.
	Snapshot(ctx context.Context, id string) (*Snapshot, error)
	// DeleteSnapshot forgets one, or returns a fault.NotFound.
	DeleteSnapshot(ctx context.Context, id string) error
	// ExpiredSnapshots lists those that expired before a time.
	ExpiredSnapshots(ctx context.Context, before time.Time) ([]Snapshot, error)
}

// Images keeps images of files. Implemented in gateway/server.
type Images interface {
	// KeepFiles adds an image whose content is a file in chunks, with the environment of another image, or none (base is empty), for as long as
	// ttl after its last use; 0: for ever. It returns its id.
	KeepFiles(ctx context.Context, file payload.Ref, base string, ttl time.Duration) (string, error)
	// SandboxImage returns an image, or a fault.NotFound.
	SandboxImage(ctx context.Context, id string) (sandbox.Image, error)
}

// Worker makes snapshots of its sandboxes. Implemented by gateway/workerlink. Errors of all: fault.NotFound, fault.Precondition, fault.Exhausted,
// fault.Unavailable.
type Worker interface {
	// Files writes the files of a sandbox, or (path not empty) of one directory, to the blob store as the file of an image.
	Files(ctx context.Context, sandboxID, path string, limit time.Duration) (payload.Ref, error)
	// Memory keeps a sandbox with its memory on the worker and, with store, in the blob store.
	Memory(ctx context.Context, sandboxID, snapshotID string, limit time.Duration, store bool) (manifest string, size uint64, err error)
	// Drop removes a snapshot from the worker.
	Drop(ctx context.Context, snapshotID string) error
	// Pause keeps a sandbox on the worker's disk and frees all else.
	Pause(ctx context.Context, sandboxID string, limit time.Duration) error
	// Resume has it run on. The rules are not for logs.
	Resume(ctx context.Context, sandboxID string, rules []sandbox.EgressRule) error
	// Mount shows an image, or (nil) an empty directory, at a path of a sandbox.
	Mount(ctx context.Context, sandboxID, path string, image *sandbox.Image) error
	// Unmount takes it away.
	Unmount(ctx context.Context, sandboxID, path string) error
}

// Workers finds workers. Implemented by workerlink.Hub.
type Workers interface {
	// Snapshots returns a linked worker, or a fault.Unavailable.
	Snapshots(workerID string) (Worker, error)
}
