package server

import (
	"context"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/gateway/volumelink"
	"github.com/skerry-dev/skerry/internal/ident"
)

// volumes finds workers for volumes that are mounted.
type volumes struct{ s *Server }

var (
	_ volume.Workers = volumes{}
	_ image.Volumes  = references{}
)

func (v volumes) MountedOf(containerID string) (volume.Mounted, error) {
	if ident.Check(ident.Sandbox, containerID) == nil {
		sb, err := v.s.sandboxes.Get(context.Background(), containerID)
		if err != nil {
			return nil, err
		}
		return v.on(sb.WorkerID)
	}
	worker, err := v.s.scheduler.WorkerOf(containerID)
	if err != nil {
		return nil, err
	}
	return v.on(worker)
}

func (v volumes) on(workerID string) (volume.Mounted, error) {
	client, err := v.s.workers.Client(workerID)
	if err != nil {
		return nil, err
	}
	return volumelink.NewMounted(client), nil
}

// CheckVolumes refuses volumes that are not in the app's environment.
func (r references) CheckVolumes(ctx context.Context, appID string, ids []string) error {
	a, err := r.s.db.App(ctx, appID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.s.volumes.CheckVolume(ctx, a.Environment, id); err != nil {
			return err
		}
	}
	return nil
}

func (r references) CheckVolume(ctx context.Context, environment, id string) error {
	return r.s.volumes.CheckVolume(ctx, environment, id)
}
