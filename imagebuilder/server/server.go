// Package server is the image builder process: it keeps a link to the gateway and buildkitd, and makes images.
package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/imagebuilder/bridge"
	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/gatewaylink"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/login"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	rt "github.com/skerry-dev/skerry/imagebuilder/runtime"
	"github.com/skerry-dev/skerry/imagebuilder/solve"
	"github.com/skerry-dev/skerry/imagebuilder/stepvolume"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// storedBytes is how much bases of images that were built before may hold while no build uses them.
const storedBytes = 10 << 30

// noBundle is the CABundle that says that steps trust what their image trusts.
const noBundle = "none"

// Server is an image builder. Build may be called while Run runs.
type Server struct {
	config Config
	blobs  build.Blobs
	layers build.Layers
	log    *slog.Logger
	chain  base.Chain
	logins login.Source
	stored *base.Stored

	interpreters *base.Interpreters
	daemon       *solve.Daemon
	link         *gatewaylink.Link
	desk         *stepvolume.Desk // or nil
	turns        chan struct{}    // holds a token for each running build
	tmp          string

	giving   *lifecycle.Group // what goes to other builders behind builds
	mu       sync.Mutex
	stopping bool
	given    map[string]bool // digests of bases that others have, or are about to get
}

var _ gatewaylink.Builder = (*Server)(nil)

// New describes a builder; nothing is started or changed. Images go to blobs. Errors: fault.Invalid for a configuration that makes no
// sense.
func New(c Config, blobs build.Blobs, log *slog.Logger) (*Server, error) {
	c, err := withDefaults(c)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config: c, blobs: blobs, layers: c.Layers, log: log, turns: make(chan struct{}, c.Builds), tmp: filepath.Join(c.DataDir, "tmp"),
		stored:       base.NewStored(filepath.Join(c.DataDir, "images"), storedBytes, blobs, erofs.ToTar),
		interpreters: base.NewInterpreters(c.BaseDir, c.Interpreters), logins: login.Source{AWSEndpoint: c.AWSEndpoint},
		giving: lifecycle.NewGroup(context.Background()), given: map[string]bool{},
	}
	if s.chain, err = c.bases(s.interpreters); err != nil {
		return nil, err
	}
	if c.Volumes != nil && c.Buildkit == "" {
		s.desk = stepvolume.NewDesk(c.volumesSocket(), c.Volumes, log)
	}
	d := c.daemon(log)
	if d.Cache, err = solve.ParseCache(c.SharedCache); err != nil {
		return nil, err
	}
	if s.daemon, err = solve.NewDaemon(d, log); err != nil {
		return nil, err
	}
	gateway := gatewaylink.Config{URL: c.Gateway, Token: c.Token, TLS: c.TLS, Dial: c.Dial}
	if s.layers == nil {
		s.layers = gatewaylink.NewLayers(gateway)
	}
	if s.link, err = gatewaylink.New(gateway, s, log); err != nil {
		return nil, err
	}
	return s, nil
}

func withDefaults(c Config) (Config, error) {
	if !filepath.IsAbs(c.DataDir) || !filepath.IsAbs(c.RunDir) || c.Instance == "" {
		return c, fault.New(fault.Invalid, "image builder: want absolute data and run folders and an instance name")
	}
	if c.Buildkit == "" && (len(c.RuntimeCommand) == 0 || c.Runsc == "" && c.Runc == "") {
		return c, fault.New(fault.Invalid, "image builder: want runsc and a runtime command; build steps run in gVisor")
	}
	if err := errors.Join(c.boundSteps(), c.checkRegistries()); err != nil {
		return c, err
	}
	c.BaseDir = cmp.Or(c.BaseDir, filepath.Join(c.DataDir, "bases"))
	c.Builds = cmp.Or(max(c.Builds, 0), DefaultBuilds)
	if c.Time < 0 {
		return c, fault.New(fault.Invalid, "limit of builds: want a time of 0 (the default) or more")
	}
	c.Time = cmp.Or(c.Time, max(DefaultTime, c.Step.Time))
	c.Bridge = cmp.Or(c.Bridge, "sk"+c.Instance+"b")
	if !c.Subnet.IsValid() {
		c.Subnet = DefaultSubnet(c.Instance)
	}
	if !c.Subnet.Addr().Is4() || c.Subnet.Bits() > 28 {
		return c, fault.New(fault.Invalid, "build subnet %s: want an IPv4 subnet of at least 16 addresses", c.Subnet)
	}
	switch c.CABundle {
	case noBundle:
		c.CABundle = ""
	case "":
		if _, err := os.Stat(DefaultCABundle); err == nil {
			c.CABundle = DefaultCABundle
		}
	}
	return c, nil
}

