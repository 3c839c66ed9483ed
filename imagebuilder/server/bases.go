package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/login"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/solve"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Where bases with Python come from.
const (
	BasesDebian   = "debian"   // Debian's releases, made here
	BasesHost     = "host"     // a Debian release with an interpreter of this host
	BasesRegistry = "registry" // an image of a registry
)

// MicromambaImage is the image of a registry that micromamba comes from; condaBin is where its base environment has programs.
const (
	MicromambaImage = "mambaorg/micromamba:latest"
	condaBin        = "/opt/conda/bin"
)

// Bases are the bases that a builder of this configuration starts from. It needs no more of the configuration than says where they are.
func Bases(c Config) (base.Provider, error) {
	if c.CABundle == noBundle {
		c.CABundle = ""
	}
	return c.bases(base.NewInterpreters(c.BaseDir, c.Interpreters))
}

// bases are the providers of the configuration.
func (c Config) bases(interpreters *base.Interpreters) (base.Chain, error) {
	debian := base.NewDebian(base.DebianConfig{Dir: c.BaseDir, Mirror: c.Mirror, SecurityMirror: c.SecurityMirror, CABundle: c.CABundle})
	names := c.Bases
	if len(names) == 0 {
		names = []string{BasesDebian, BasesHost}
	}
	var chain base.Chain
	for _, name := range names {
		switch name {
		case BasesDebian:
			chain = append(chain, debian)
		case BasesHost:
			chain = append(chain, &base.FromHost{Debian: debian, Interpreters: interpreters})
		case BasesRegistry:
			if !strings.Contains(c.PythonImage, "{python}") {
				return nil, fault.New(fault.Invalid, "image of Python %q: want a reference with {python} for the series", c.PythonImage)
			}
			chain = append(chain, base.FromRegistry{Image: c.PythonImage})
		default:
			return nil, fault.New(fault.Invalid, "bases %q: want %s, %s or %s", name, BasesDebian, BasesHost, BasesRegistry)
		}
	}
	return chain, nil
}

func (c Config) checkRegistries() error {
	for _, m := range c.RegistryMirrors {
		registry, mirror, ok := strings.Cut(m, "=")
		if !ok || registry == "" || mirror == "" || strings.Contains(m, "://") {
			return fault.New(fault.Invalid, "registry mirror %q: want registry=mirror, each a host with an optional port", m)
		}
	}
	return nil
}

func (c Config) registries() map[string]solve.Registry {
	out := map[string]solve.Registry{}
	for _, m := range c.RegistryMirrors {
		registry, mirror, _ := strings.Cut(m, "=")
		r := out[registry]
		r.Mirrors = append(r.Mirrors, mirror)
		out[registry] = r
	}
	for _, host := range c.PlainRegistries {
		r := out[host]
		r.PlainHTTP = true
		out[host] = r
	}
	return out
}

// lookupTimeout is how long the addresses of the operator's own places may take to be found.
const lookupTimeout = 5 * time.Second

