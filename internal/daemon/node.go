package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/gateway/identity"
	gateway "github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	builder "github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/agent"
	"github.com/skerry-dev/skerry/worker/cgroup"
	"github.com/skerry-dev/skerry/worker/gatewaylink"
	"github.com/skerry-dev/skerry/worker/network"
)

// node is all of Skerry on one machine.
type node struct {
	cfg     config.Config
	log     *slog.Logger
	blobs   *blob.Store
	gateway *gateway.Server
	worker  *agent.Agent
	builder *builder.Server
	release func()
}

// newNode opens everything; nothing runs yet.
func newNode(ctx context.Context, cfg config.Config, log *slog.Logger) (*node, error) {
	n := &node{cfg: cfg, log: log}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	var err error
	if n.blobs, err = blob.Open(ctx, filepath.Join(cfg.Data, "blobs")); err != nil {
		return nil, err
	}
	undo.Add(func() { n.warn("blob store", n.blobs.Close()) })
	n.gateway, err = gateway.New(ctx, gateway.Config{
		Dir: gatewayDir(cfg), Listen: cfg.Listen, TLSCert: cfg.TLSCert, TLSKey: cfg.TLSKey, Insecure: cfg.Insecure,
		SyncAlways: cfg.Sync == config.SyncAlways, Version: Version,
		HeartbeatWindow: time.Duration(cfg.HeartbeatWindow) * time.Second,
	}, n.blobs, log.With("part", "gateway"))
	if err != nil {
		return nil, err
	}
	undo.Add(n.gateway.Close)
	if err := n.firstToken(ctx); err != nil {
		return nil, err
	}
	if err := n.openWorker(); err != nil {
		return nil, err
	}
	if err := n.openBuilder(); err != nil {
		return nil, err
	}
	undo.Add(func() { n.warn("image builder", n.builder.Close()) })
	n.release = undo.Release()
	return n, nil
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
	runsc, err := program("runsc", n.cfg.Runsc)
	if err != nil {
		return err
	}
	guest, err := guestDir(n.cfg)
	if err != nil {
		return err
	}
	tlsConfig, err := n.gateway.LocalTLS()
	if err != nil {
		return err
	}
	subnet, err := prefix("subnet", n.cfg.Subnet)
	if err != nil {
		return err
	}
	var open []netip.Prefix
	for _, text := range n.cfg.AllowPrivate {
		p, err := prefix("allow_private", text)
		if err != nil {
			return err
		}
		open = append(open, p)
	}
	build, err := n.buildSubnet()
	if err != nil {
		return err
	}
	token := n.gateway.Tokens().Ephemeral("worker of this process", identity.Worker)
	n.worker, err = agent.New(agent.Config{
		DataDir: filepath.Join(n.cfg.Data, "worker"), RunDir: n.cfg.RunDir(), Instance: n.cfg.Instance(),
		RuntimeDir: guest, Runsc: runsc, Version: Version,
		Gateway:  gatewaylink.Address{URL: n.gateway.URL(), Token: token.Encode(), TLS: tlsConfig},
		CPUMilli: uint32(n.cfg.CPU * 1000), MemoryMiB: uint32(n.cfg.Memory), DiskMiB: uint32(n.cfg.Disk),
		Blobs: n.blobs,
		Network: network.Config{
			CIDR: subnet, AllowPrivate: open, Upstreams: n.cfg.Nameservers, BuildBridge: n.bridge(), BuildSubnet: build,
		},
		Log: n.log.With("part", "worker"),
	})
	return err
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

func (n *node) openBuilder() error {
	c, err := builderConfig(n.cfg)
	if err != nil {
		return err
	}
	if c.TLS, err = n.gateway.LocalTLS(); err != nil {
		return err
	}
	if c.Subnet, err = n.buildSubnet(); err != nil {
		return err
	}
	c.Gateway, c.Bridge = n.gateway.URL(), n.bridge()
	c.Token = n.gateway.Tokens().Ephemeral("builder of this process", identity.Builder).Encode()
	c.Nameservers = []string{n.worker.Network().Nameserver().String()}
	n.builder, err = builder.New(c, builderBlobs{n.blobs}, n.log.With("part", "builder"))
	return err
}

// builderConfig is the part of a builder's configuration that the settings say.
func builderConfig(cfg config.Config) (builder.Config, error) {
	c := builder.Config{
		DataDir: filepath.Join(cfg.Data, "builder"), RunDir: cfg.RunDir(), BaseDir: cfg.Bases, Instance: cfg.Instance(),
		Builds: cfg.Builds, Buildkit: cfg.Buildkit, Unisolated: cfg.UnisolatedBuilds, Platform: cfg.Platform, CABundle: cfg.CABundle,
		Mirror: cfg.DebianMirror, SecurityMirror: cfg.DebianSecurityMirror,
		Settings: map[string]string{}, Proxy: hostProxy(),
	}
	for _, name := range cfg.BuildEnv {
		if value, ok := os.LookupEnv(name); ok {
			c.Settings[name] = value
		}
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	c.RuntimeCommand = []string{self, runtimeCommand}
	if c.Runsc, err = program("runsc", cfg.Runsc); err != nil {
		return c, err
	}
	if cfg.Buildkit == "" {
		c.Buildkitd, err = program("buildkitd", cfg.Buildkitd)
	}
	return c, err
}

// hostProxy is the proxy that this process was started with, by the variables that everybody reads.
func hostProxy() llb.Proxy {
	get := func(names ...string) string {
		for _, name := range names {
			if v := os.Getenv(name); v != "" {
				return v
			}
		}
		return ""
	}
	return llb.Proxy{
		HTTP: get("HTTP_PROXY", "http_proxy"), HTTPS: get("HTTPS_PROXY", "https_proxy"),
		No: get("NO_PROXY", "no_proxy"), All: get("ALL_PROXY", "all_proxy"),
	}
}

// run serves until ctx ends or a part fails, then stops in order: the gateway, which stops containers over its link to the worker, then
// worker and builder. Ready is called once, when calls can be made and images built.
func (n *node) run(ctx context.Context, ready func()) error {
	front, back := lifecycle.NewGroup(ctx), lifecycle.NewGroup(context.WithoutCancel(ctx))
	front.Go("gateway", n.gateway.Run)
	back.Go("worker", n.worker.Run)
	back.Go("image builder", n.builder.Run)
	front.Go("ready", func(ctx context.Context) error {
		for _, c := range []<-chan struct{}{n.gateway.WorkerJoined(), n.builder.Ready()} {
			select {
			case <-c:
			case <-ctx.Done():
				return nil
			}
		}
		n.log.Info("ready", "url", n.gateway.URL(), "data", n.cfg.Data)
		ready()
		return nil
	})
	select {
	case <-front.Context().Done():
	case <-back.Context().Done():
	}
	n.log.Info("stopping")
	err := errors.Join(front.Stop(), back.Stop(), n.sweep())
	n.log.Info("stopped")
	return err
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

// builderBlobs is the blob store in the builder's terms.
type builderBlobs struct{ store *blob.Store }

var _ build.Blobs = builderBlobs{}

func (b builderBlobs) Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	return b.store.Open(ctx, ref.Digest, 0)
}

func (b builderBlobs) Create(ctx context.Context) (build.BlobWriter, error) {
	return b.store.Create(ctx)
}
