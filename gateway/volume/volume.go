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

	"github.com/skerry-dev/skerry/internal/cas"
)

// How the history of a volume is kept: a version goes when KeepVersions are newer than it and it is older than KeepFor; at the latest when
// MaxVersions are newer than it.
const (
	KeepVersions = 100
	MaxVersions  = 10_000
	KeepFor      = 30 * 24 * time.Hour
)

const (
	// DefaultWindow is how long an ephemeral volume lives without its client.
	DefaultWindow = 2 * time.Minute
	// HoldFor is how long a tree is kept for a worker that has said that it uses it.
	HoldFor = 2 * time.Hour
)

// Volume is a volume, without what is in it.
type Volume struct {
	// ID is "vo-...". Name is empty for an ephemeral one.
	ID, Name, Environment string
	CreatedAt             time.Time
	// CreatedBy is the name of the token that made it.
	CreatedBy string
}

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

// Store keeps volumes.
type Store interface {
	// CreateVolume adds a volume with its first version; its CreatedAt becomes later than that of all others. Errors: fault.Exists where its
	// name is taken.
	CreateVolume(ctx context.Context, v *Volume, first Version) error
	// Volume returns a volume, or a fault.NotFound.
	Volume(ctx context.Context, id string) (*Volume, error)
	// VolumeByName returns a volume, or a fault.NotFound.
	VolumeByName(ctx context.Context, environment, name string) (*Volume, error)
	// Volumes lists volumes that have a name and were made before a moment, newest first.
	Volumes(ctx context.Context, environment string, before time.Time, limit int) ([]Volume, error)
	// EphemeralVolumes lists those that have no name, of all environments.
	EphemeralVolumes(ctx context.Context) ([]Volume, error)
	// RenameVolume gives a volume another name. Errors: fault.NotFound, fault.Exists.
	RenameVolume(ctx context.Context, id, name string) error
	// DeleteVolume deletes a volume with its versions. Errors: fault.NotFound.
	DeleteVolume(ctx context.Context, id string) error
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

// Mounted is a worker that has volumes mounted in containers. Implemented in gateway/workerlink.
type Mounted interface {
	// Commit makes what a container has written part of the volume, and returns the version that has it. Errors: fault.NotFound,
	// fault.Unavailable.
	Commit(ctx context.Context, containerID, volumeID string) (uint64, error)
	// Reload commits as well, and shows the container the newest version. Errors: fault.Precondition where files are open.
	Reload(ctx context.Context, containerID, volumeID string) (uint64, error)
}

// Workers finds the worker of a container.
type Workers interface {
	// MountedOf returns it, or a fault.NotFound or fault.Unavailable.
	MountedOf(containerID string) (Mounted, error)
}
