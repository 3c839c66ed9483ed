package container

import (
	"context"
	"slices"
)

// VolumeMount is a volume at a path of a container.
type VolumeMount struct {
	VolumeID string `json:"volume"` // "vo-..."
	Path     string `json:"path"`
	SubPath  string `json:"sub_path,omitempty"` // the folder of the volume that is there; empty: all of it
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Showing returns which of some mounts shows what m is to: the same part of the volume, and writable unless m is not; or -1.
func (m VolumeMount) Showing(mounts []VolumeMount) int {
	return slices.IndexFunc(mounts, func(o VolumeMount) bool {
		return o.VolumeID == m.VolumeID && o.SubPath == m.SubPath && (m.ReadOnly || !o.ReadOnly)
	})
}

// Volumes mounts volumes in containers. Implemented by worker/volume.
type Volumes interface {
	// Mount mounts volumes for a container that is about to start. Nothing is left behind when it fails. Errors: fault.NotFound,
	// fault.Precondition, fault.Unavailable.
	Mount(ctx context.Context, containerID string, mounts []VolumeMount) ([]Bind, error)
	// End commits what a container that has ended had written, and takes its volumes down. It does nothing for one that has none. The error
	// says what is not committed yet, which is tried again.
	End(ctx context.Context, containerID string) error
}

// Seen is how a container sees volumes.
type Seen struct {
	Mounts  []MountsOf // what it sees them through
	Views   []View     // of all who see something through these
	Release func()     // is called when Views are not needed any more
}

// MountsOf are the mounts of a volume, or with "" of all volumes, that were made for a container.
type MountsOf struct{ ContainerID, VolumeID string }

// View is where somebody sees volumes.
type View struct {
	Inside Inside
	Paths  []string
}

// Inside tells what is in a container.
type Inside interface {
	// OpenFiles tells what processes have open at or below some paths; not all of very many. Errors: fault.Unavailable.
	OpenFiles(ctx context.Context, paths []string) ([]OpenFile, error)
}

// OpenFile is something that a process of a container has open.
type OpenFile struct {
	Path, Command    string
	WorkingDirectory bool // it is no file, but where the process is
}

// Lose ends the container, whose inputs are run again: something that it needs is gone, as the message says.
func (c *Container) Lose(message string) {
	c.loseOnce.Do(func() { c.lost <- message })
}
