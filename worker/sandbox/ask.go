package sandbox

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/worker/box"
)

// Usage is what a sandbox uses. Limits of 0 are the worker's.
type Usage struct {
	CPUTime       time.Duration
	CPULimitMilli uint32

	MemoryBytes, MemoryLimitBytes uint64
	box.Usage
}

// Usage says what it uses. Errors: fault.Precondition if it has ended, fault.Unavailable.
func (s *Sandbox) Usage(ctx context.Context) (Usage, error) {
	b, err := s.running(ctx)
	if err != nil {
		return Usage{}, err
	}
	g, err := b.Guest(ctx)
	if err != nil {
		return Usage{}, err
	}
	inside, err := g.Usage(ctx)
	if err != nil {
		return Usage{}, err
	}
	traffic, err := b.Traffic() // gVisor's own counters stay at 0
	if err != nil {
		return Usage{}, err
	}
	inside.ReceivedBytes, inside.SentBytes = traffic.Received, traffic.Sent
	cpu, memory, err := s.host.cfg.Groups.Usage(b.ID())
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		CPUTime: cpu, CPULimitMilli: s.spec.CPULimitMilli, MemoryBytes: memory, MemoryLimitBytes: uint64(s.spec.MemoryLimitMiB) << 20, Usage: inside,
	}, nil
}

// Seal puts an environment for processes into the sandbox, waiting while it starts. Errors: fault.Precondition if it has ended,
// fault.Exhausted if it has too many, fault.Unavailable.
func (s *Sandbox) Seal(ctx context.Context, environmentID string, variables map[string]string) error {
	g, release, err := s.Use(ctx)
	if err != nil {
		return err
	}
	defer release()
	return g.Seal(ctx, environmentID, variables)
}
