package gvisor

import (
	"context"
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/worker/container"
)

// Sandbox is a booted sandbox, and the container that it was booted with. It is safe for concurrent use.
type Sandbox struct {
	place
	dir     string
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
