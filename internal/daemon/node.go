package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/layer"
	gateway "github.com/skerry-dev/skerry/gateway/server"
	builder "github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/agent"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/volume"
)

// roles are the processes of Skerry that run in this one.
type roles struct{ gateway, worker, builder bool }

// node is what runs on one machine: all of Skerry, or some of it. Parts that don't run here are nil.
type node struct {
	cfg     config.Config
	log     *slog.Logger
	blobs   *blob.Store
	gateway *gateway.Server
	worker  *agent.Agent
	network *network.Network // of builds, where no worker brings one
	builder *builder.Server
	volumes *volume.Host // of builds; nil: there are none
	release func()
}

// newNode opens everything; nothing runs yet.
func newNode(ctx context.Context, cfg config.Config, log *slog.Logger, r roles) (*node, error) {
	n := &node{cfg: cfg, log: log}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	if r.gateway {
		if err := n.openGateway(ctx, undo); err != nil {
			return nil, err
		}
	}
	if r.worker {
		if err := n.openWorker(); err != nil {
			return nil, err
		}
	}
	if r.builder {
		if err := n.openBuilder(); err != nil {
			return nil, err
		}
		undo.Add(func() { n.warn("image builder", n.builder.Close()) })
		if n.volumes != nil {
			undo.Add(func() { n.warn("volumes of builds", n.volumes.Close()) })
		}
	}
	n.release = undo.Release()
	return n, nil
}

func (n *node) openGateway(ctx context.Context, undo *lifecycle.Cleanup) error {
	cfg := n.cfg
	var err error
	if n.blobs, err = openBlobs(ctx, cfg); err != nil {
		return err
	}
	undo.Add(func() { n.warn("blob store", n.blobs.Close()) })
	n.gateway, err = gateway.New(ctx, gatewayConfig(cfg), n.blobs, n.log.With("part", "gateway"))
	if err != nil {
		return err
	}
	undo.Add(n.gateway.Close)
	return n.firstToken(ctx)
}

// gatewayConfig is what the settings say of the gateway.
func gatewayConfig(cfg config.Config) gateway.Config {
	return gateway.Config{
		SecretsKey: cfg.SecretsKey, SecretsKeysBefore: cfg.SecretsKeysBefore,
		Dir: gatewayDir(cfg), Listen: cfg.Listen, TLSCert: cfg.TLSCert, TLSKey: cfg.TLSKey, Insecure: cfg.Insecure,
		DB:         cfg.DB,
		Cluster:    jetstream.Cluster{URLs: cfg.NATS, Credentials: cfg.NATSCredentials, CA: cfg.NATSCA, Replicas: cfg.NATSReplicas},
		SyncAlways: cfg.Sync == config.SyncAlways, Version: Version,
		HeartbeatWindow: time.Duration(cfg.HeartbeatWindow) * time.Second, BlobGrace: time.Duration(cfg.BlobGrace) * time.Hour,
		Ingress: gateway.IngressConfig{
			Domain: cfg.Domain, Listen: cfg.IngressListen, Certs: cfg.IngressCert, Keys: cfg.IngressKey, Ports: cfg.TunnelPorts,
			TrustedProxies: cfg.TrustedProxies,
		},
		Layers: layer.Config{MaxBytes: int64(cfg.SharedLayers) << 20},
	}
}

// openBlobs opens the blob store of the settings: a bucket, or files.
func openBlobs(ctx context.Context, cfg config.Config) (*blob.Store, error) {
	switch {
	case blob.IsBucket(cfg.Blobs):
		return blob.OpenBucket(ctx, cfg.Blobs, filepath.Join(cfg.Data, "staging"))
	case cfg.Blobs != "":
		return blob.Open(ctx, cfg.Blobs)
	default:
		return blob.Open(ctx, filepath.Join(cfg.Data, "blobs"))
	}
}

func (n *node) warn(part string, err error) {
	if err != nil {
		n.log.Warn("not closed in good order", "part", part, "error", err)
	}
}

// close gives back what newNode took.
func (n *node) close() { n.release() }

// firstToken makes the admin token of a new gateway and gives it to the user who starts it.
func (n *node) firstToken(ctx context.Context) error {
	if n.cfg.WriteProfile == "" {
		return nil
	}
	path, err := profilePath()
	if err != nil {
		return err
	}
	made, err := n.gateway.Tokens().CreateFirst(ctx, "admin", func(c identity.Credential) error {
		return writeProfile(path, n.cfg.WriteProfile, n.gateway.URL(), c)
	})
	if made {
		n.log.Info("admin token made", "profile", n.cfg.WriteProfile, "file", path)
	}
	return err
}

func (n *node) openWorker() error {
	address, err := n.gatewayAddress()
	if err != nil {
		return err
	}
	runsc, err := program("runsc", n.cfg.Runsc)
	if err != nil {
		return err
	}
	guest, err := guestDir(n.cfg)
	if err != nil {
		return err
	}
	net, err := n.networkConfig()
	if err != nil {
		return err
	}
	labels, err := n.cfg.LabelMap()
	if err != nil {
		return err
	}
	n.worker, err = agent.New(agent.Config{
		DataDir: filepath.Join(n.cfg.Data, "worker"), RunDir: n.cfg.RunDir(), Instance: n.cfg.Instance(),
		RuntimeDir: guest, Runsc: runsc, Keeper: []string{"/proc/self/exe", keeperCommand}, Volumes: []string{"/proc/self/exe", volumesCommand}, Version: Version, Gateway: address, Labels: labels,
		CPUMilli: uint32(n.cfg.CPU * 1000), MemoryMiB: uint32(n.cfg.Memory), DiskMiB: uint32(n.cfg.Disk), CacheBytes: uint64(n.cfg.ImageCache) << 20,
		HotMiB: n.cfg.HotSandboxes, VolumeBytes: int64(n.cfg.VolumeWrites) << 20,
		Bucket: optionalProgram("skerry-bucket"), BucketEndpoints: n.cfg.BucketEndpoints,
		Blobs: n.blobs, Network: net, Log: n.log.With("part", "worker"),
	})
	return err
}

