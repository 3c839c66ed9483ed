package container

import "context"

// VolumeMount is a volume at a path of a container.
type VolumeMount struct {
	VolumeID string `json:"volume"` // "vo-..."
	Path     string `json:"path"`
	SubPath  string `json:"sub_path,omitempty"` // the folder of the volume that is there; empty: all of it
	ReadOnly bool   `json:"read_only,omitempty"`
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
