// Package solve has BuildKit make what a plan says: it keeps buildkitd running, or uses one that is, and follows its solves.
package solve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	containerdlog "github.com/containerd/log"
	"github.com/moby/buildkit/client"

	"github.com/skerry-dev/skerry/imagebuilder/bridge"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// Defaults of DaemonConfig.
const (
	// DefaultCacheBytes is how much the layer cache may hold.
	DefaultCacheBytes = 50 << 30
	// DefaultMinFreeBytes is how much of the disk the layer cache leaves free.
	DefaultMinFreeBytes = 5 << 30
	// DefaultCNIPlugins is where Debian puts the plugins of container networks.
	DefaultCNIPlugins = "/usr/lib/cni"
	// StopTimeout is how long buildkitd may take to stop before it is killed.
	StopTimeout = 10 * time.Second
	// maxDeaths is how often buildkitd may die within deathWindow before it counts as broken.
	maxDeaths   = 5
	deathWindow = time.Minute
)

// DaemonConfig describes the buildkitd that runs builds.
type DaemonConfig struct {
	// Address of a buildkitd that runs already, such as "unix:///run/buildkit/buildkitd.sock"; empty: one is started as a child, which
	// all the rest describes.
	Address string
	// Binary is the path of buildkitd.
	Binary string
	// Root is the folder of its layers, cache and network namespaces. It serves one daemon at a time.
	Root string
	// RunDir is the folder of its socket and configuration, made if missing; a path of at most 80 bytes.
	RunDir string
	// Runtime is the command that runs steps, called as runc is, such as {"runc"} or {"/usr/bin/skerryd", "buildkit-runtime", ...}.
	Runtime []string
	// RuntimeState is a folder that holds the runtime's state, to be cleaned up after it; may be empty.
	RuntimeState string
	// Mark begins the lines in which the runtime tells verdicts; see the package of the runtime. Empty: it tells none.
	Mark string
	// Cgroup is the name of the control group that has the groups of steps below; empty: there are none.
	Cgroup string
	// Bridge is the network of steps.
	Bridge bridge.Config
	// Guard keeps what the daemon itself fetches to the public internet; an empty name: nothing does.
	Guard bridge.Guard
	// Places are where the guard lets it go all the same; asked at each start. May be nil.
	Places func() []netip.AddrPort
	// Cache is what several builders share.
	Cache Cache
	// Registries are settings of registries by their host.
	Registries map[string]Registry
	// CNIPlugins is the folder of the CNI plugins; empty: DefaultCNIPlugins.
	CNIPlugins string
	// Nameservers are what steps resolve names with; empty: those of the host.
	Nameservers []string
	// CacheBytes and MinFreeBytes bound the layer cache; 0: DefaultCacheBytes, DefaultMinFreeBytes.
	CacheBytes, MinFreeBytes int64
	// Parallelism is how many steps run at a time; 0: no limit.
	Parallelism int
}

// Registry is how a registry is reached.
type Registry struct {
	// Mirrors are asked first, in order: "host:port" or "host:port/path".
	Mirrors []string
	// PlainHTTP says that it, or as a mirror, speaks HTTP without TLS.
	PlainHTTP bool
}

// Daemon is a buildkitd. Run keeps it running; Connect gives clients of it, and waits for it where need be.
type Daemon struct {
	config DaemonConfig
	log    *slog.Logger
	giving *lifecycle.Group // what goes on after builds have their images
	// Holds a token for each content that is being written for other builders.
	writers chan struct{}

	mu       sync.Mutex
	now      *serving
	stopping bool
}

// serving is the time from one start of the daemon to its end.
type serving struct {
	ready chan struct{} // closed once it serves
	gone  chan struct{} // closed when it has ended
}

func newServing() *serving { return &serving{ready: make(chan struct{}), gone: make(chan struct{})} }

// NewDaemon describes a daemon; nothing is started.
func NewDaemon(c DaemonConfig, log *slog.Logger) (*Daemon, error) {
	// The client's libraries would write past our log; what goes wrong comes back as errors too.
	containerdlog.L.Logger.SetOutput(io.Discard)
	d := &Daemon{config: c, log: log, now: newServing(), giving: lifecycle.NewGroup(context.Background()), writers: make(chan struct{}, maxWriters)}
	if c.Address != "" {
		close(d.now.ready)
		return d, nil
	}
	if len(c.Runtime) == 0 || c.Binary == "" || !filepath.IsAbs(c.Root) || !filepath.IsAbs(c.RunDir) {
		return nil, fault.New(fault.Invalid, "buildkitd: want its path, a runtime and absolute folders")
	}
	return d, nil
}

func (d *Daemon) address() string {
	if d.config.Address != "" {
		return d.config.Address
	}
	return socketAddress(d.config)
}

// Ready is closed while builds can be made. A daemon that is started again has a new channel.
func (d *Daemon) Ready() <-chan struct{} { return d.current().ready }

func (d *Daemon) current() *serving {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now
}

