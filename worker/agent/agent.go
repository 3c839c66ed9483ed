// Package agent is the worker: it keeps a link to the gateway and runs containers for it.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/bucket"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
	"github.com/skerry-dev/skerry/worker/gvisor"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/pool"
	"github.com/skerry-dev/skerry/worker/rootfs"
	"github.com/skerry-dev/skerry/worker/volume"
)

// Bounds of an orderly end.
const (
	// DrainTimeout is how long containers may take to end: their exit hooks have container.DefaultStopGrace.
	DrainTimeout = container.DefaultStopGrace + 5*time.Second
	// FlushTimeout is how long the gateway may take to acknowledge their last output.
	FlushTimeout = 3 * time.Second
	// ReapTimeout bounds clearing away what an earlier process left.
	ReapTimeout = 60 * time.Second
)

// Config says what a worker is. Fields without a default are needed.
type Config struct {
	DataDir    string // the worker's own folder: its id, its cache, writable layers of containers
	RunDir     string // sockets and state of what runs; short, on tmpfs, such as /run/skerry/1a2b3c
	Instance   string // six hexadecimal digits; names on the host carry it
	RuntimeDir string // with skerry-init and py/
	Runsc      string // path of gVisor's runsc
	Bucket     string // path of skerry-bucket; empty: containers have no buckets
	// BucketEndpoints are URLs of stores that are reached from the host's own network.
	BucketEndpoints []string
	// Keeper runs keeper.Main with the argument after these words. Without it, images are fetched whole.
	Keeper []string
	// Volumes runs volume.Main with the argument after these words. Without it, containers can have no volumes.
	Volumes []string
	// VolumeBytes is how much a container may have written to a volume that is not committed; default volume.DefaultDiskBytes.
	VolumeBytes int64

	Gateway gatewaylink.Address
	Version string // of this release

	CPUMilli, MemoryMiB uint32            // what it offers; default: what the host has
	Labels              map[string]string // cloud, region, zone, instance type
	DiskMiB             uint32            // writable layer of containers that ask for nothing; default container.DefaultDiskMiB
	CacheBytes          uint64            // default rootfs.DefaultCacheBytes
	HotMiB              int               // for sandboxes that are kept ready; 0: poolPercent of its memory, negative: none are

	Blobs   *blob.Store    // the gateway's own store where it is on this host; nil: everything goes over the link
	Network network.Config // Instance, RunDir, AuthorityDir and Log are filled in
	Log     *slog.Logger
}

// Agent is one worker. New allocates, Run does everything.
type Agent struct {
	cfg     Config
	id      string
	dialer  *gatewaylink.Dialer
	network *network.Network
	groups  *cgroup.Subtree
	runtime *gvisor.Runtime
	logs    *gatewaylink.Logs
	bulk    *gatewaylink.Bulk
	access  *gatewaylink.Access
	rootfs  *rootfs.Store
	volumes *volume.Host // or nil
	buckets *bucket.Store
	running atomic.Pointer[parts]
	joined  sync.Once
	up      chan struct{}             // closed at the first link
	wrap    func(*box.Config)         // of tests; or nil
	pool    atomic.Pointer[pool.Pool] // while it runs
	left    atomic.Int64
}

// New checks the configuration and opens the worker's folder. It changes nothing outside of it.
func New(cfg Config) (*Agent, error) {
	if err := complete(&cfg); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	a := &Agent{cfg: cfg, up: make(chan struct{})}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	return a, nil
}

func (a *Agent) open() error {
	cfg := &a.cfg
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(cfg.RuntimeDir, "skerry-init")); err != nil {
		return fmt.Errorf("runtime folder: %w; run make build", err)
	}
	var err error
	if a.id, err = workerID(cfg.DataDir); err != nil {
		return err
	}
	if a.dialer, err = gatewaylink.NewDialer(cfg.Gateway); err != nil {
		return err
	}
	a.bulk = gatewaylink.NewBulk(a.dialer.BulkClient())
	a.logs = gatewaylink.NewLogs(a.bulk)
	client, url := a.dialer.AccessClient()
	if a.access, err = gatewaylink.NewAccess(client, url, cfg.Log); err != nil {
		return err
	}
	if a.groups, err = cgroup.Open("skerry_" + cfg.Instance); err != nil {
		return err
	}
	if a.runtime, err = gvisor.New(gvisor.Config{Runsc: cfg.Runsc, StateDir: filepath.Join(cfg.RunDir, "runsc"), Cgroups: a.groups}); err != nil {
		return err
	}
	if a.rootfs, err = a.openRootfs(); err != nil {
		return err
	}
	a.volumes = a.openVolumes()
	n := cfg.Network
	n.Instance, n.RunDir, n.Log = cfg.Instance, filepath.Join(cfg.RunDir, "netns"), cfg.Log
	n.AuthorityDir = filepath.Join(cfg.DataDir, "egress")
	if a.network, err = network.New(n); err != nil {
		return err
	}
	a.buckets, err = a.openBuckets()
	return err
}

// KeepImage takes over the whole file of an image that was built on this host; see rootfs.Store.
func (a *Agent) KeepImage(file string, image payload.Ref) error { return a.rootfs.Keep(file, image) }

// Left is how many sandboxes Run has left on the host for the next process.
func (a *Agent) Left() int { return int(a.left.Load()) }

