// Package sandboxlink serves the gateway with the sandboxes of a worker: skerry.worker.v1.SandboxService on the control link, and what is served
// inside of sandboxes on the data link.
package sandboxlink

import (
	"context"
	"log/slog"
	"net/http"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/sandbox"
)

// maxMessage bounds one message of the gateway, in bytes.
const maxMessage = 16 << 20

// Service serves SandboxService.
type Service struct {
	host   *sandbox.Host
	labels map[string]string
}

var _ workerv1connect.SandboxServiceHandler = (*Service)(nil)

// NewHandler returns the path and handler of SandboxService for a link. Labels are the worker's.
func NewHandler(host *sandbox.Host, labels map[string]string, log *slog.Logger) (string, http.Handler) {
	return workerv1connect.NewSandboxServiceHandler(&Service{host, labels},
		connect.WithReadMaxBytes(maxMessage),
		connect.WithCompression("gzip", nil, nil), // the link is not worth the time
		connect.WithInterceptors(link.Ended(), wire.Faults(func(procedure string, err error) {
			log.Error("call failed", "procedure", procedure, "error", err)
		})))
}

// StartSandbox implements SandboxService.
func (s *Service) StartSandbox(_ context.Context, req *connect.Request[workerv1.StartSandboxRequest]) (*connect.Response[workerv1.StartSandboxResponse], error) {
	spec, err := specFromProto(req.Msg.GetSpec())
	if err != nil {
		return nil, err
	}
	spec.Labels = s.labels
	if err := s.host.Start(spec); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.StartSandboxResponse{}), nil
}

// WatchSandboxes implements SandboxService.
func (s *Service) WatchSandboxes(ctx context.Context, _ *connect.Request[workerv1.WatchSandboxesRequest], stream *connect.ServerStream[workerv1.WatchSandboxesResponse]) error {
	w := s.host.Watch()
	defer w.Close()
	send := func() error {
		for _, status := range w.Take() {
			if err := stream.Send(&workerv1.WatchSandboxesResponse{Sandbox: statusToProto(status)}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := send(); err != nil {
		return err
	}
	if err := stream.Send(&workerv1.WatchSandboxesResponse{Complete: true}); err != nil {
		return err
	}
	for {
		select {
		case <-w.Changed():
			if err := send(); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ForgetSandbox implements SandboxService.
func (s *Service) ForgetSandbox(_ context.Context, req *connect.Request[workerv1.ForgetSandboxRequest]) (*connect.Response[workerv1.ForgetSandboxResponse], error) {
	if err := s.host.Forget(req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.ForgetSandboxResponse{}), nil
}

// StopSandbox implements SandboxService.
func (s *Service) StopSandbox(_ context.Context, req *connect.Request[workerv1.StopSandboxRequest]) (*connect.Response[workerv1.StopSandboxResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	reason := command.Reason(req.Msg.GetReason()) //nolint:gosec // checked next
	switch reason {
	case command.TimedOut, command.IdleTimeout, command.Terminated:
	case command.Exited, command.OutOfMemory, command.StartFailed, command.Lost:
		return nil, fault.New(fault.Invalid, "sandbox %q: reason %d: is not one to stop it for", req.Msg.GetSandboxId(), reason)
	default:
		reason = command.Terminated
	}
	if err := found.Terminate(reason); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.StopSandboxResponse{}), nil
}

// UpdateSandbox implements SandboxService.
func (s *Service) UpdateSandbox(ctx context.Context, req *connect.Request[workerv1.UpdateSandboxRequest]) (*connect.Response[workerv1.UpdateSandboxResponse], error) {
	m := req.Msg
	found, err := s.host.Get(m.GetSandboxId())
	if err != nil {
		return nil, err
	}
	change := sandbox.Change{Record: m.GetRecord()}
	if m.GetExpiresAt() != nil {
		change.ExpiresAt = m.GetExpiresAt().AsTime()
	}
	if m.GetNetwork() != nil {
		p, err := policyFromProto(m.GetNetwork())
		if err != nil {
			return nil, fault.New(fault.Invalid, "sandbox %q: %w", m.GetSandboxId(), err)
		}
		change.Network = &p
	}
	if m.GetSetEgressRules() {
		secrets := secretsFromProto(m.GetEgressRules())
		change.Secrets = &secrets
	}
	if err := found.Change(ctx, change); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.UpdateSandboxResponse{}), nil
}

// SealEnvironment implements SandboxService.
func (s *Service) SealEnvironment(ctx context.Context, req *connect.Request[workerv1.SealEnvironmentRequest]) (*connect.Response[workerv1.SealEnvironmentResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if err := found.Seal(ctx, req.Msg.GetEnvironmentId(), req.Msg.GetVariables()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.SealEnvironmentResponse{}), nil
}

// GetSandboxUsage implements SandboxService.
func (s *Service) GetSandboxUsage(ctx context.Context, req *connect.Request[workerv1.GetSandboxUsageRequest]) (*connect.Response[workerv1.GetSandboxUsageResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	u, err := found.Usage(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(usageToProto(u)), nil
}
