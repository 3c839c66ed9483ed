package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/rootfs"
	"github.com/skerry-dev/skerry/worker/volume"
	"github.com/skerry-dev/skerry/worker/volumelink"
)

// openVolumes describes the worker's side of volumes, where the host can mount them.
func (a *Agent) openVolumes() *volume.Host {
	cfg := a.cfg
	if _, err := os.Stat("/dev/fuse"); err != nil {
		cfg.Log.Warn("containers can have no volumes: the host has no FUSE", "error", err)
		return nil
	}
	if len(cfg.Volumes) == 0 {
		return nil
	}
	client, url := a.dialer.BulkClient()
	return volume.NewHost(volume.HostConfig{
		Process: volume.Config{
			Dir: filepath.Join(cfg.RunDir, "volumes"), CacheDir: filepath.Join(cfg.DataDir, "cache"),
			CacheBytes: rootfs.ChunkBytes(cfg.CacheBytes) / 2, UpperDir: filepath.Join(cfg.DataDir, "volumes"),
			DiskBytes: cfg.VolumeBytes, Release: cfg.Version, Log: cfg.Log,
		},
		LogFile: filepath.Join(cfg.DataDir, "volumes.log"), Command: cfg.Volumes,
		Store: volumelink.NewStore(client, url), Blobs: a.bulk, Lost: a.loseVolumes,
	})
}

// loseVolumes ends what has volumes that can't be used any more.
func (a *Agent) loseVolumes(ids []string, cause error) {
	p := a.running.Load()
	if p == nil {
		return
	}
	p.sandboxes.LoseVolumes(ids, cause)
	for _, id := range ids {
		if c := p.containers.Get(id); c != nil {
			c.Lose(fmt.Sprintf("its volumes are lost: %v", cause))
		}
	}
}

// containerVolumes and boxVolumes are the volumes as containers and boxes know them; nil for none.
func (a *Agent) containerVolumes() container.Volumes {
	if a.volumes == nil {
		return nil
	}
	return a.volumes
}

func (a *Agent) boxVolumes() box.Volumes {
	if a.volumes == nil {
		return nil
	}
	return a.volumes
}

// findVolumes finds the process that serves volumes, before those who use them are taken over; reapVolumes ends those of containers that
// were not.
func (a *Agent) findVolumes(ctx context.Context) error {
	if a.volumes == nil {
		return nil
	}
	return a.volumes.Find(ctx)
}

func (a *Agent) reapVolumes(ctx context.Context) error {
	if a.volumes == nil {
		return nil
	}
	return a.volumes.Reap(ctx)
}

// sees finds how a function's container, a sandbox, or with a name a sidecar of that, sees a volume, or with "" all of its.
func (p *parts) sees(ctx context.Context, of container.MountsOf, sidecar string) (container.Seen, error) {
	c := p.containers.Get(of.ContainerID)
	if c == nil {
		s, err := p.sandboxes.Get(of.ContainerID)
		if err != nil {
			return container.Seen{}, err
		}
		return s.SeesVolume(ctx, sidecar, of.VolumeID)
	}
	g, err := c.Guest()
	if err != nil {
		return container.Seen{}, err
	}
	paths, err := p.volumes.Paths(of.ContainerID, of.VolumeID)
	if err != nil {
		return container.Seen{}, err
	}
	seen := container.Seen{Views: []container.View{{Inside: g, Paths: paths}}, Release: func() {}}
	if len(paths) > 0 {
		seen.Mounts = []container.MountsOf{of}
	}
	return seen, nil
}
