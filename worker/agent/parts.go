package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
	"github.com/skerry-dev/skerry/worker/pool"
	"github.com/skerry-dev/skerry/worker/sandbox"
	"github.com/skerry-dev/skerry/worker/sandboxlink"
	"github.com/skerry-dev/skerry/worker/snapshot"
	"github.com/skerry-dev/skerry/worker/volume"
	"github.com/skerry-dev/skerry/worker/volumelink"
)

// poolPercent is how much of the worker's memory boxes may take that wait for sandboxes, in per cent.
const poolPercent = 10

// warmPart is how much of that, one part in so many, sandboxes may take besides that wait without an image.
const warmPart = 10

// parts is what runs things on a worker.
type parts struct {
	boxes      *box.Host
	pool       *pool.Pool
	warm       *pool.Warm
	containers *container.Host
	service    *gatewaylink.Service
	sandboxes  *sandbox.Host
	volumes    *volume.Host // nil: none can be mounted
}

func (a *Agent) parts() (*parts, error) {
	warm, err := pool.NewWarm(pool.WarmConfig{
		Machines: emptyMachines{a.runtime}, Network: a.network, Dir: filepath.Join(a.cfg.RunDir, "w"),
		Max: a.hotMiB() / pool.WarmMiB / warmPart, NewID: func() string { return ident.New(ident.Box) }, Memory: a.memory, Log: a.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	host, err := container.NewHost(container.HostConfig{
		RunDir:     filepath.Join(a.cfg.RunDir, "c"),
		DiskDir:    filepath.Join(a.cfg.DataDir, "disks"),
		RuntimeDir: a.cfg.RuntimeDir,
		Network:    a.network, Rootfs: a.rootfs, Sandboxes: a.runtime, Logs: a.logs, Access: a.access, Volumes: a.containerVolumes(), Buckets: a.buckets,
		Dialects: dialects{blobs: a.blobs()}, Ahead: warm,
		DiskMiB: a.cfg.DiskMiB, MemoryMiB: a.cfg.MemoryMiB,
	})
	if err != nil {
		return nil, err
	}
	boxes, err := box.NewHost(a.boxConfig())
	if err != nil {
		return nil, err
	}
	runtime, err := a.runtime.Version()
	if err != nil {
		return nil, err
	}
	states, err := snapshot.Open(snapshot.Config{Dir: filepath.Join(a.cfg.DataDir, "snapshots"), Blobs: a.bulk, Runtime: runtime})
	if err != nil {
		return nil, err
	}
	ready := pool.New(pool.Config{
		Boxes: boxes, MaxBoxes: a.hotMiB() / pool.BoxMiB, NewID: func() string { return ident.New(ident.Box) }, Memory: a.memory, Log: a.cfg.Log,
	})
	return &parts{
		boxes:      boxes,
		pool:       ready,
		warm:       warm,
		containers: host,
		service:    gatewaylink.NewService(host, a.describe(), a.cfg.Log),
		volumes:    a.volumes,
		sandboxes: sandbox.NewHost(sandbox.Config{
			Dir: filepath.Join(a.cfg.DataDir, "sandboxes"), Boxes: ready, Groups: a.groups, Snapshots: states, Logs: a.logs, Log: a.cfg.Log,
			Authority: a.network.CA, MemoryMiB: a.cfg.MemoryMiB,
		}),
	}, nil
}

// hotMiB is the memory for boxes that wait.
func (a *Agent) hotMiB() int {
	if a.cfg.HotMiB == 0 {
		return int(a.cfg.MemoryMiB) * poolPercent / 100
	}
	return max(0, a.cfg.HotMiB)
}

func (a *Agent) boxConfig() box.Config {
	cfg := box.Config{
		RunDir:     filepath.Join(a.cfg.RunDir, "b"),
		DiskDir:    filepath.Join(a.cfg.DataDir, "boxes"),
		RuntimeDir: a.cfg.RuntimeDir,
		Network:    a.network, Rootfs: a.rootfs, Machines: machines{a.runtime}, Guest: newBoxGuest, Access: a.access, Volumes: a.boxVolumes(), Buckets: a.buckets,
		DiskMiB: a.cfg.DiskMiB,
	}
	if a.wrap != nil {
		a.wrap(&cfg)
	}
	return cfg
}

// control is what the gateway calls on the control link.
func (a *Agent) control(p *parts) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(sandboxlink.NewHandler(p.sandboxes, a.cfg.Labels, a.cfg.Log))
	mux.Handle(sandboxlink.NewSnapshotHandler(p.sandboxes, a.cfg.Log))
	if a.volumes != nil {
		mux.Handle(volumelink.NewHandler(a.volumes, p.sees, a.cfg.Log))
	}
	mux.Handle("/", p.service.Handler())
	return mux
}

// serveData keeps the data link, as soon as there is a control link.
func (a *Agent) serveData(ctx context.Context, p *parts) error {
	select {
	case <-a.up:
	case <-ctx.Done():
		return nil
	}
	proxy := sandboxlink.NewProxy(p.sandboxes, guestTransport, a.cfg.Log)
	return a.dialer.ServeData(ctx, a.id, proxy, func(err error) {
		if err != nil {
			a.cfg.Log.Warn("data link lost", "worker", a.id, "error", err)
		}
	})
}

// takeOver goes on with sandboxes of an earlier process of this instance, and clears away what else it left.
func (a *Agent) takeOver(ctx context.Context, p *parts) error {
	c, cancel := context.WithTimeout(ctx, ReapTimeout)
	defer cancel()
	if err := a.rootfs.Find(c); err != nil {
		return fmt.Errorf("images of an earlier run: %w", err)
	}
	if err := a.findVolumes(c); err != nil {
		return fmt.Errorf("volumes of an earlier run: %w", err)
	}
	kept, err := p.sandboxes.Adopt(c)
	if err != nil {
		return fmt.Errorf("taking over sandboxes: %w", err)
	}
	// Images and buckets after the sandboxes that have them open.
	if err := errors.Join(a.runtime.Reap(c, kept), p.boxes.Reap(kept), a.reapVolumes(c), a.rootfs.Reap(c), a.buckets.Reap()); err != nil {
		return fmt.Errorf("clearing away an earlier run: %w", err)
	}
	return nil
}
