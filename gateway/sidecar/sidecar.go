// Package sidecar is the noun of further containers in sandboxes, which have files and processes of their own and share the network, the limits
// and the end of their sandbox. Their worker knows them; the gateway keeps how they ended, with their sandbox's end.
package sidecar

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Main is the name that no sidecar has: it means the sandbox itself.
const Main = "main"

// startLimit is how long a sandbox that starts is waited for.
const startLimit = sandbox.MaxWait

// Sidecar is a further container as it is at a moment.
type Sidecar struct {
	ID, Name, ImageID string
	State             sandbox.State
	End               *sandbox.End
}

// Spec is a sidecar for a worker to start. SecretEnv is not for logs.
type Spec struct {
	SandboxID, ID, Name string
	Definition          sandbox.Definition
	Image               sandbox.Image
	SecretEnv           map[string]string
}

// Worker has sidecars. Implemented by gateway/workerlink. Errors of all: fault.NotFound, fault.Unavailable.
type Worker interface {
	// StartSidecar starts one, or does nothing where it is there. Errors: fault.Exists (the name), fault.Precondition, fault.Exhausted.
	StartSidecar(ctx context.Context, spec Spec) error
	// Sidecars lists those of a sandbox, oldest first, also those that have ended.
	Sidecars(ctx context.Context, sandboxID string) ([]Sidecar, error)
	// WaitSidecar returns one once it has ended, or as it is after limit.
	WaitSidecar(ctx context.Context, sandboxID, name string, limit time.Duration) (Sidecar, error)
	// StopSidecar ends one.
	StopSidecar(ctx context.Context, sandboxID, name string) error
}

// Workers finds workers. Implemented in gateway/server.
type Workers interface {
	// SidecarsOf returns a linked worker, or a fault.Unavailable.
	SidecarsOf(workerID string) (Worker, error)
}

// Deps are the parts of a Service. All are required.
type Deps struct {
	Sandboxes *sandbox.Service
	Workers   Workers
	Images    sandbox.Images
	Secrets   sandbox.Secrets
	Trees     sandbox.Trees
	Volumes   sandbox.Volumes
}

// Service makes, finds and ends sidecars. It is safe for concurrent use.
type Service struct{ d Deps }

// New returns a Service.
func New(d Deps) *Service { return &Service{d: d} }

func (s *Service) worker(ctx context.Context, sandboxID string) (Worker, sandbox.Sandbox, error) {
	sb, err := s.d.Sandboxes.WaitStarted(ctx, sandboxID, startLimit)
	if err != nil {
		return nil, sb, err
	}
	workerID, sb, err := s.d.Sandboxes.Locate(ctx, sandboxID)
	if err != nil {
		return nil, sb, err
	}
	w, err := s.d.Workers.SidecarsOf(workerID)
	return w, sb, err
}

// check refuses what a sidecar can't be, and returns the definition with defaults.
func check(sandboxID, id, name string, d sandbox.Definition) (sandbox.Definition, error) {
	if err := ident.Check(ident.Sandbox, sandboxID); err != nil {
		return d, err
	}
	if err := ident.Check(ident.Sidecar, id); err != nil {
		return d, err
	}
	if err := ident.CheckName("sidecar", name); err != nil {
		return d, err
	}
	if name == Main {
		return d, fault.New(fault.Invalid, "sidecar %q: that is the sandbox's own name", name)
	}
	if name == "." || name == ".." { // names are parts of paths
		return d, fault.New(fault.Invalid, "sidecar %q: want a name with letters or digits", name)
	}
	rest := d
	rest.Argv, rest.ImageID, rest.Env, rest.SecretIDs, rest.Workdir, rest.PTY, rest.Mounts, rest.Volumes = nil, "", nil, nil, "", false, nil, nil
	n := rest.Network
	bare := rest.Name == "" && len(rest.Tags) == 0 && rest.Timeout == 0 && rest.IdleTimeout == 0 && rest.Resources == (function.Resources{}) &&
		!n.Block && n.OutboundCIDRs == nil && n.OutboundDomains == nil && n.InboundCIDRs == nil && len(rest.Ports) == 0 && rest.Probe == nil &&
		len(rest.Buckets) == 0 && len(rest.Egress) == 0 && rest.Owner == "" && !rest.GatewayAccess && rest.CustomDomain == ""
	if !bare {
		return d, fault.New(fault.Invalid, "sidecar %q: only command, image, environment, secrets, workdir, terminal, mounts and volumes are its own; the rest is its sandbox's", name)
	}
	return d.Checked()
}

