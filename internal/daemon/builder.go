package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/imagebuilder/build"
	buildlink "github.com/skerry-dev/skerry/imagebuilder/gatewaylink"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
	builder "github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/network"
)

// DefaultSeries is the Python series that skerryd base prepare makes a base for.
const DefaultSeries = "3.11"

func (c *command) base() *cobra.Command {
	cmd := &cobra.Command{Use: "base", Short: "Prepare what images start from", Args: cobra.NoArgs}
	cmd.AddCommand(c.basePrepare())
	return cmd
}

func (c *command) basePrepare() *cobra.Command {
	series := DefaultSeries
	cmd := &cobra.Command{
		Use:   "prepare",
		Short: "Make the base image of a Python series, if it is missing",
		Long: `Make the Debian with Python that images of a series start from, in the folder of base
images, which all skerryds of this machine share. It takes about two minutes once, and
nothing when the base is there. The first build of an image makes it too.`,
		Example: "  skerryd base prepare --python 3.11",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			provider, err := builder.Bases(builder.Config{
				BaseDir: cfg.Bases, Mirror: cfg.DebianMirror, SecurityMirror: cfg.DebianSecurityMirror, CABundle: cfg.CABundle,
				Bases: cfg.PythonFrom, PythonImage: cfg.PythonImage, Interpreters: base.HostFolders(os.LookupEnv),
			})
			if err != nil {
				return err
			}
			im, err := provider.Prepare(cmd.Context(), series, func(line string) { _, _ = fmt.Fprintln(c.err, line) })
			if err != nil {
				return err
			}
			place := "in " + im.Dir
			if im.Reference != "" {
				place = "of a registry, and pulled by the first build"
			}
			_, err = fmt.Fprintf(c.out, "%s is %s\n", im.Name, place)
			return err
		},
	}
	cmd.Flags().StringVar(&series, "python", series, "Python series")
	c.bind(cmd, "bases", "debian_mirror", "debian_security_mirror", "ca_bundle", "python_from", "python_image")
	return cmd
}

func (n *node) openBuilder() error {
	c, err := builderConfig(n.cfg)
	if err != nil {
		return err
	}
	blobs, err := n.joinGateway(&c)
	if err != nil {
		return err
	}
	if c.Subnet, err = n.buildSubnet(); err != nil {
		return err
	}
	c.Bridge = n.bridge()
	for _, text := range n.cfg.AllowPrivate {
		p, err := prefix("allow_private", text)
		if err != nil {
			return err
		}
		c.AllowPrivate = append(c.AllowPrivate, p)
	}
	host, err := n.buildNetwork()
	if err != nil {
		return err
	}
	c.Nameservers = []string{host.Nameserver().String()}
	if n.worker != nil {
		c.Keep = func(path string, image payload.Ref) {
			if err := n.worker.KeepImage(path, image); err != nil {
				n.log.Warn("a built image is put together from chunks at its first start", "image", image.Digest, "error", err)
			}
		}
	}
	n.openVolumes(&c, blobs)
	n.builder, err = builder.New(c, blobs, n.log.With("part", "builder"))
	return err
}

// joinGateway tells a builder where its gateway is, here or elsewhere, and returns that gateway's blobs.
func (n *node) joinGateway(c *builder.Config) (blobs build.Blobs, err error) {
	if n.gateway == nil {
		a, err := remoteGateway(n.cfg, identity.Builder, os.Getenv)
		c.Gateway, c.Token, c.TLS = a.URL, a.Token, a.TLS
		return buildlink.NewBlobs(buildlink.Config{URL: a.URL, Token: a.Token, TLS: a.TLS}), err
	}
	c.Gateway = n.gateway.URL()
	c.Token = n.gateway.Tokens().Ephemeral("builder of this process", identity.Builder).Encode()
	c.TLS, err = n.gateway.LocalTLS()
	return builderBlobs{n.blobs}, err
}

// buildNetwork is the network whose rules hold for builds: the worker's or, without one here, one of the node's own.
func (n *node) buildNetwork() (*network.Network, error) {
	if n.worker != nil {
		return n.worker.Network(), nil
	}
	c, err := n.networkConfig()
	if err != nil {
		return nil, err
	}
	c.Instance, c.RunDir, c.Log = n.cfg.Instance(), filepath.Join(n.cfg.RunDir(), "netns"), n.log.With("part", "network")
	c.PoolSize = 1 // builds take none
	n.network, err = network.New(c)
	return n.network, err
}

// builderConfig is the part of a builder's configuration that the settings say.
func builderConfig(cfg config.Config) (builder.Config, error) {
	c := builder.Config{
		DataDir: filepath.Join(cfg.Data, "builder"), RunDir: cfg.RunDir(), BaseDir: cfg.Bases, Instance: cfg.Instance(),
		Builds: cfg.Builds, Time: time.Duration(cfg.BuildTotalTimeout) * time.Second, Buildkit: cfg.Buildkit, Platform: cfg.Platform, CABundle: cfg.CABundle,
		Mirror: cfg.DebianMirror, SecurityMirror: cfg.DebianSecurityMirror,
		Settings: map[string]string{}, Proxy: hostProxy(), Bases: cfg.PythonFrom, PythonImage: cfg.PythonImage,
		Interpreters: base.HostFolders(os.LookupEnv), RegistryMirrors: cfg.RegistryMirrors, PlainRegistries: cfg.PlainRegistries, SharedCache: cfg.BuildCache,
		Step: runtime.Limits{
			CPUMilli: uint32(cfg.BuildCPU * 1000), MemoryBytes: int64(cfg.BuildMemory) << 20, DiskBytes: int64(cfg.BuildDisk) << 20,
			Processes: int64(cfg.BuildProcesses), Time: time.Duration(cfg.BuildTimeout) * time.Second,
		},
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
	// A builder without it builds all but functions.
	if guest, err := guestDir(cfg); err == nil {
		c.GuestDir = filepath.Join(guest, "py")
	}
	if cfg.BuildRuntime == config.RuntimeRunc {
		if c.Runc, err = lookPath("runc"); err != nil {
			return c, fault.New(fault.Precondition, "runc: is not in PATH; install it, or leave build_runtime at runsc")
		}
	} else {
		c.Runsc, err = program("runsc", cfg.Runsc)
	}
	if err != nil {
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

// builderBlobs is the blob store in the builder's terms.
type builderBlobs struct{ *blob.Store }

var _ build.Blobs = builderBlobs{}

func (b builderBlobs) Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	return b.Store.Open(ctx, ref.Digest, 0)
}