// boundSteps sets the limits that the configuration leaves open.
func (c *Config) boundSteps() (err error) {
	l := &c.Step
	if l.MemoryBytes < 0 || l.Processes < 0 || l.DiskBytes < 0 || l.Time < 0 {
		return fault.New(fault.Invalid, "limits of build steps: want 0 (the default) or more")
	}
	if l.MemoryBytes == 0 {
		if l.MemoryBytes, err = DefaultStepMemory(); err != nil {
			return err
		}
	}
	l.DiskBytes, l.Processes = cmp.Or(l.DiskBytes, DefaultStepDisk), cmp.Or(l.Processes, DefaultStepProcesses)
	l.Time, l.Cgroup = cmp.Or(l.Time, DefaultStepTime), "skerry_"+c.Instance
	return nil
}

func (c Config) runtimeName() string {
	if c.Runc != "" {
		return "runc"
	}
	return "runsc"
}

func (c Config) daemon(log *slog.Logger) solve.DaemonConfig {
	d := solve.DaemonConfig{
		Address: c.Buildkit, Binary: c.Buildkitd, Root: filepath.Join(c.DataDir, "buildkit"), RunDir: filepath.Join(c.RunDir, "buildkit"),
		Bridge:     bridge.Config{Name: c.Bridge, Subnet: c.Subnet, Table: "skerry_" + c.Instance + "_build"},
		CNIPlugins: c.CNIPlugins, Nameservers: c.Nameservers, CacheBytes: c.CacheBytes, Parallelism: parallelSteps * c.Builds, Cgroup: c.Step.Cgroup, Mark: rand.Text(),
		RuntimeState: filepath.Join(c.RunDir, "build-"+c.runtimeName()),
	}
	r := rt.Config{State: d.RuntimeState, Platform: c.Platform, Limits: c.Step, Mark: d.Mark, Runsc: c.Runsc}
	if c.Volumes != nil {
		r.Volumes, r.Variable = c.volumesSocket(), llb.VolumesVariable
	}
	if c.Runc != "" {
		r.Runsc, r.Runc = "", c.Runc
	}
	d.Runtime = slices.Concat(c.RuntimeCommand, r.Command())
	if c.NoMasquerade {
		d.Bridge.Table = ""
	}
	d.Registries = c.registries()
	d.Guard = bridge.Guard{Name: "skerry_" + c.Instance + "_fetch", Open: c.AllowPrivate}
	d.Places = func() []netip.AddrPort { return c.places(log) }
	return d
}

// Run serves builds until ctx ends, and leaves no process, mount or network behind. Builds that run then fail.
func (s *Server) Run(ctx context.Context) error {
	// What is there belongs to builds of a builder that is gone.
	if err := errors.Join(os.RemoveAll(s.tmp), os.MkdirAll(s.tmp, 0o700), s.stored.Clean()); err != nil {
		return fmt.Errorf("image builder: %w", err)
	}
	if s.config.Buildkit != "" {
		s.log.Warn("build steps run in a buildkitd that is not ours: its own configuration isolates them, not gVisor, the limits of steps and the network's "+
			"rules of this builder", "buildkit", s.config.Buildkit)
	}
	if s.desk != nil {
		if err := s.desk.Open(ctx); err != nil {
			return fmt.Errorf("image builder: volumes of steps: %w", err)
		}
	}
	g := lifecycle.NewGroup(ctx)
	g.Go("buildkitd", s.daemon.Run)
	g.Go("gateway link", s.link.Run)
	if s.desk != nil {
		g.Go("volumes of steps", s.desk.Run)
	}
	if err := errors.Join(g.Wait(), s.stopGiving()); err != nil {
		return fmt.Errorf("image builder: %w", err)
	}
	return nil
}

