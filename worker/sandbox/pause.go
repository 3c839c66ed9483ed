package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

const (
	// pauseTimeout bounds a pause that nobody waits for.
	pauseTimeout = 5 * time.Minute
	// resumeTimeout bounds a resumption that a request to a paused sandbox causes; it goes on when the request is given up.
	resumeTimeout = 2 * time.Minute
)

// pausing is somebody who wants the sandbox paused.
type pausing struct {
	ctx  context.Context //nolint:containedctx // of the request, which waits for the answer
	done chan error
}

// Pause keeps the sandbox on the disk, under its own id, and gives back all else. One that is paused stays so. Errors: fault.Precondition if it has
// ended or can't be kept, fault.Exhausted, fault.Unavailable.
func (s *Sandbox) Pause(ctx context.Context) error {
	for {
		s.mu.Lock()
		state, moved := s.state, s.moved
		s.mu.Unlock()
		if err := s.hasNotEnded(); err != nil || state == command.Paused {
			return err
		}
		var life chan pausing
		if state == command.Running {
			life = s.pauses
		}
		request := pausing{ctx, make(chan error, 1)}
		select {
		case life <- request:
			if err := <-request.done; err != nil {
				return s.Explain(ctx, err)
			}
			return nil
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pause keeps what runs, which has ended then; on an error it goes on.
func (l *life) pause(ctx context.Context) error {
	l.left.Store(true) // the output goes on when it is resumed
	l.mu.Lock()
	l.Sandbox.box = nil // who comes now waits
	l.mu.Unlock()
	_, err := l.keep(ctx, l.box, l.spec.ID, false)
	if err == nil {
		return nil
	}
	l.left.Store(false)
	c, cancel := lifecycle.Detach(ctx, trustTimeout)
	defer cancel()
	return errors.Join(err, l.moveIn(c, l.box))
}

// takeIdle takes a sandbox away from those who come from now on, if it has been idle for too long.
func (l *life) takeIdle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spec.IdleTimeout == 0 || l.idleSince.IsZero() || !passed(l.idleSince.Add(l.spec.IdleTimeout)) {
		return false
	}
	l.Sandbox.box = nil
	return true
}

// pauseIdle pauses a sandbox that nobody uses; it returns the sandbox's end if that can't be.
func (l *life) pauseIdle() *command.End {
	c, cancel := context.WithTimeout(context.Background(), pauseTimeout)
	defer cancel()
	err := l.pause(c)
	if l.paused = err == nil; l.paused {
		return nil
	}
	return command.NewEnd(command.IdleTimeout, fmt.Sprintf("nobody has used it for its idle timeout of %s, and it could not be paused: %s", l.spec.IdleTimeout, err))
}

// rest gives all back that a paused sandbox does not need, and says that it is paused.
func (l *life) rest() {
	close(l.over)
	l.warn(l.group.Stop())
	c, cancel := context.WithTimeout(context.Background(), box.DeleteTimeout)
	defer cancel()
	l.warn(l.box.Delete(c))
	l.update(func() {
		l.state, l.idleSince, l.processes = command.Paused, time.Time{}, 0
		if !l.expires.IsZero() {
			l.remaining, l.expires = max(time.Second, time.Until(l.expires)), time.Time{}
		}
	})
	if l.waiting != nil {
		l.waiting <- nil
	}
}

// Renewal is what a resumed sandbox is given that is not kept on the disk; nil: as it was.
type Renewal struct{ Secrets *[]policy.Secret }

// Resume has a paused sandbox run on; it returns when it runs. One that runs goes on. Errors: fault.Precondition if it has ended, what starting a
// box returns: then it is still paused.
func (s *Sandbox) Resume(ctx context.Context, r Renewal) error {
	s.resuming.Lock()
	defer s.resuming.Unlock()
	if err := s.hasNotEnded(); err != nil {
		return err
	}
	if s.Status().State != command.Paused {
		return nil
	}
	if r.Secrets != nil {
		if err := s.changeNetwork(ctx, Change{Secrets: r.Secrets}); err != nil {
			return err
		}
	}
	dir, release, err := s.host.cfg.Snapshots.Dir(ctx, s.spec.ID, "")
	if err != nil {
		return err
	}
	b, err := s.host.cfg.Boxes.Start(ctx, s.boxSpec(dir))
	if err := errors.Join(err, release()); err != nil {
		return err
	}
	return s.goOn(ctx, b)
}

// goOn begins a life with a box that has been restored.
func (s *Sandbox) goOn(ctx context.Context, b *box.Box) error {
	s.host.mu.Lock()
	closed := s.host.closed
	if !closed {
		s.host.life.Add(1)
	}
	s.host.mu.Unlock()
	var err error
	if closed {
		err = fault.New(fault.Unavailable, "sandbox %q: the worker is stopping", s.spec.ID)
	} else if err = s.moveIn(ctx, b); err != nil {
		s.host.life.Done()
	}
	if err != nil {
		c, cancel := lifecycle.Detach(ctx, box.DeleteTimeout)
		defer cancel()
		return errors.Join(err, b.Delete(c))
	}
	s.mu.Lock()
	if s.remaining > 0 {
		s.expires, s.remaining = time.Now().Add(s.remaining), 0
	}
	s.mu.Unlock()
	running := make(chan struct{})
	go func() {
		defer s.host.life.Done()
		s.resumed(b, func() { close(running) })
	}()
	<-running
	return s.host.cfg.Snapshots.Drop(s.spec.ID) // it is recorded as running
}

// boxSpec says what the sandbox's box is made of; from is the folder of a checkpoint, or empty.
func (s *Sandbox) boxSpec(from string) box.Spec {
	s.mu.Lock()
	p := s.policy
	s.mu.Unlock()
	spec := box.Spec{
		ID: ident.New(ident.Box), Image: s.spec.Image, Mounts: s.spec.Mounts, Volumes: s.spec.Volumes, VolumesOf: s.spec.ID, Buckets: s.spec.Buckets,
		Network: p, Openable: !s.spec.Network.Block, DiskMiB: s.spec.DiskMiB, From: from,
		CPUMilli: s.spec.CPUMilli, CPULimitMilli: s.spec.CPULimitMilli, MemoryLimitMiB: s.spec.MemoryLimitMiB,
	}
	if s.spec.GatewayAccess {
		spec.Access = s.spec.ID
	}
	return spec
}

// endPaused ends a sandbox that is paused; false if it is not.
func (s *Sandbox) endPaused(end *command.End) (bool, error) {
	s.resuming.Lock()
	defer s.resuming.Unlock()
	if s.Status().State != command.Paused {
		return false, nil
	}
	s.ended(end)
	return true, s.host.cfg.Snapshots.Drop(s.spec.ID)
}