// gatewayAddress is that of the gateway in this process, or of the one that the settings name.
func (n *node) gatewayAddress() (gatewaylink.Address, error) {
	if n.gateway == nil {
		return remoteGateway(n.cfg, identity.Worker, os.Getenv)
	}
	tlsConfig, err := n.gateway.LocalTLS()
	token := n.gateway.Tokens().Ephemeral("worker of this process", identity.Worker)
	return gatewaylink.Address{URL: n.gateway.URL(), Token: token.Encode(), TLS: tlsConfig}, err
}

// networkConfig is the network of containers and builds.
func (n *node) networkConfig() (c network.Config, err error) {
	if c.CIDR, err = prefix("subnet", n.cfg.Subnet); err != nil {
		return c, err
	}
	for _, text := range n.cfg.AllowPrivate {
		p, err := prefix("allow_private", text)
		if err != nil {
			return c, err
		}
		c.AllowPrivate = append(c.AllowPrivate, p)
	}
	c.Upstreams, c.BuildBridge, c.ExtraRoots = n.cfg.Nameservers, n.bridge(), n.cfg.EgressRoots
	c.BuildSubnet, err = n.buildSubnet()
	return c, err
}

// bridge is the interface of build steps, whose name the worker's rules and the builder must agree on.
func (n *node) bridge() string { return "sk" + n.cfg.Instance() + "b" }

func (n *node) buildSubnet() (netip.Prefix, error) {
	if n.cfg.BuildSubnet == "" {
		return builder.DefaultSubnet(n.cfg.Instance()), nil
	}
	return prefix("build_subnet", n.cfg.BuildSubnet)
}

func prefix(key, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fault.New(fault.Invalid, "%s %q: want a range such as 10.20.0.0/16", key, text)
	}
	return p, nil
}

// run serves until ctx ends or a part fails, then stops in order: the gateway, which stops containers over its links to workers, then
// worker and builder. Where ctx ends for lifecycle.ErrHandover, sandboxes are left for the next start. Ready is called once, when calls can be made
// and images built.
func (n *node) run(ctx context.Context, ready func()) error {
	front, back := lifecycle.NewGroup(ctx), lifecycle.NewGroup(context.WithoutCancel(ctx))
	var awaited []<-chan struct{}
	if n.gateway != nil {
		front.Go("gateway", n.gateway.Run)
		front.Go("backups", n.serveBackups)
	}
	if n.worker != nil {
		back.Go("worker", n.worker.Run)
		awaited = append(awaited, n.worker.Linked())
	}
	if n.gateway != nil && n.worker != nil {
		awaited = append(awaited, n.gateway.WorkerJoined())
	}
	if n.network != nil {
		back.Go("network", n.network.Run)
	}
	if n.builder != nil {
		back.Go("image builder", n.builder.Run)
		awaited = append(awaited, n.builder.Ready(), n.builder.Linked())
	}
	front.Go("ready", func(ctx context.Context) error {
		for _, c := range awaited {
			select {
			case <-c:
			case <-ctx.Done():
				return nil
			}
		}
		n.log.Info("ready", "url", n.url(), "data", n.cfg.Data)
		ready()
		return nil
	})
	select {
	case <-front.Context().Done():
	case <-back.Context().Done():
	}
	n.log.Info("stopping")
	why := context.Canceled
	if errors.Is(context.Cause(ctx), lifecycle.ErrHandover) {
		why = lifecycle.ErrHandover
	}
	err := errors.Join(front.Stop(), back.StopFor(why))
	if n.network != nil {
		err = errors.Join(err, n.network.Close())
	}
	if n.worker == nil || n.worker.Left() == 0 {
		err = errors.Join(err, n.sweep())
	}
	n.log.Info("stopped")
	return err
}

// url is where clients reach the gateway, here or elsewhere.
func (n *node) url() string {
	if n.gateway != nil {
		return n.gateway.URL()
	}
	return n.cfg.Gateway
}

// sweep removes what worker and builder share and so neither removes: the instance's control group and run folder.
func (n *node) sweep() error {
	groups, err := cgroup.Open("skerry_" + n.cfg.Instance())
	if err == nil {
		err = groups.Close()
	}
	if mounted, merr := mountsBelow(n.cfg.RunDir()); merr != nil || len(mounted) > 0 {
		// Removing the folder would reach into what is mounted there.
		return errors.Join(err, merr, fmt.Errorf("run folder %q: still has mounts: %v", n.cfg.RunDir(), mounted))
	}
	return errors.Join(err, os.RemoveAll(n.cfg.RunDir()))
}

func mountsBelow(dir string) (found []string, err error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			found = append(found, fields[1])
		}
	}
	return found, nil
}
