package box

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
)

// volumesTimeout bounds the last commit of volumes.
const volumesTimeout = 3 * time.Minute

// Volumes also finds the volumes of boxes that an earlier process started.
type Volumes interface {
	container.Volumes
	// Adopt takes over the volumes of a container. Errors: fault.NotFound if they are gone.
	Adopt(ctx context.Context, containerID string) ([]container.Bind, error)
	// Commit commits what a container has written to a volume; see volume.Host.
	Commit(ctx context.Context, containerID, volumeID string) (version uint64, err error)
}

// mountVolumes has the box's volumes mounted.
func (b *Box) mountVolumes(ctx context.Context) error {
	if len(b.spec.Volumes) == 0 {
		return nil
	}
	if b.host.cfg.Volumes == nil {
		return fault.New(fault.Unimplemented, "volumes: this worker's host has no FUSE")
	}
	binds, err := b.host.cfg.Volumes.Mount(ctx, b.spec.VolumesOf, b.spec.Volumes)
	b.volumes = binds
	return err
}

// adoptVolumes takes over what an earlier process has mounted for the box.
func (b *Box) adoptVolumes(ctx context.Context) (err error) {
	if len(b.spec.Volumes) == 0 {
		return nil
	}
	if b.host.cfg.Volumes == nil {
		return fault.New(fault.Unavailable, "volumes: this worker's host has no FUSE")
	}
	b.volumes, err = b.host.cfg.Volumes.Adopt(ctx, b.spec.VolumesOf)
	if err == nil && len(b.volumes) != len(b.spec.Volumes) {
		err = fault.New(fault.NotFound, "box %q: has %d volumes, and %d are mounted for it", b.spec.ID, len(b.spec.Volumes), len(b.volumes))
	}
	return err
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

// ownVolumes are those of the container that its box has not, or not as it wants them.
func (i *Inner) ownVolumes() (own []container.VolumeMount) {
	for _, m := range i.spec.Volumes {
		if m.Showing(i.box.spec.Volumes) < 0 {
			own = append(own, m)
		}
	}
	return own
}

// mountVolumes has the container's volumes mounted. What its box has mounted is shown in it as well, so that both see at once what the other writes.
func (i *Inner) mountVolumes(ctx context.Context) (binds []container.Bind, err error) {
	if len(i.spec.Volumes) == 0 {
		return nil, nil
	}
	if i.box.host.cfg.Volumes == nil {
		return nil, fault.New(fault.Unimplemented, "volumes: this worker's host has no FUSE")
	}
	if binds, err = i.box.host.cfg.Volumes.Mount(ctx, i.spec.ID, i.ownVolumes()); err != nil {
		return nil, err
	}
	for _, m := range i.spec.Volumes {
		if at := m.Showing(i.box.spec.Volumes); at >= 0 {
			b := i.box.volumes[at]
			b.Target, b.Writable = m.Path, !m.ReadOnly
			binds = append(binds, b)
		}
	}
	return binds, nil
}

// adoptVolumes takes over what an earlier process has mounted for the container alone.
func (i *Inner) adoptVolumes(ctx context.Context) error {
	if len(i.ownVolumes()) == 0 {
		return nil
	}
	if i.box.host.cfg.Volumes == nil {
		return fault.New(fault.Unavailable, "volumes: this worker's host has no FUSE")
	}
	_, err := i.box.host.cfg.Volumes.Adopt(ctx, i.spec.ID)
	return err
}

// endVolumes has what the container wrote be committed, now that it writes no more. The volumes that its box has as well go on.
func (i *Inner) endVolumes() {
	volumes := i.box.host.cfg.Volumes
	if len(i.spec.Volumes) == 0 || volumes == nil {
		return
	}
	c, cancel := context.WithTimeout(context.Background(), volumesTimeout)
	defer cancel()
	i.note(volumes.End(c, i.spec.ID))
	if !i.served || i.box.ended() { // it has written nothing, or what is its box's is committed with that
		return
	}
	for _, m := range i.spec.Volumes {
		if !m.ReadOnly && m.Showing(i.box.spec.Volumes) >= 0 {
			_, err := volumes.Commit(c, i.box.spec.VolumesOf, m.VolumeID)
			i.note(err)
		}
	}
}