// ID is the worker's name, kept in its folder.
func (a *Agent) ID() string { return a.id }

// Linked is closed once the worker has reached its gateway.
func (a *Agent) Linked() <-chan struct{} { return a.up }

// Network is the worker's network: its range, and the name server that image builds are given.
func (a *Agent) Network() *network.Network { return a.network }

// Run takes over the sandboxes of an earlier process and reaps what else it left, sets up the network, and serves the gateway until ctx ends or
// the network fails. A lost link ends its containers, whose inputs the gateway runs again, and is dialled anew; sandboxes go on. At the end all
// containers are stopped, their inputs given back, and nothing of the worker is left on the host; where ctx ends with lifecycle.ErrHandover as
// its cause, sandboxes are left for the next process.
func (a *Agent) Run(ctx context.Context) error {
	p, err := a.parts()
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	a.running.Store(p)
	if err := errors.Join(a.takeOver(ctx, p), a.bound()); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if err := a.serve(ctx, p); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	return nil
}

// bound limits all containers together to what the worker offers: most ask for less than they may use.
func (a *Agent) bound() error {
	if err := raisePIDMax(a.cfg.Log); err != nil {
		return err
	}
	processes, err := hostProcesses()
	if err != nil {
		return err
	}
	return a.groups.Limit(cgroup.Limits{
		MemoryBytes: uint64(a.cfg.MemoryMiB) << 20, CPUMilli: a.cfg.CPUMilli, Processes: processes,
	})
}

// serve runs the worker's parts. They end in the reverse order of their use: containers, their output, the link, the network.
func (a *Agent) serve(ctx context.Context, p *parts) error {
	below := lifecycle.NewGroup(context.WithoutCancel(ctx))
	below.Go("network", a.network.Run)
	ready := lifecycle.NewGroup(below.Context())
	a.pool.Store(p.pool)
	ready.Go("boxes ahead", p.pool.Run)
	ready.Go("sandboxes ahead", p.warm.Run)
	links := lifecycle.NewGroup(below.Context())
	links.Go("logs", func(ctx context.Context) error {
		return a.logs.Run(ctx, func(err error) { a.cfg.Log.Warn("log connection lost", "error", err) })
	})
	links.Go("link", func(ctx context.Context) error { return a.dialer.Serve(ctx, a.control(p), a.linked) })
	links.Go("data link", func(ctx context.Context) error { return a.serveData(ctx, p) })
	select {
	case <-ctx.Done():
	case <-below.Context().Done():
	}
	left, err := a.drain(ctx, p)
	a.left.Store(int64(left))
	errs := []error{err, links.Stop(), ready.Stop(), below.Stop(), a.network.Close()}
	if left == 0 { // else there are sandboxes that use it
		errs = append(errs, a.runtime.Close())
	}
	if a.volumes != nil {
		errs = append(errs, a.volumes.Close())
	}
	errs = append(errs, a.rootfs.Close())
	a.buckets.Close()
	return errors.Join(errs...)
}

// linked hears of the control link.
func (a *Agent) linked(err error) {
	if err != nil {
		a.cfg.Log.Warn("gateway not reached", "worker", a.id, "gateway", a.cfg.Gateway.URL, "error", err)
		return
	}
	a.joined.Do(func() { close(a.up) })
	a.cfg.Log.Info("linked to the gateway", "worker", a.id, "gateway", a.cfg.Gateway.URL)
}

// drain ends all containers, and sandboxes unless they are to be left, and hands their output over, as far as the gateway is there to take it.
func (a *Agent) drain(ctx context.Context, p *parts) (left int, err error) {
	stop, cancel := lifecycle.Detach(ctx, DrainTimeout)
	defer cancel()
	var ended sync.WaitGroup
	var containers, sandboxes error
	ended.Go(func() { containers = p.service.Drain(stop) })
	ended.Go(func() {
		left, sandboxes = p.sandboxes.Close(stop, errors.Is(context.Cause(ctx), lifecycle.ErrHandover))
	})
	ended.Wait()
	flush, cancel := lifecycle.Detach(ctx, FlushTimeout)
	defer cancel()
	if lost := errors.Join(p.containers.Wait(flush), p.sandboxes.Wait(flush), a.logs.Flush(flush)); lost != nil {
		a.cfg.Log.Warn("output of containers lost", "error", lost)
	}
	return left, errors.Join(containers, sandboxes)
}

func (a *Agent) describe() gatewaylink.Description {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "unknown"
	}
	return gatewaylink.Description{
		WorkerID: a.id, Hostname: hostname, Version: a.cfg.Version,
		CPUMilli: a.cfg.CPUMilli, MemoryMiB: a.cfg.MemoryMiB, Labels: a.cfg.Labels,
	}
}

func (a *Agent) blobs() container.Blobs {
	if a.cfg.Blobs != nil {
		return localBlobs{a.cfg.Blobs}
	}
	return a.bulk
}

// complete checks cfg and sets what is left to us.
func complete(cfg *Config) error {
	for name, value := range map[string]string{"data": cfg.DataDir, "run": cfg.RunDir, "runtime": cfg.RuntimeDir} {
		if !filepath.IsAbs(value) {
			return fault.New(fault.Invalid, "%s folder %q: want an absolute path", name, value)
		}
	}
	if cfg.Log == nil {
		return fault.New(fault.Invalid, "logger: missing")
	}
	return hostResources(cfg)
}
