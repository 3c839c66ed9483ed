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
