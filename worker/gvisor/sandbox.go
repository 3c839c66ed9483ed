package gvisor

import (
	"context"
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/pidfd"
)

// Sandbox is a booted sandbox, and the container that it was booted with. It is safe for concurrent use.
type Sandbox struct {
	place
	dir     string
	pid     int
	process *pidfd.Process
	deleted sync.Once
	err     error
}

// PID returns the sandbox's process on the host.
func (s *Sandbox) PID() int { return s.pid }

// Done is closed when the sandbox's process has ended.
func (s *Sandbox) Done() <-chan struct{} { return s.process.Done() }

// Kill ends the sandbox and all in it at once; Done follows.
func (s *Sandbox) Kill() error {
	if err := s.process.Kill(); err != nil {
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
	case <-s.process.Done():
	case <-ctx.Done():
		return fmt.Errorf("sandbox %q: process %d does not end: %w", s.id, s.pid, context.Cause(ctx))
	}
	if err := s.runtime.remove(ctx, s.id); err != nil {
		return fmt.Errorf("sandbox %q: %w", s.id, err)
	}
	return nil
}

// Limits are what a sandbox may use, in thousandths of a core and MiB. Zero leaves what it was booted with.
type Limits struct{ CPUMilli, CPULimitMilli, MemoryLimitMiB uint32 }

// Limit sets the limits of a sandbox that runs, as when one is claimed that was booted ahead. What it shows inside as its memory and its
// processors stays what it was booted with. Errors: fault.Precondition for a sandbox that has run into a limit before, which could not be
// told apart from doing so later.
func (s *Sandbox) Limit(l Limits) error {
	groups := s.runtime.cfg.Cgroups
	used, err := s.UsedUp()
	if err != nil {
		return err
	}
	if used != container.Nothing {
		return fault.New(fault.Precondition, "sandbox %q: it has run into a limit already", s.id)
	}
	limits := cgroup.Limits{CPUMilli: l.CPUMilli}
	if l.MemoryLimitMiB > 0 {
		limits.MemoryBytes = uint64(l.MemoryLimitMiB+MemoryOverheadMiB) << 20
	}
	if _, err := groups.Hold(s.id, limits, l.CPULimitMilli); err != nil {
		return fmt.Errorf("sandbox %q: %w", s.id, err)
	}
	return groups.ForgetMisses(s.id)
}

// UsedUp tells what the sandbox has run out of, if anything. Only before Delete.
func (s *Sandbox) UsedUp() (container.Resource, error) { return s.runtime.usedUp(s.id) }

func (r *Runtime) usedUp(id string) (container.Resource, error) {
	oom, err := r.cfg.Cgroups.OOM(id)
	switch {
	case err != nil:
		return container.Nothing, err
	case oom.Kills > 0 && oom.Shared:
		return container.WorkerMemory, nil
	case oom.Kills > 0:
		return container.OwnMemory, nil
	}
	// The sentry can't go on without a thread that it needs.
	refused, err := r.cfg.Cgroups.RefusedForks(id)
	if err != nil || refused == 0 {
		return container.Nothing, err
	}
	return container.Processes, nil
}

// Crash returns what the sentry wrote when it crashed, or "".
func (s *Sandbox) Crash() string { return fatalLines(panicLog(s.dir)) }