func (s *Server) stopGiving() error {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	return s.giving.Stop()
}

// Close gives back what New took, which is nothing that Run does not give back.
func (s *Server) Close() error { return nil }

// Ready is closed once builds can be made.
func (s *Server) Ready() <-chan struct{} { return s.daemon.Ready() }

// Linked is closed once the gateway has been reached.
func (s *Server) Linked() <-chan struct{} { return s.link.Linked() }

// Series are the Python series of the bases; see base.Provider.
func (s *Server) Series() (series []string, hint string) { return s.chain.Series() }

// PrepareBase makes the base with a Python series if it is missing; see base.Provider. It needs no running builder.
func (s *Server) PrepareBase(ctx context.Context, series string, progress func(line string)) error {
	_, err := s.chain.Prepare(ctx, series, progress)
	return err
}

// Build makes an image; see gatewaylink.Builder.
func (s *Server) Build(ctx context.Context, r build.Request, events build.Events) (_ *build.Image, err error) {
	if err := recipe.Validate(r.Recipe); err != nil {
		return nil, err
	}
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return s.timed(ctx, r, events)
}

// make makes an image whose turn it is, of a valid recipe.
func (s *Server) make(ctx context.Context, r build.Request, events build.Events) (*build.Image, error) {
	canonical := recipe.Canonical(r.Recipe)
	options, err := s.options(canonical, r)
	if err != nil {
		return nil, err
	}
	b, err := s.begin(ctx, canonical, r, events)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.release()) }()
	secrets, err := s.secrets(ctx, canonical, r)
	if err != nil {
		return nil, err
	}
	revoke, err := s.admit(canonical, secrets)
	if err != nil {
		return nil, err
	}
	defer revoke()
	names, err := recipe.Beginnings(b.recipe, cmp.Or(b.plan.Digest, b.plan.Reference))
	if err != nil {
		return nil, err
	}
	if options.NoCache {
		names = nil
	}
	var plan *llb.Plan
	var image *cas.Written
	err = s.daemon.Solve(ctx, solve.Request{
		Plan: func(ctx context.Context, f llb.FrontEnd) (_ *llb.Plan, err error) {
			options.FrontEnd = f
			plan, err = llb.New(ctx, b.recipe, b.plan, options)
			return plan, err
		},
		CacheNames: names, Shared: s.share(ctx, r.Shared, options.NoCache), Layouts: b.layouts, Registry: b.plan.Reference, Login: b.login, RuntimeDir: s.config.GuestDir,
		Secrets: secrets, Trees: r.Trees, Blobs: s.blobs, Events: events,
		Export: func(ctx context.Context, tar io.Reader) (err error) {
			image, err = erofs.Store(ctx, erofs.Params{Tar: tar, Dir: s.tmp, Sink: s.blobs, Keep: s.config.Keep})
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	c := plan.Config
	return &build.Image{EROFS: image.File, Env: c.Env, Workdir: c.Workdir, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Shell: c.Shell, User: c.User}, nil
}

func (s *Server) options(r recipe.Recipe, req build.Request) (llb.Options, error) {
	o := llb.Options{
		Arch: runtime.GOARCH, NoCache: req.NoCache || r.Base.Force, TrustCA: s.config.CABundle != "",
		Settings: slices.Sorted(maps.Keys(s.config.Settings)), Proxy: s.config.Proxy,
		FileTrees: map[string]bool{}, EmptyTrees: map[string]bool{}, Parts: map[string]int{},
	}
	if s.config.GuestDir != "" {
		o.RuntimeID = "1"
	}
	for _, digest := range r.Trees() {
		files, ok := req.Trees[digest]
		if !ok {
			return o, fault.New(fault.Invalid, "image: the files of tree %q were not given", digest)
		}
		o.EmptyTrees[digest] = len(files) == 0
		o.FileTrees[digest] = len(files) == 1 && files[0].Path == "."
		if o.FileTrees[digest] {
			o.Parts[digest] = int((files[0].Blob.Size + partSize - 1) / partSize) //nolint:gosec // a few, see secrets
		}
	}
	return o, nil
}
