package container

import (
	"context"
	"fmt"
)

// Ahead has sandboxes that were booted before somebody needs them. Implemented by worker/pool.
type Ahead interface {
	// Take returns one that nobody has, or nil. It is the caller's, to be deleted and its endpoint to be released.
	Take() Booted
}

// Booted is a sandbox without a container, at an endpoint of an open network and without limits.
type Booted interface {
	Endpoint() *Endpoint
	// Add starts the sandbox's one container and returns when its PID 1 has been started. Of the parameters it takes no limits but the weight, and
	// neither namespace nor host name. The sandbox that comes back ends when it is killed or crashes, not with its PID 1.
	Add(ctx context.Context, p SandboxParams) (Sandbox, error)
	// Delete kills it and removes all that belongs to it but the endpoint. It works once; later calls return the first result.
	Delete(ctx context.Context) error
}

// fitsAhead says whether a sandbox that was booted ahead can be the container's: limits are shown inside as they are at the boot, a network that
// is blocked has no interface, and how volumes are looked at is said at the boot.
func (s *Spec) fitsAhead() bool {
	return !s.BlockNetwork && s.CPULimitMilli == 0 && s.MemoryLimitMiB == 0 && len(s.Volumes) == 0
}

// acquire takes a place on the network, with a sandbox that waits there if there is one that is good for the container.
func (l *life) acquire(ctx context.Context) error {
	if l.host.cfg.Ahead != nil && l.spec.fitsAhead() {
		if l.booted = l.host.cfg.Ahead.Take(); l.booted != nil {
			l.endpoint = l.booted.Endpoint()
			return nil
		}
	}
	e, err := l.host.cfg.Network.Acquire(ctx, l.spec.ID, l.spec.BlockNetwork)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	l.endpoint = e
	return nil
}

// startSandbox boots the container's sandbox, or adds it to the one that was booted ahead.
func (l *life) startSandbox(ctx context.Context) (Sandbox, error) {
	if l.booted != nil {
		return l.booted.Add(ctx, l.params())
	}
	return l.host.cfg.Sandboxes.Start(ctx, l.params())
}

func (l *life) deleteBooted() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	if err := l.booted.Delete(ctx); err != nil {
		l.failed = append(l.failed, fmt.Errorf("container %q: %w", l.spec.ID, err))
	}
}