// connect returns a client once the daemon serves, and what tells of its end. The caller closes the client.
func (d *Daemon) connect(ctx context.Context) (*client.Client, *serving, error) {
	now := d.current()
	select {
	case <-now.ready:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("buildkitd: not ready: %w", context.Cause(ctx))
	}
	c, err := client.New(ctx, d.address())
	if err != nil {
		return nil, nil, fault.New(fault.Unavailable, "buildkitd %q: %w", d.address(), err)
	}
	return c, now, nil
}

// Run keeps the daemon running until ctx ends, and leaves nothing of it behind. What a killed one left is removed first. It returns an
// error if the daemon does not come up or keeps dying.
func (d *Daemon) Run(ctx context.Context) (err error) {
	stop := sync.OnceValue(func() error {
		d.mu.Lock()
		d.stopping = true
		d.mu.Unlock()
		return d.giving.Stop()
	})
	// At once, for buildkitd waits for them.
	defer context.AfterFunc(ctx, func() { _ = stop() })()
	defer func() { err = errors.Join(err, stop()) }()
	if d.config.Address != "" {
		<-ctx.Done()
		return nil
	}
	var deaths []time.Time
	for {
		served, death, err := d.runOnce(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if !served {
			return death
		}
		now := time.Now()
		deaths = append(deaths, now)
		for now.Sub(deaths[0]) > deathWindow {
			deaths = deaths[1:]
		}
		if len(deaths) > maxDeaths {
			return fmt.Errorf("died %d times within %s: %w", len(deaths), deathWindow, death)
		}
		d.log.Error("buildkitd died, starting it again", "err", death)
	}
}

// runOnce starts the daemon and waits for its end. It says whether the daemon served, and why it ended.
func (d *Daemon) runOnce(ctx context.Context) (served bool, death, err error) {
	if err := d.clean(false); err != nil {
		return false, nil, err
	}
	if err := d.prepare(); err != nil {
		return false, nil, errors.Join(err, d.clean(false))
	}
	group, err := d.guard()
	if err != nil {
		return false, nil, errors.Join(err, d.clean(false))
	}
	c := &child{config: d.config, log: d.log, group: group, serving: func() { served = true; close(d.current().ready) }}
	death = c.run(ctx)
	if group != nil {
		_ = group.Close() // nothing was written
	}
	err = d.clean(ctx.Err() != nil)
	if served {
		d.mu.Lock()
		ended := d.now
		d.now = newServing()
		d.mu.Unlock()
		close(ended.gone)
	}
	return served, death, err
}

// guard puts up the rules for what the daemon fetches. On a host that can't have them it says so and goes on: steps have rules of their own.
func (d *Daemon) guard() (*os.File, error) {
	if d.config.Guard.Name == "" {
		return nil, nil //nolint:nilnil // none is wanted
	}
	g := d.config.Guard
	if d.config.Places != nil {
		g.Allowed = d.config.Places()
	}
	group, err := g.Up()
	if errors.Is(err, bridge.ErrNoGuard) {
		d.log.Warn("registries and URLs that recipes name can be at private addresses", "err", err)
		return nil, nil //nolint:nilnil // there is none
	}
	return group, err
}

// child is one process of the daemon.
type child struct {
	config  DaemonConfig
	log     *slog.Logger
	group   *os.File // that the guard's rules are for; nil: none
	serving func()
	tail    []string
}

// servingLine is in the line that buildkitd writes when its socket listens.
const servingLine = "running server on"

func (c *child) run(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	exited := make(chan error, 1)
	started := make(chan *exec.Cmd, 1)
	go c.process(w, started, exited)
	cmd := <-started
	if cmd == nil {
		return errors.Join(<-exited, r.Close(), w.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	kill := time.AfterFunc(time.Hour, func() { _ = cmd.Process.Kill() })
	kill.Stop()
	defer kill.Stop()
	stopKill := context.AfterFunc(ctx, func() { kill.Reset(StopTimeout) })
	defer stopKill()
	readErr := c.read(r)
	err = errors.Join(<-exited, readErr, r.Close())
	if ctx.Err() != nil {
		return nil
	}
	return fault.New(fault.Unavailable, "ended (%v); its last lines: %s", err, strings.Join(c.tail, "; "))
}

// process starts buildkitd and waits for it, all on one thread, for the kernel ties the signal at a parent's death to the thread that
// made the child.
func (c *child) process(out *os.File, started chan<- *exec.Cmd, exited chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(c.config.Binary, "--config", configPath(c.config)) //nolint:gosec,noctx // run stops it, gently first
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if c.group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(c.group.Fd())
	}
	if err := cmd.Start(); err != nil {
		started <- nil
		exited <- err
		return
	}
	err := os.WriteFile(pidPath(c.config), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600)
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	started <- cmd
	err = errors.Join(err, cmd.Wait(), out.Close())
	exited <- err
}

// read follows what the daemon writes, until it and all that share its output have ended.
func (c *child) read(r io.Reader) error {
	const kept = 20
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		if c.tail = append(c.tail, text); len(c.tail) > kept {
			c.tail = c.tail[1:]
		}
		c.log.Debug("buildkitd", "line", text)
		if c.serving != nil && strings.Contains(text, servingLine) {
			c.serving()
			c.serving = nil
		}
	}
	return lines.Err()
}
