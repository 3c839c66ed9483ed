// Package gvisor runs sandboxes with gVisor's runsc: one per container, an EROFS image as its root and a file as its writable layer.
package gvisor

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
)

// DeleteTimeout bounds how long a dead sandbox may take to be cleared away.
const DeleteTimeout = 20 * time.Second

// Config says how to run runsc. Fields without a default are needed.
type Config struct {
	Runsc    string          // path of the binary
	StateDir string          // runsc's --root; belongs to this instance alone
	Cgroups  *cgroup.Subtree // where sandboxes are put

	MaxProcesses int64 // bounds host tasks of each sandbox; default DefaultMaxProcesses
}

// Runtime starts sandboxes. It is safe for concurrent use.
type Runtime struct {
	cfg   Config
	pause sync.Mutex // of the image of sandboxes that have none
}

var _ container.Sandboxes = (*Runtime)(nil)

// New checks the configuration and makes the state folder.
func New(cfg Config) (*Runtime, error) {
	info, err := os.Stat(cfg.Runsc)
	if err != nil {
		return nil, fmt.Errorf("runsc: %w; run make build or set SKERRY_RUNSC", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("runsc: %s is not a program", cfg.Runsc)
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("runsc: %w", err)
	}
	if cfg.MaxProcesses <= 0 {
		cfg.MaxProcesses = DefaultMaxProcesses
	}
	return &Runtime{cfg: cfg}, nil
}

// Version names the version of gVisor and the kind of machine: a checkpoint is restored by the same alone.
func (r *Runtime) Version() (string, error) {
	info, err := buildinfo.ReadFile(r.cfg.Runsc)
	if err != nil {
		return "", fmt.Errorf("runsc: %w", err)
	}
	return info.Main.Path + " " + info.Main.Version + " " + runtime.GOARCH, nil
}

// Start implements container.Sandboxes by Launch.
func (r *Runtime) Start(ctx context.Context, p container.SandboxParams) (container.Sandbox, error) {
	s, err := r.Launch(ctx, p)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Launch boots a sandbox with an image and returns when its PID 1 has been started. Nothing is left behind when it fails or ctx ends.
func (r *Runtime) Launch(ctx context.Context, p container.SandboxParams) (*Sandbox, error) {
	return r.start(ctx, p, r.rootSpec(p), "run", "--detach")
}

// start boots a sandbox by a command of runsc that makes its first container.
func (r *Runtime) start(ctx context.Context, p container.SandboxParams, spec *specs.Spec, command ...string) (*Sandbox, error) {
	if err := writeBundle(p.Dir, spec); err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.ID, err)
	}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	undo.Add(func() {
		c, cancel := lifecycle.Detach(ctx, DeleteTimeout)
		defer cancel()
		_ = r.remove(c, p.ID) // the start's own error says more
	})
	if err := r.run(ctx, p, command...); err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.ID, err)
	}
	s, err := r.open(p.ID, p.Dir)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.ID, err)
	}
	undo.Release()
	return s, nil
}

func (r *Runtime) run(ctx context.Context, p container.SandboxParams, command ...string) error {
	var entering, flags []string
	if p.MemoryLimitMiB == 0 && p.CPULimitMilli == 0 {
		// Limits are left to runsc, which shows them to the container as its memory and its number of processors.
		var err error
		entering, err = r.cfg.Cgroups.Entering(p.ID, cgroup.Limits{CPUMilli: p.CPUMilli, Processes: uint64(r.cfg.MaxProcesses)})
		if err != nil {
			return err
		}
		if entering != nil {
			flags = []string{"--ignore-cgroups"}
		}
	}
	return r.make(ctx, p.ID, p, entering, flags, command)
}

// make has runsc make a container of a bundle.
func (r *Runtime) make(ctx context.Context, id string, p container.SandboxParams, entering, flags, command []string) error {
	logs := filepath.Join(p.Dir, "runsc.log")
	if err := unlink(filepath.Join(p.Dir, haltedName)); err != nil { // of a sandbox that was here before
		return err
	}
	flags = append(flags,
		// The log gets fatal errors only, for without --debug there is nothing else.
		"--log="+logs, "--log-format=json", "--panic-log="+panicLog(p.Dir), "--overlay2=root:dir="+p.DiskDir)
	flags = append(flags, command...)
	cmd := r.commandIn(ctx, entering, append(flags, "--bundle", p.Dir, "--pid-file", filepath.Join(p.Dir, pidName), id)...)
	// The sandbox keeps runsc's standard streams for as long as it lives, so they are /dev/null: a pipe would tie it to this process.
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("runsc: %w: %s", err, fatalLines(logs))
	}
	return nil
}

func (r *Runtime) command(ctx context.Context, args ...string) *exec.Cmd {
	return r.commandIn(ctx, nil, args...)
}

// commandIn is runsc with words before it.
func (r *Runtime) commandIn(ctx context.Context, before []string, args ...string) *exec.Cmd {
	line := append(slices.Clone(before),
		r.cfg.Runsc,
		"--root="+r.cfg.StateDir, "--platform=systrap", "--network=sandbox", "--host-uds=open",
		// Bound trees are immutable, and sockets are made before the sandbox: no need to ask the host again at every look.
		"--file-access-mounts=exclusive",
		// Restores find images and folders where they are then.
		"--restore-spec-validation=warning",
	)
	line = append(line, args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...) //nolint:gosec // our own words
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}
