package box

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/worker/container"
)

// volumesTimeout bounds the last commit of volumes.
const volumesTimeout = 3 * time.Minute

// Volumes also finds the volumes of boxes that an earlier process started.
type Volumes interface {
	container.Volumes
	// Adopt takes over the volumes of a container. Errors: fault.NotFound if they are gone.
	Adopt(ctx context.Context, containerID string) ([]container.Bind, error)
}

// endVolumes has what the box wrote be committed, now that it writes no more. What can't be within the time for it is tried again.
func (b *Box) endVolumes() {
	if len(b.spec.Volumes) == 0 || b.host.cfg.Volumes == nil {
		return
	}
	c, cancel := context.WithTimeout(context.Background(), volumesTimeout)
	defer cancel()
	b.note(b.host.cfg.Volumes.End(c, b.spec.VolumesOf))
}
