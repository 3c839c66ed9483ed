package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/app"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

type functionService struct {
	skerryv1connect.UnimplementedFunctionServiceHandler
	d Deps
}

func (s *functionService) GetFunction(ctx context.Context, req *connect.Request[skerryv1.GetFunctionRequest]) (*connect.Response[skerryv1.GetFunctionResponse], error) {
	m := req.Msg
	env, err := app.Environment(m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	if err := ident.CheckName("app", m.GetAppName()); err != nil {
		return nil, err
	}
	if err := ident.CheckName("function", m.GetFunctionName()); err != nil {
		return nil, err
	}
	f, err := s.d.Functions.FunctionByName(ctx, env, m.GetAppName(), m.GetFunctionName())
	if err != nil {
		return nil, err
	}
	def := gatewire.DefinitionToProto(&f.Definition)
	def.Serialized, def.SecretIds = nil, nil
	return connect.NewResponse(&skerryv1.GetFunctionResponse{FunctionId: f.ID, AppId: f.AppID, Definition: def}), nil
}

func (s *functionService) GetFunctionStats(ctx context.Context, req *connect.Request[skerryv1.GetFunctionStatsRequest]) (*connect.Response[skerryv1.GetFunctionStatsResponse], error) {
	id := req.Msg.GetFunctionId()
	if err := ident.Check(ident.Function, id); err != nil {
		return nil, err
	}
	if _, err := s.d.Functions.Function(ctx, id); err != nil {
		return nil, err
	}
	c := s.d.Work.CountByFunction(id)
	return connect.NewResponse(&skerryv1.GetFunctionStatsResponse{
		Backlog: uint32(c.Backlog), NumContainers: uint32(c.Containers), NumRunningInputs: uint32(c.Running),
	}), nil
}
