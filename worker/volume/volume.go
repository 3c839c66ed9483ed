// Package volume has volumes mounted in containers: the worker's side, and the process that serves them beside it, so that a sandbox with a
// volume, and what it has written, outlives the worker.
//
// The process is another than the keeper of images: what a container writes can take down volumes at worst. It asks the worker for blobs and
// has it store blobs and commit. What is written stays in the process and on this host's disk until it is committed: at a container's
// end, when somebody asks, and every few seconds by itself. A process that dies takes with it what was not.
package volume

import (
	"context"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/container"
)

// Version is a version of a volume.
type Version struct {
	Number uint64 `json:"number"`
	Root   string `json:"root"` // digest of its tree's root
}

// Store is where volumes are kept. Implemented by worker/gatewaylink.
type Store interface {
	// OpenVolume returns the newest version. Errors: fault.NotFound, fault.Unavailable.
	OpenVolume(ctx context.Context, volumeID string) (Version, error)
	// HoldVersions says which trees are in use here, all of them.
	HoldVersions(ctx context.Context, roots []string) error
	// BeginCommit begins a commit, which goes on until one of its Close and Abort.
	BeginCommit(ctx context.Context, p CommitParams) (Commit, error)
}

// CommitParams says whose changes are committed.
type CommitParams struct {
	VolumeID    string `json:"volume"`
	RequestID   string `json:"request"` // a request with the same id is applied once
	ContainerID string `json:"container"`
}

// Commit takes the changes of one version. It is for one goroutine at a time.
type Commit interface {
	// Send hands over changes, after those before.
	Send(changes []voltree.Change) error
	// Close makes the version. Errors: fault.NotFound, fault.Invalid, fault.Exhausted, fault.Unavailable.
	Close() (Version, error)
	// Abort forgets it.
	Abort()
}

// Blobs is where blobs are kept. Implemented by worker/gatewaylink.
type Blobs interface {
	cas.Source
	// Add keeps data as a blob; what is there is not sent again.
	Add(ctx context.Context, data []byte) (ref payload.Ref, stored bool, err error)
}

// mountArgs is a volume of a container, of which it is the n-th.
type mountArgs struct {
	ContainerID string                `json:"container"`
	Index       int                   `json:"index"`
	Mount       container.VolumeMount `json:"mount"`
}

// containerArgs names a container, and one of its volumes or with "" all.
type containerArgs struct {
	ContainerID string `json:"container"`
	VolumeID    string `json:"volume,omitempty"`
}

func (a containerArgs) check() error { return ident.CheckHolder(a.ContainerID) }

func (a mountArgs) check() error {
	if err := ident.CheckHolder(a.ContainerID); err != nil {
		return err
	}
	if a.Index < 0 || a.Index > 1000 {
		return fault.New(fault.Invalid, "volume %d of a container", a.Index)
	}
	if err := ident.Check(ident.Volume, a.Mount.VolumeID); err != nil {
		return err
	}
	_, err := voltree.Split(a.Mount.SubPath)
	return err
}

// mounted is where a volume is mounted.
type mounted struct {
	Path  string                `json:"path"`
	Mount container.VolumeMount `json:"mount"`
}

// bind is how a container sees it.
func (m mounted) bind() container.Bind {
	return container.Bind{Source: m.Path, Target: m.Mount.Path, Writable: !m.Mount.ReadOnly, Shared: true}
}