// places are where the mirrors, plain registries and proxies of the configuration are: buildkitd may reach them wherever that is. One that
// can't be found is left out, and named in the log; it is then reached if it is on the public internet.
func (c Config) places(log *slog.Logger) []netip.AddrPort {
	plain := map[string]bool{}
	for _, host := range c.PlainRegistries {
		plain[host] = true
	}
	hosts := slices.Clone(c.PlainRegistries)
	for _, m := range c.RegistryMirrors {
		_, mirror, _ := strings.Cut(m, "=")
		host, _, _ := strings.Cut(mirror, "/")
		hosts = append(hosts, host)
	}
	if cache, err := solve.ParseCache(c.SharedCache); err == nil && cache.Type == solve.CacheRegistry {
		host, _, _ := strings.Cut(cache.Attrs["ref"], "/")
		hosts = append(hosts, host)
	}
	for _, proxy := range []string{c.Proxy.HTTP, c.Proxy.HTTPS, c.Proxy.All} {
		if u, err := url.Parse(proxy); err == nil && u.Host != "" {
			hosts = append(hosts, u.Host)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	var out []netip.AddrPort
	for _, text := range hosts {
		host, port, err := net.SplitHostPort(text)
		if err != nil {
			host, port = text, "443"
			if plain[text] {
				port = "80"
			}
		}
		number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
		if err != nil {
			log.Warn("a registry's or proxy's port is none", "place", text, "err", err)
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			log.Warn("a registry or proxy can't be found", "place", text, "err", err)
		}
		for _, a := range addrs {
			out = append(out, netip.AddrPortFrom(a, uint16(number))) //nolint:gosec // a port
		}
	}
	return out
}

// beginning is what a build starts from.
type beginning struct {
	recipe  recipe.Recipe // what is left to do
	plan    llb.Base
	layouts []string
	login   login.Credentials
	release func() error // ends the use of layouts
}

// begin prepares the base of a canonical recipe. Lines of its making belong to the first step, which is the base.
func (s *Server) begin(ctx context.Context, r recipe.Recipe, req build.Request, events build.Events) (b beginning, err error) {
	progress := func(line string) { events.Log(build.Log{Step: 1, Lines: []string{line}}) }
	b.recipe, b.release = r, func() error { return nil }
	switch from := r.Base.From.(type) {
	case *recipe.DebianSlim:
		img, err := s.debian(ctx, from.Python, req.Shared, progress)
		if err != nil {
			return b, err
		}
		if img.Reference != "" {
			return b, s.fromRegistry(ctx, &b, img.Reference)
		}
		b.plan, b.layouts = llb.Base{Name: img.Name, Digest: img.Digest, Config: llb.Config{Env: img.Env}}, []string{img.Dir}
		b.add(img.Interpreter)
	case *recipe.Registry:
		if b.login, err = s.logins.Credentials(ctx, from.Credentials, req.Secrets[0]); err != nil {
			return b, err
		}
		if err := s.fromRegistry(ctx, &b, from.Reference); err != nil {
			return b, err
		}
		if from.AddPython != "" {
			i, err := s.interpreters.Prepare(ctx, from.AddPython, progress)
			if err != nil {
				return b, fmt.Errorf("add_python: %w", err)
			}
			b.add(i)
		}
		if len(from.Setup) > 0 {
			setup := recipe.Step{Action: &recipe.DockerfileCommands{Commands: from.Setup}}
			b.recipe.Steps = append([]recipe.Step{setup}, r.Steps...)
		}
	case *recipe.Micromamba:
		if err := s.fromRegistry(ctx, &b, MicromambaImage); err != nil {
			return b, err
		}
		b.plan.Config.User, b.plan.Config.Entrypoint, b.plan.Config.Cmd = "", nil, nil
		b.plan.Config.Env["PATH"] = strings.TrimSuffix(condaBin+":"+b.plan.Config.Env["PATH"], ":")
		python := recipe.Step{Action: &recipe.MicromambaInstall{Packages: []string{"python=" + from.Python}, Channels: []string{"conda-forge"}}}
		b.recipe.Steps = append([]recipe.Step{python}, r.Steps...)
	case *recipe.Dockerfile:
		if from.AddPython != "" {
			i, err := s.interpreters.Prepare(ctx, from.AddPython, progress)
			if err != nil {
				return b, fmt.Errorf("add_python: %w", err)
			}
			b.add(i)
		}
	case *recipe.Scratch:
		b.plan.Name = "nothing"
	case *recipe.Existing:
		return b, s.fromExisting(ctx, &b, from, progress)
	default:
		return b, fault.New(fault.Unimplemented, "image base %T: this builder has none of that kind yet", from)
	}
	return b, nil
}

// add puts an interpreter into the base.
func (b *beginning) add(i *base.Interpreter) {
	if i == nil {
		return
	}
	b.plan.Interpreter = &llb.Interpreter{Name: i.Name, Series: i.Series, Digest: i.Digest}
	b.layouts = append(b.layouts, i.Dir)
}

// fromExisting begins with what an image that is there holds.
func (s *Server) fromExisting(ctx context.Context, b *beginning, from *recipe.Existing, progress func(string)) error {
	img, release, err := s.stored.Prepare(ctx, from.File, from.Chunked, progress)
	if err != nil {
		return fmt.Errorf("image that is there: %w", err)
	}
	b.release, b.layouts = release, []string{img.Dir}
	b.plan = llb.Base{Name: img.Name, Digest: img.Digest, Config: llb.Config{
		Env: maps.Clone(from.Env), Workdir: from.Workdir, Entrypoint: from.Entrypoint, Cmd: from.Cmd, Shell: from.Shell, User: from.User,
	}}
	return nil
}

// fromRegistry asks a registry for the image that the base is now.
func (s *Server) fromRegistry(ctx context.Context, b *beginning, reference string) error {
	im, err := s.daemon.Resolve(ctx, reference, runtime.GOARCH, b.login)
	if err != nil {
		return err
	}
	env := map[string]string{}
	for _, e := range im.Config.Env {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	b.plan = llb.Base{
		Name: reference, Reference: im.Reference, Config: llb.Config{
			Env: env, Workdir: im.Config.WorkingDir, Entrypoint: im.Config.Entrypoint, Cmd: im.Config.Cmd, User: im.Config.User,
		},
	}
	return nil
}
