// Package gvisor runs sandboxes with gVisor's runsc: one per container, an EROFS image as its root and a file as its writable layer.
package gvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
type Runtime struct{ cfg Config }

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

// Start boots a sandbox and returns when its PID 1 has been started. Nothing is left behind when it fails or ctx ends.
func (r *Runtime) Start(ctx context.Context, p container.SandboxParams) (container.Sandbox, error) {
	if err := r.writeBundle(p); err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.ID, err)
	}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	undo.Add(func() {
		c, cancel := lifecycle.Detach(ctx, DeleteTimeout)
		defer cancel()
		_ = r.remove(c, p.ID) // the start's own error says more
	})
	pidFile := filepath.Join(p.Dir, "sandbox.pid")
	if err := r.run(ctx, p, pidFile); err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.ID, err)
	}
	s, err := r.open(p, pidFile)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.ID, err)
	}
	undo.Release()
	return s, nil
}

func (r *Runtime) run(ctx context.Context, p container.SandboxParams, pidFile string) error {
	logs := filepath.Join(p.Dir, "runsc.log")
	var entering, ignore []string
	if p.MemoryLimitMiB == 0 && p.CPULimitMilli == 0 {
		// Limits are left to runsc, which shows them to the container as its memory and its number of processors.
		var err error
		entering, err = r.cfg.Cgroups.Entering(p.ID, cgroup.Limits{CPUMilli: p.CPUMilli, Processes: uint64(r.cfg.MaxProcesses)})
		if err != nil {
			return err
		}
		if entering != nil {
			ignore = []string{"--ignore-cgroups"}
		}
	}
	cmd := r.commandIn(ctx, entering, append(ignore,
		// The log gets fatal errors only, for without --debug there is nothing else.
		"--log="+logs, "--log-format=json", "--panic-log="+panicLog(p.Dir), "--overlay2=root:dir="+p.DiskDir,
		"run", "--detach", "--bundle", p.Dir, "--pid-file", pidFile, p.ID)...)
	// The sandbox keeps runsc's standard streams for as long as it lives, so they are /dev/null: a pipe would tie it to this process.
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("runsc run: %w: %s", err, fatalLines(logs))
	}
	return nil
}

func (r *Runtime) open(p container.SandboxParams, pidFile string) (*Sandbox, error) {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, fmt.Errorf("runsc: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("runsc: pid file: %w", err)
	}
	process, err := watch(pid)
	if err != nil {
		return nil, err
	}
	return &Sandbox{runtime: r, id: p.ID, dir: p.Dir, pid: pid, process: process}, nil
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
	)
	line = append(line, args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...) //nolint:gosec // our own words
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return cmd
}

// remove clears away all that runsc keeps of a sandbox, killing it if it lives. A sandbox that is not there is no error.
func (r *Runtime) remove(ctx context.Context, id string) error {
	out, err := r.command(ctx, "delete", "--force", id).CombinedOutput()
	if err != nil {
		return fmt.Errorf("runsc delete: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return r.cfg.Cgroups.Remove(ctx, id)
}

// List returns the ids of all sandboxes that this instance has started and not deleted, also those of an earlier process.
func (r *Runtime) List(ctx context.Context) ([]string, error) {
	out, err := r.command(ctx, "list", "--quiet").Output()
	if err != nil {
		return nil, fmt.Errorf("runsc list: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// Reap kills and deletes all sandboxes that an earlier process of this instance left, except those in keep.
func (r *Runtime) Reap(ctx context.Context, keep map[string]bool) error {
	ids, err := r.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if !keep[id] {
			errs = append(errs, r.remove(ctx, id))
		}
	}
	// A runsc that was killed half way leaves processes that have no state file yet; they are in our cgroups.
	errs = append(errs, r.cfg.Cgroups.Reap(ctx, keep))
	if len(keep) == 0 {
		errs = append(errs, r.clear())
	}
	return errors.Join(errs...)
}

// Close gives back what sandboxes share. All of them have been deleted.
func (r *Runtime) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), DeleteTimeout)
	defer cancel()
	return errors.Join(r.cfg.Cgroups.Reap(ctx, nil), r.clear(), r.cfg.Cgroups.Prune())
}

// clear empties the state folder.
func (r *Runtime) clear() error {
	// runsc keeps one empty network namespace for all gofers, bound to a file; two that start at once bind it on top of one another.
	path := filepath.Join(r.cfg.StateDir, "null-netns")
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.RemoveAll(r.cfg.StateDir); err != nil {
		return fmt.Errorf("runsc state: %w", err)
	}
	return os.MkdirAll(r.cfg.StateDir, 0o700)
}

// Sandbox is a booted sandbox.
type Sandbox struct {
	runtime *Runtime
	id, dir string
	pid     int
	process *process
	deleted sync.Once
	err     error
}

// PID returns the sandbox's process on the host.
func (s *Sandbox) PID() int { return s.pid }

// Done is closed when the sandbox's process has ended.
func (s *Sandbox) Done() <-chan struct{} { return s.process.done }

// Kill ends the sandbox and all in it at once; Done follows.
func (s *Sandbox) Kill() error {
	if err := s.process.kill(); err != nil {
		return fmt.Errorf("sandbox %q: kill: %w", s.id, err)
	}
	return nil
}

// Delete kills the sandbox, waits for its end and removes its state and cgroups. It works once; later calls return the first result.
func (s *Sandbox) Delete(ctx context.Context) error {
	s.deleted.Do(func() { s.err = s.delete(ctx) })
	return s.err
}

func (s *Sandbox) delete(ctx context.Context) error {
	if err := s.Kill(); err != nil {
		return err
	}
	select {
	case <-s.process.done:
	case <-ctx.Done():
		return fmt.Errorf("sandbox %q: process %d does not end: %w", s.id, s.pid, context.Cause(ctx))
	}
	if err := s.runtime.remove(ctx, s.id); err != nil {
		return fmt.Errorf("sandbox %q: %w", s.id, err)
	}
	return nil
}

// UsedUp tells what the sandbox has run out of, if anything. Only before Delete.
func (s *Sandbox) UsedUp() (container.Resource, error) {
	oom, err := s.runtime.cfg.Cgroups.OOM(s.id)
	switch {
	case err != nil:
		return container.Nothing, err
	case oom.Kills > 0 && oom.Shared:
		return container.WorkerMemory, nil
	case oom.Kills > 0:
		return container.OwnMemory, nil
	}
	// The sentry can't go on without a thread that it needs.
	refused, err := s.runtime.cfg.Cgroups.RefusedForks(s.id)
	if err != nil || refused == 0 {
		return container.Nothing, err
	}
	return container.Processes, nil
}

// Crash returns what the sentry wrote when it crashed, or "".
func (s *Sandbox) Crash() string { return fatalLines(panicLog(s.dir)) }

func panicLog(dir string) string { return filepath.Join(dir, "panic.log") }

// maxDiagnosis bounds what of a log ends up in an error.
const maxDiagnosis = 2000

// fatalLines returns the messages of a log of runsc, or its beginning if it is plain text.
func fatalLines(path string) string {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	var messages []string
	for line := range strings.Lines(string(data)) {
		var entry struct {
			Message string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message != "" {
			messages = append(messages, entry.Message)
		}
	}
	text := strings.Join(messages, "; ")
	if text == "" {
		text = strings.TrimSpace(string(data))
	}
	return text[:min(len(text), maxDiagnosis)]
}
