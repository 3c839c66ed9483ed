// Package sandboxrpc serves the public services of sandboxes: it checks what came over the wire and calls gateway/sandbox.
package sandboxrpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

// NewSandboxService returns the handler of SandboxService.
func NewSandboxService(s *sandbox.Service) skerryv1connect.SandboxServiceHandler {
	return &sandboxService{s}
}

type sandboxService struct{ sandboxes *sandbox.Service }

// own returns a sandbox that the caller may see: code in containers sees those of its app, a token those of the environments it opens.
func own(ctx context.Context, s *sandbox.Service, id string) (sandbox.Sandbox, error) {
	sb, err := s.Get(ctx, id)
	if err == nil {
		err = identity.CheckApp(ctx, sb.AppID)
	}
	if err == nil {
		err = identity.CheckEnvironment(ctx, "sandbox", id, sb.Environment)
	}
	return sb, err
}

// info returns the message of a sandbox.
func info(ctx context.Context, sb *sandbox.Sandbox) *skerryv1.SandboxInfo {
	m := gatewire.SandboxToProto(sb)
	m.Environment = identity.EnvironmentName(ctx, sb.Environment)
	return m
}

func (s *sandboxService) CreateSandbox(ctx context.Context, req *connect.Request[skerryv1.CreateSandboxRequest]) (*connect.Response[skerryv1.CreateSandboxResponse], error) {
	m := req.Msg
	if err := identity.CheckApp(ctx, m.GetAppId()); err != nil {
		return nil, err
	}
	def, err := gatewire.SandboxDefinitionFromProto(m.GetDefinition())
	if err != nil {
		return nil, err
	}
	sb, err := s.sandboxes.Create(ctx, sandbox.Request{ID: m.GetSandboxId(), AppID: m.GetAppId(), Definition: def})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateSandboxResponse{Sandbox: info(ctx, &sb)}), nil
}

func (s *sandboxService) GetSandbox(ctx context.Context, req *connect.Request[skerryv1.GetSandboxRequest]) (*connect.Response[skerryv1.GetSandboxResponse], error) {
	m := req.Msg
	var sb sandbox.Sandbox
	var err error
	if m.GetSandboxId() != "" {
		sb, err = own(ctx, s.sandboxes, m.GetSandboxId())
	} else {
		var env string
		if env, err = identity.Environment(ctx, m.GetEnvironment()); err == nil {
			sb, err = s.sandboxes.Named(ctx, env, m.GetAppName(), m.GetName())
		}
		if err == nil {
			err = identity.CheckApp(ctx, sb.AppID)
		}
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetSandboxResponse{Sandbox: info(ctx, &sb)}), nil
}

// filter returns the filter of a request; code in containers sees its own app.
func filter(ctx context.Context, f sandbox.Filter) (sandbox.Filter, error) {
	env, err := identity.Environment(ctx, f.Environment)
	if err != nil {
		return f, err
	}
	f.Environment = env
	if scope, inside := identity.ScopeOf(ctx); inside {
		if f.AppID != "" && f.AppID != scope.AppID {
			return f, identity.CheckApp(ctx, f.AppID)
		}
		f.AppID = scope.AppID
	}
	return f, sandbox.CheckTags(f.Tags)
}

func (s *sandboxService) ListSandboxes(ctx context.Context, req *connect.Request[skerryv1.ListSandboxesRequest]) (*connect.Response[skerryv1.ListSandboxesResponse], error) {
	m := req.Msg
	f, err := filter(ctx, sandbox.Filter{AppID: m.GetAppId(), Tags: m.GetTags(), Environment: m.GetEnvironment(), Owner: m.GetOwner()})
	if err != nil {
		return nil, err
	}
	q := sandbox.Query{Filter: f, WithEnded: m.GetIncludeEnded()}
	if m.GetCreatedBefore() != nil {
		q.CreatedBefore = m.GetCreatedBefore().AsTime()
	}
	list, more, err := s.sandboxes.List(ctx, q)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ListSandboxesResponse{Sandboxes: infos(ctx, list), More: more}), nil
}

func infos(ctx context.Context, list []sandbox.Sandbox) []*skerryv1.SandboxInfo {
	messages := make([]*skerryv1.SandboxInfo, len(list))
	for i := range list {
		messages[i] = info(ctx, &list[i])
	}
	return messages
}

// limit returns how long a client wants to wait. Errors: fault.Invalid.
func limit(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if t := d.AsDuration(); t < 0 || t > sandbox.MaxWait {
		return 0, fault.New(fault.Invalid, "limit %s: want 0 to %s; wait again after that", t, sandbox.MaxWait)
	}
	return d.AsDuration(), nil
}

