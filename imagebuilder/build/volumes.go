package build

import "context"

// Volume is a volume that a step sees at a path.
type Volume struct {
	ID       string // "vo-..."
	Path     string // absolute
	SubPath  string // the folder of the volume that is there; empty: all of it
	ReadOnly bool
}

// Bind is a folder of this host that a step sees at a path.
type Bind struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Volumes mounts volumes on this host for steps, whose ids ("bs-...") are chosen by who calls. Implementations are safe for concurrent use.
type Volumes interface {
	// Reap ends what steps of an earlier builder have left.
	Reap(ctx context.Context) error
	// Mount mounts volumes for a step that is about to start. Nothing is left behind when it fails. Errors: fault.NotFound for a volume,
	// fault.Precondition for its folder, fault.Unavailable.
	Mount(ctx context.Context, stepID string, volumes []Volume) ([]Bind, error)
	// Lost is closed when the volumes of a step are gone with what had not been committed.
	Lost(stepID string) <-chan struct{}
	// End commits what a step that has ended has written, and takes its volumes down. The error says what is not committed. Errors:
	// fault.NotFound for a volume that was deleted, fault.Unavailable.
	End(ctx context.Context, stepID string) error
}
