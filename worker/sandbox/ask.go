package sandbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/network/policy"
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

// changeNetwork changes what the sandbox may reach, one change after the other. A box that is not there yet gets it when it is.
func (s *Sandbox) changeNetwork(ctx context.Context, c Change) error {
	s.policing.Lock()
	defer s.policing.Unlock()
	s.mu.Lock()
	p, b := s.policy, s.box
	s.mu.Unlock()
	if c.Network != nil {
		secrets := p.Secrets
		p = *c.Network
		p.Secrets = secrets
	}
	if c.Secrets != nil {
		p.Secrets = *c.Secrets
	}
	if _, err := p.Normal(); err != nil {
		return fmt.Errorf("sandbox %q: %w", s.spec.ID, err)
	}
	if b != nil {
		if err := s.trust(ctx, b, p); err != nil {
			return err
		}
		if err := b.SetPolicy(p); err != nil {
			return fmt.Errorf("sandbox %q: %w", s.spec.ID, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy, s.repoliced = p, b == nil
	return nil
}

// moveIn has a box be the sandbox's, with its policy: from now on clients may use it, whether or not its command runs already.
func (s *Sandbox) moveIn(ctx context.Context, b *box.Box) error {
	s.policing.Lock()
	defer s.policing.Unlock()
	s.mu.Lock()
	p, changed := s.policy, s.repoliced
	s.mu.Unlock()
	if changed {
		if err := s.trust(ctx, b, p); err != nil {
			return err
		}
		if err := b.SetPolicy(p); err != nil {
			return fmt.Errorf("network policy: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.box = b
	s.move()
	return nil
}

// certificates are the authorities that its programs trust besides those of images: those that open HTTPS for secrets, where it has any.
func (s *Sandbox) certificates() (string, error) {
	s.mu.Lock()
	trusts := s.trusts || len(s.policy.Secrets) > 0
	s.mu.Unlock()
	if !trusts {
		return "", nil
	}
	pem, err := s.host.cfg.Authority()
	return string(pem), err
}

// trustTimeout bounds what inits may take to have an authority trusted: other changes of the policy wait for it.
const trustTimeout = 10 * time.Second

// trust has programs trust what opens HTTPS for secrets that come to a sandbox which began without: those that begin from now on, in its sidecars too.
func (s *Sandbox) trust(ctx context.Context, b *box.Box, p policy.Policy) error {
	s.mu.Lock()
	needless := len(p.Secrets) == 0 || len(s.spec.Network.Secrets) > 0
	s.trusts = s.trusts || !needless // whatever starts meanwhile does by itself
	s.mu.Unlock()
	if needless {
		return nil
	}
	pem, err := s.certificates()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, trustTimeout)
	defer cancel()
	g, err := b.Guest(ctx)
	if err == nil {
		err = g.Trust(ctx, pem)
	}
	if err == nil {
		err = s.sidecars.Trust(ctx, pem)
	}
	if errors.Is(err, fault.Unimplemented) {
		return fault.New(fault.Unimplemented, "sandbox %q: began with a release that can't give it secrets later; make another one with them", s.spec.ID)
	}
	return err
}