func (s *sandboxService) WaitSandbox(ctx context.Context, req *connect.Request[skerryv1.WaitSandboxRequest]) (*connect.Response[skerryv1.WaitSandboxResponse], error) {
	t, err := limit(req.Msg.GetLimit())
	if err != nil {
		return nil, err
	}
	sb, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId())
	if err == nil && sb.State != sandbox.Ended {
		sb, err = s.sandboxes.Wait(ctx, req.Msg.GetSandboxId(), t)
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.WaitSandboxResponse{Sandbox: info(ctx, &sb)}), nil
}

func (s *sandboxService) WaitSandboxReady(ctx context.Context, req *connect.Request[skerryv1.WaitSandboxReadyRequest]) (*connect.Response[skerryv1.WaitSandboxReadyResponse], error) {
	t, err := limit(req.Msg.GetLimit())
	if err != nil {
		return nil, err
	}
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	ready, err := s.sandboxes.WaitReady(ctx, req.Msg.GetSandboxId(), t)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.WaitSandboxReadyResponse{Ready: ready}), nil
}

func (s *sandboxService) TerminateSandbox(ctx context.Context, req *connect.Request[skerryv1.TerminateSandboxRequest]) (*connect.Response[skerryv1.TerminateSandboxResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	sb, err := s.sandboxes.Terminate(ctx, req.Msg.GetSandboxId(), req.Msg.GetWait())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.TerminateSandboxResponse{Sandbox: info(ctx, &sb)}), nil
}

func (s *sandboxService) SetSandboxTags(ctx context.Context, req *connect.Request[skerryv1.SetSandboxTagsRequest]) (*connect.Response[skerryv1.SetSandboxTagsResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	if err := s.sandboxes.SetTags(ctx, req.Msg.GetSandboxId(), req.Msg.GetTags()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SetSandboxTagsResponse{}), nil
}

func (s *sandboxService) SetSandboxName(ctx context.Context, req *connect.Request[skerryv1.SetSandboxNameRequest]) (*connect.Response[skerryv1.SetSandboxNameResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	if err := s.sandboxes.SetName(ctx, req.Msg.GetSandboxId(), req.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SetSandboxNameResponse{}), nil
}

func (s *sandboxService) SetSandboxTimeout(ctx context.Context, req *connect.Request[skerryv1.SetSandboxTimeoutRequest]) (*connect.Response[skerryv1.SetSandboxTimeoutResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	at, err := s.sandboxes.SetTimeout(ctx, req.Msg.GetSandboxId(), req.Msg.GetTimeout().AsDuration())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SetSandboxTimeoutResponse{ExpiresAt: timestamppb.New(at)}), nil
}

func (s *sandboxService) SetSandboxNetwork(ctx context.Context, req *connect.Request[skerryv1.SetSandboxNetworkRequest]) (*connect.Response[skerryv1.SetSandboxNetworkResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	if err := s.sandboxes.SetNetwork(ctx, req.Msg.GetSandboxId(), gatewire.NetworkFromProto(req.Msg.GetNetwork())); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SetSandboxNetworkResponse{}), nil
}

func (s *sandboxService) SealEnvironment(ctx context.Context, req *connect.Request[skerryv1.SealEnvironmentRequest]) (*connect.Response[skerryv1.SealEnvironmentResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	id, err := s.sandboxes.Seal(ctx, req.Msg.GetSandboxId(), req.Msg.GetSecretIds())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SealEnvironmentResponse{EnvironmentId: id}), nil
}

func (s *sandboxService) PruneSandboxes(ctx context.Context, req *connect.Request[skerryv1.PruneSandboxesRequest]) (*connect.Response[skerryv1.PruneSandboxesResponse], error) {
	m := req.Msg
	f, err := filter(ctx, sandbox.Filter{AppID: m.GetAppId(), Tags: m.GetTags(), Environment: m.GetEnvironment(), Owner: m.GetOwner()})
	if err != nil {
		return nil, err
	}
	p := sandbox.Prune{Filter: f, All: m.GetAll(), DryRun: m.GetDryRun()}
	if m.GetOlderThan() != nil {
		p.OlderThan = m.GetOlderThan().AsDuration()
	}
	if m.GetIdleFor() != nil {
		p.IdleFor = m.GetIdleFor().AsDuration()
	}
	if p.OlderThan < 0 || p.IdleFor < 0 {
		return nil, fault.New(fault.Invalid, "prune: a negative time")
	}
	list, err := s.sandboxes.Prune(ctx, p)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.PruneSandboxesResponse{Sandboxes: infos(ctx, list)}), nil
}
