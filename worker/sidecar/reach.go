package sidecar

import (
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
)

// Guest returns the link to a sidecar's init, waiting while it starts. Errors: fault.NotFound, fault.Precondition if it has ended,
// fault.Unavailable.
func (s *Set) Guest(ctx context.Context, name string) (box.Guest, error) {
	c, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return c.guest(ctx)
}

func (c *Sidecar) guest(ctx context.Context) (box.Guest, error) {
	for {
		c.mu.Lock()
		inner, moved := c.inner, c.moved
		c.mu.Unlock()
		if err := c.hasEnded(); err != nil {
			return nil, err
		}
		if inner != nil {
			g, err := inner.Guest(ctx)
			if err == nil || ctx.Err() != nil {
				return g, err
			}
		}
		select { // it starts, or its end is about to be known
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Explain returns why a sidecar has ended where that is why err has come of its use, else err. It waits for an end that is under way.
func (s *Set) Explain(ctx context.Context, name string, err error) error {
	c, missing := s.find(name)
	if missing != nil {
		return missing
	}
	return c.explain(ctx, err)
}

func (c *Sidecar) explain(ctx context.Context, err error) error {
	for {
		c.mu.Lock()
		inner, ending, moved := c.inner, c.ending != nil, c.moved
		c.mu.Unlock()
		if ended := c.hasEnded(); ended != nil {
			return ended
		}
		if inner != nil && !ending {
			select {
			case <-inner.Done():
			default:
				return err
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return err
		}
	}
}

// Volumes are those of a sidecar, and its id. Errors: fault.NotFound, fault.Precondition if it has ended.
func (s *Set) Volumes(name string) (id string, mounts []container.VolumeMount, err error) {
	c, err := s.find(name)
	if err == nil {
		err = c.hasEnded()
	}
	if err != nil {
		return "", nil, err
	}
	return c.spec.ID, c.spec.Volumes, nil
}

// Views are where those that run see the volumes that of tells, which is asked for each of theirs.
func (s *Set) Views(of func(containerID string, m container.VolumeMount) bool) (views []container.View) {
	for _, c := range s.list() {
		if state, _ := c.status(); state.State != command.Running {
			continue // one that starts has nothing open yet
		}
		var paths []string
		for _, m := range c.spec.Volumes {
			if of(c.spec.ID, m) {
				paths = append(paths, m.Path)
			}
		}
		if len(paths) > 0 {
			views = append(views, container.View{Inside: c, Paths: paths})
		}
	}
	return views
}

// Trust has those that have not ended trust certificate authorities, also those that start.
func (s *Set) Trust(ctx context.Context, certificates string) error {
	for _, c := range s.list() {
		g, err := c.guest(ctx)
		if err == nil {
			if err = g.Trust(ctx, certificates); err != nil {
				err = c.explain(ctx, err)
			}
		}
		if err != nil && c.hasEnded() == nil {
			return fmt.Errorf("sidecar %q: %w", c.spec.Name, err)
		}
	}
	return nil
}

var _ container.Inside = (*Sidecar)(nil)

// OpenFiles implements container.Inside. One that has ended has none.
func (c *Sidecar) OpenFiles(ctx context.Context, paths []string) ([]container.OpenFile, error) {
	g, err := c.guest(ctx)
	if err == nil {
		var open []container.OpenFile
		if open, err = g.OpenFiles(ctx, paths); err == nil {
			return open, nil
		}
		err = c.explain(ctx, err)
	}
	if c.hasEnded() != nil {
		return nil, nil //nolint:nilerr // that is why
	}
	return nil, err
}
