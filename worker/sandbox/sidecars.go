package sandbox

import (
	"context"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/sidecar"
)

// Sidecars are the sandbox's further containers.
func (s *Sandbox) Sidecars() *sidecar.Set { return s.sidecars }

// StartSidecar starts a further container, waiting while the sandbox starts, and resuming it if it is paused. Errors: fault.Precondition if it
// has ended, and those of sidecar.Set.
func (s *Sandbox) StartSidecar(ctx context.Context, spec sidecar.Spec) error {
	_, release, err := s.Use(ctx)
	if err != nil {
		return err
	}
	defer release()
	b, err := s.running(ctx)
	if err != nil {
		return err
	}
	return s.sidecars.Start(b, spec)
}

// UseSidecar is Use of the init of a sidecar. Errors: as Use, fault.NotFound.
func (s *Sandbox) UseSidecar(ctx context.Context, name string) (g box.Guest, release func(), err error) {
	if err := s.hasNotEnded(); err != nil {
		return nil, nil, err
	}
	s.use(1)
	if g, err = s.sidecars.Guest(ctx, name); err != nil {
		s.use(-1)
		return nil, nil, err
	}
	return g, func() { s.use(-1) }, nil
}

// base is what sidecars have of the sandbox.
func (s *Sandbox) base() (sidecar.Base, error) {
	base := sidecar.Base{Env: s.spec.own()}
	s.mu.Lock()
	trusting := len(s.policy.Secrets) > 0
	s.mu.Unlock()
	if !trusting {
		return base, nil
	}
	pem, err := s.host.cfg.Authority()
	base.Certificates = string(pem)
	return base, err
}

// alone refuses what can't be done while further containers run. Errors: fault.Precondition.
func (s *Sandbox) alone() error {
	if names := s.sidecars.Running(); len(names) > 0 {
		return fault.New(fault.Precondition, "sandbox %q: its memory can't be kept while sidecars run (%s); terminate them first",
			s.spec.ID, strings.Join(names, ", "))
	}
	return nil
}
