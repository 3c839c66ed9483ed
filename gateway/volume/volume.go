// Package volume is the noun of trees of files that containers and clients share, in versions.
//
// A version is the digest of a tree (internal/voltree) and never changes. A change is applied to the newest version, under a lock of its
// volume: the folders that it touches are stored, and then the new version and the volume's head are written in one transaction. So a version
// is there as a whole or not at all, whatever crashes when, and writers of different files don't disturb one another.
//
// What a version refers to is claimed before it is made, and kept by Roots for as long as the version is. Versions are kept as KeepVersions
// and KeepFor say.
package volume

import (
	"context"
	"io"
	"time"

	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/internal/cas"
)

// How the history of a volume is kept: a version goes when KeepVersions are newer than it and it is older than KeepFor; at the latest when
// MaxVersions are newer than it.
const (
	KeepVersions = 100
	MaxVersions  = 10_000
	KeepFor      = 30 * 24 * time.Hour
)

// HoldFor is how long a tree is kept for a worker that has said that it uses it.
const HoldFor = 2 * time.Hour

// Version is one version of a volume.
type Version struct {
	// Number is 1 for the empty version that a volume begins with.
	Number uint64
	// Root is the digest of its tree.
	Root string
	// RequestID is that of the request that made it, in its volume alone.
	RequestID string
	CreatedAt time.Time
	// CreatedBy is the name of a token, or the id of a container.
	CreatedBy string
	// Reason is what made it, such as "commit".
	Reason       string
	Files, Bytes uint64
}

// Store makes volumes and removes what they were.
type Store interface {
	// CreateVolume is object.Store's CreateObject, and gives the object its first version in the same transaction.
	CreateVolume(ctx context.Context, o *object.Object, seen time.Time, first Version) error
	// DropVersions removes all versions of a volume. One that has none is no error.
	DropVersions(ctx context.Context, volumeID string) error
}

// Versions keeps what volumes were and are.
type Versions interface {
	// Version returns a version; 0 is the newest. Errors: fault.NotFound.
	Version(ctx context.Context, volumeID string, number uint64) (*Version, error)
	// VersionOf returns the version that a request has made, or a fault.NotFound.
	VersionOf(ctx context.Context, volumeID, requestID string) (*Version, error)
	// AddVersion makes a version the newest, where that is v.Number-1 now, and forgets versions as KeepVersions says. Errors: fault.NotFound
	// where the volume is not there; fault.Precondition where it has another newest version.
	AddVersion(ctx context.Context, volumeID string, v Version) error
	// ListVersions lists the versions below a number, newest first.
	ListVersions(ctx context.Context, volumeID string, before uint64, limit int) ([]Version, error)
	// HoldTrees keeps trees until a moment. Errors: fault.NotFound where one is no version's, and was not held before; the others are held.
	HoldTrees(ctx context.Context, roots []string, until time.Time) error
	// VolumeTrees returns the trees of all versions, and those that are held.
	VolumeTrees(ctx context.Context, now time.Time) ([]string, error)
}

// Blobs is where contents and trees are kept. Implemented by blob.Store.
type Blobs interface {
	cas.Sink
	cas.Claimer
	// Open streams a blob from an offset in bytes.
	Open(ctx context.Context, digest string, offset uint64) (io.ReadCloser, error)
}

// MountPlace is where a volume, or with "" all, is mounted: in a container, or in a sidecar of that.
type MountPlace struct{ ContainerID, Sidecar, VolumeID string }

// Mounted is a worker that has volumes mounted in containers. Implemented in gateway/workerlink.
type Mounted interface {
	// Commit makes what a container has written part of the volume, and returns the version that has it. Errors: fault.NotFound,
	// fault.Unavailable.
	Commit(ctx context.Context, containerID, volumeID string) (uint64, error)
	// Reload commits as well, and shows the container the newest version. Errors: fault.Precondition where files are open.
	Reload(ctx context.Context, p MountPlace) (uint64, error)
}

// Workers finds the worker of a container.
type Workers interface {
	// MountedOf returns it, or a fault.NotFound or fault.Unavailable.
	MountedOf(containerID string) (Mounted, error)
}
