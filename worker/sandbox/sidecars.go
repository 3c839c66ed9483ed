package sandbox

import (
	"context"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
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
	var err error
	base.Certificates, err = s.certificates()
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

// SeesVolume says how the sandbox, or with a name a sidecar of it, sees a volume, or with "" all of its: it is in use until that is released.
// A sidecar sees some volumes through the mounts of its sandbox. Errors: fault.NotFound, fault.Precondition if it has ended, fault.Unavailable.
func (s *Sandbox) SeesVolume(ctx context.Context, sidecar, volumeID string) (container.Seen, error) {
	g, release, err := s.Use(ctx)
	if err != nil {
		return container.Seen{}, err
	}
	seen := container.Seen{Release: release}
	wants := func(m container.VolumeMount) bool { return volumeID == "" || m.VolumeID == volumeID }
	through := map[string]bool{} // the sandbox's own mounts, by volume
	own, of := s.spec.ID, s.spec.Volumes
	if sidecar != "" {
		if own, of, err = s.sidecars.Volumes(sidecar); err != nil {
			release()
			return container.Seen{}, err
		}
	}
	for _, m := range of {
		switch {
		case !wants(m):
		case m.Showing(s.spec.Volumes) >= 0:
			through[m.VolumeID] = true
			seen.Mounts = append(seen.Mounts, container.MountsOf{ContainerID: s.spec.ID, VolumeID: m.VolumeID})
		default:
			seen.Mounts = append(seen.Mounts, container.MountsOf{ContainerID: own, VolumeID: m.VolumeID})
		}
	}
	var paths []string
	for _, m := range s.spec.Volumes {
		if through[m.VolumeID] {
			paths = append(paths, m.Path)
		}
	}
	seen.Views = append(s.sidecars.Views(func(id string, m container.VolumeMount) bool {
		if m.Showing(s.spec.Volumes) >= 0 {
			return through[m.VolumeID]
		}
		return id == own && wants(m)
	}), container.View{Inside: g, Paths: paths})
	return seen, nil
}
