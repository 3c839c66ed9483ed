// Package sandboxrpc serves skerry.guest.v1.SandboxService: what a worker needs of a container that is a sandbox.
package sandboxrpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1/guestv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit/mounts"
	"github.com/skerry-dev/skerry/internal/guestinit/place"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

// Config is what a Service works on.
type Config struct {
	Table *process.Table
	Place *place.Place
	// Mounts are the images that are shown besides the container's own.
	Mounts *mounts.Mounts
	// Quiesce has the link end once the call that is under way was answered.
	Quiesce func()
}

// Service serves the worker.
type Service struct{ cfg Config }

var _ guestv1connect.SandboxServiceHandler = (*Service)(nil)

// New returns a service.
func New(cfg Config) *Service { return &Service{cfg: cfg} }

// Configure gives the container its place in the world.
func (s *Service) Configure(
	_ context.Context, req *connect.Request[guestv1.ConfigureRequest],
) (*connect.Response[guestv1.ConfigureResponse], error) {
	m := req.Msg
	err := s.cfg.Place.Configure(place.Settings{
		Hostname: m.GetHostname(), Env: m.GetEnv(), Workdir: m.GetWorkdir(), Certificates: m.GetCertificates(), Hosts: m.GetHosts(),
	})
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.ConfigureResponse{}), nil
}

// Trust has programs that begin from now on trust a certificate authority.
func (s *Service) Trust(_ context.Context, req *connect.Request[guestv1.TrustRequest]) (*connect.Response[guestv1.TrustResponse], error) {
	if err := s.cfg.Place.Trust(req.Msg.GetCertificates()); err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.TrustResponse{}), nil
}

// SealEnvironment keeps an environment for processes that name it.
func (s *Service) SealEnvironment(
	_ context.Context, req *connect.Request[guestv1.SealEnvironmentRequest],
) (*connect.Response[guestv1.SealEnvironmentResponse], error) {
	if err := s.cfg.Place.Seal(req.Msg.GetEnvironmentId(), req.Msg.GetVariables()); err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.SealEnvironmentResponse{}), nil
}

// WatchActivity sends how many processes of clients run, at once and whenever that changes.
func (s *Service) WatchActivity(
	ctx context.Context, _ *connect.Request[guestv1.WatchActivityRequest], stream *connect.ServerStream[guestv1.WatchActivityResponse],
) error {
	for sent := -1; ; {
		running, changed := s.cfg.Table.Activity().Now()
		if running != sent {
			if err := stream.Send(&guestv1.WatchActivityResponse{Processes: uint32(running)}); err != nil { //nolint:gosec // never negative
				return err
			}
			sent = running
		}
		select {
		case <-ctx.Done():
			return fault.ToConnect(context.Cause(ctx))
		case <-changed:
		}
	}
}

// Quiesce ends the link after its answer.
func (s *Service) Quiesce(
	context.Context, *connect.Request[guestv1.QuiesceRequest],
) (*connect.Response[guestv1.QuiesceResponse], error) {
	s.cfg.Quiesce()
	return connect.NewResponse(&guestv1.QuiesceResponse{}), nil
}