// Create starts a sidecar and returns once its worker has taken it. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Precondition,
// fault.Exhausted.
func (s *Service) Create(ctx context.Context, sandboxID, id, name string, d sandbox.Definition) (Sidecar, error) {
	d, err := check(sandboxID, id, name, d)
	if err != nil {
		return Sidecar{}, err
	}
	w, sb, err := s.worker(ctx, sandboxID)
	if err != nil {
		return Sidecar{}, err
	}
	spec := Spec{SandboxID: sandboxID, ID: id, Name: name, Definition: d}
	if spec.Image, err = s.d.Images.SandboxImage(ctx, d.ImageID); err != nil {
		return Sidecar{}, err
	}
	for _, m := range d.Mounts {
		if err := s.d.Trees.Check(ctx, m.TreeDigest); err != nil {
			return Sidecar{}, err
		}
	}
	for _, m := range d.Volumes {
		if err := s.d.Volumes.CheckVolume(ctx, sb.Environment, m.VolumeID); err != nil {
			return Sidecar{}, err
		}
	}
	if len(d.Argv) == 0 {
		spec.Definition.Argv = append(slices.Clone(spec.Image.Entrypoint), spec.Image.Cmd...)
	}
	if spec.SecretEnv, err = s.d.Secrets.Variables(ctx, sb.AppID, d.SecretIDs); err != nil {
		return Sidecar{}, err
	}
	if err := w.StartSidecar(ctx, spec); err != nil {
		return Sidecar{}, err
	}
	return w.WaitSidecar(ctx, sandboxID, name, 0)
}

// of asks the worker of a sandbox. Once the sandbox has ended its worker forgets it: then its sidecars are what is recorded of them.
func (s *Service) of(ctx context.Context, sandboxID string, ask func(w Worker) error) (ended bool, list []Sidecar, err error) {
	w, sb, err := s.worker(ctx, sandboxID)
	if err == nil {
		if err = ask(w); !errors.Is(err, fault.NotFound) {
			return false, nil, err
		}
		var missing error
		if sb, missing = s.d.Sandboxes.Get(ctx, sandboxID); missing != nil {
			return false, nil, missing
		}
	}
	if sb.State != sandbox.Ended {
		return false, nil, err
	}
	for _, c := range sb.Sidecars {
		list = append(list, Sidecar{ID: c.ID, Name: c.Name, ImageID: c.ImageID, State: sandbox.Ended, End: &c.End})
	}
	return true, list, nil
}

// List lists a sandbox's sidecars, oldest first. Errors: fault.NotFound.
func (s *Service) List(ctx context.Context, sandboxID string, withEnded bool) (list []Sidecar, err error) {
	ended, recorded, err := s.of(ctx, sandboxID, func(w Worker) (err error) {
		list, err = w.Sidecars(ctx, sandboxID)
		return err
	})
	if ended {
		list = recorded
	}
	if withEnded {
		return list, err
	}
	return slices.DeleteFunc(list, func(c Sidecar) bool { return c.State == sandbox.Ended }), err
}

// Wait returns a sidecar once it has ended, or as it is after limit. Errors: fault.NotFound, also where its sandbox has ended and nothing is known
// of its sidecars: those of a lost worker.
func (s *Service) Wait(ctx context.Context, sandboxID, name string, limit time.Duration) (c Sidecar, err error) {
	if err := ident.CheckName("sidecar", name); err != nil {
		return Sidecar{}, err
	}
	ended, recorded, err := s.of(ctx, sandboxID, func(w Worker) (err error) {
		c, err = w.WaitSidecar(ctx, sandboxID, name, limit)
		return err
	})
	if !ended {
		return c, err
	}
	for _, c := range slices.Backward(recorded) {
		if c.Name == name {
			return c, nil
		}
	}
	return Sidecar{}, fault.New(fault.NotFound, "sidecar %q: sandbox %q has ended, and nothing is known of one of that name", name, sandboxID)
}

// Terminate ends a sidecar, and with wait returns when it has ended. Errors: fault.NotFound.
func (s *Service) Terminate(ctx context.Context, sandboxID, name string, wait bool) (Sidecar, error) {
	c, err := s.Wait(ctx, sandboxID, name, 0)
	if err != nil || c.State == sandbox.Ended {
		return c, err
	}
	if _, _, err := s.of(ctx, sandboxID, func(w Worker) error { return w.StopSidecar(ctx, sandboxID, name) }); err != nil {
		return c, err
	}
	for wait && c.State != sandbox.Ended {
		if c, err = s.Wait(ctx, sandboxID, name, sandbox.MaxWait); err != nil {
			return c, err
		}
	}
	return c, nil
}
