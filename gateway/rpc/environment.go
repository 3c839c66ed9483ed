package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/identity"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

type environmentService struct{ d Deps }

func environmentToProto(e environment.Environment) *skerryv1.EnvironmentInfo {
	m := &skerryv1.EnvironmentInfo{EnvironmentId: e.ID, Name: e.Name, CreatedBy: e.CreatedBy, Deleting: e.Deleting}
	if !e.CreatedAt.IsZero() {
		m.CreatedAt = timestamppb.New(e.CreatedAt)
	}
	return m
}

func (s *environmentService) CreateEnvironment(ctx context.Context, req *connect.Request[skerryv1.CreateEnvironmentRequest]) (*connect.Response[skerryv1.CreateEnvironmentResponse], error) {
	e, err := s.d.Environments.Create(ctx, req.Msg.GetName(), identity.Caller(ctx).Name)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateEnvironmentResponse{Environment: environmentToProto(e)}), nil
}

func (s *environmentService) GetEnvironment(ctx context.Context, req *connect.Request[skerryv1.GetEnvironmentRequest]) (*connect.Response[skerryv1.GetEnvironmentResponse], error) {
	id, err := identity.Environment(ctx, req.Msg.GetName())
	if err != nil {
		return nil, err
	}
	e, err := s.d.Environments.Get(s.d.Environments.Name(id))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetEnvironmentResponse{Environment: environmentToProto(e)}), nil
}

func (s *environmentService) ListEnvironments(ctx context.Context, _ *connect.Request[skerryv1.ListEnvironmentsRequest]) (*connect.Response[skerryv1.ListEnvironmentsResponse], error) {
	res := &skerryv1.ListEnvironmentsResponse{}
	for _, e := range s.d.Environments.List() {
		if identity.Sees(ctx, e.ID) {
			res.Environments = append(res.Environments, environmentToProto(e))
		}
	}
	return connect.NewResponse(res), nil
}

func (s *environmentService) UpdateEnvironment(ctx context.Context, req *connect.Request[skerryv1.UpdateEnvironmentRequest]) (*connect.Response[skerryv1.UpdateEnvironmentResponse], error) {
	e, err := s.d.Environments.Rename(ctx, req.Msg.GetName(), req.Msg.GetNewName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.UpdateEnvironmentResponse{Environment: environmentToProto(e)}), nil
}

func (s *environmentService) DeleteEnvironment(ctx context.Context, req *connect.Request[skerryv1.DeleteEnvironmentRequest]) (*connect.Response[skerryv1.DeleteEnvironmentResponse], error) {
	// An empty name is the default environment elsewhere; what destroys has to be said.
	if err := environment.CheckName(req.Msg.GetName()); err != nil {
		return nil, err
	}
	if err := s.d.Environments.Delete(ctx, req.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteEnvironmentResponse{}), nil
}
