package apprpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/identity"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

type functionService struct{ d Deps }

func (s *functionService) GetFunction(ctx context.Context, req *connect.Request[skerryv1.GetFunctionRequest]) (*connect.Response[skerryv1.GetFunctionResponse], error) {
	m := req.Msg
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	if err := ident.CheckName("app", m.GetAppName()); err != nil {
		return nil, err
	}
	if err := ident.CheckName("function", m.GetFunctionName()); err != nil {
		return nil, err
	}
	var f *function.Function
	if m.GetVersion() != 0 {
		f, err = s.d.Apps.Pin(ctx, env, m.GetAppName(), m.GetFunctionName(), m.GetVersion())
	} else {
		f, err = s.d.Functions.FunctionByName(ctx, env, m.GetAppName(), m.GetFunctionName())
	}
	if err != nil {
		return nil, err
	}
	def := gatewire.DefinitionToProto(&f.Definition)
	def.Serialized, def.SecretIds = nil, nil
	for _, b := range def.GetBucketMounts() {
		b.SecretId = ""
	}
	return connect.NewResponse(&skerryv1.GetFunctionResponse{FunctionId: f.ID, AppId: f.AppID, Definition: def}), nil
}

func (s *functionService) GetFunctionStats(ctx context.Context, req *connect.Request[skerryv1.GetFunctionStatsRequest]) (*connect.Response[skerryv1.GetFunctionStatsResponse], error) {
	id := req.Msg.GetFunctionId()
	if err := s.within(ctx, id); err != nil {
		return nil, err
	}
	c := s.d.Work.CountByFunction(id)
	return connect.NewResponse(&skerryv1.GetFunctionStatsResponse{
		Backlog: uint32(c.Backlog), NumContainers: uint32(c.Containers), NumRunningInputs: uint32(c.Running), InputHeadroom: uint32(c.Headroom),
	}), nil
}

func (s *functionService) BindFunction(ctx context.Context, req *connect.Request[skerryv1.BindFunctionRequest]) (*connect.Response[skerryv1.BindFunctionResponse], error) {
	m := req.Msg
	b := function.Binding{
		BaseID: m.GetFunctionId(), Constructor: m.GetConstructorArguments(), Options: gatewire.OptionsFromProto(m.GetOptions()),
	}
	for _, p := range m.GetParameters() {
		b.Parameters = append(b.Parameters, gatewire.ParameterFromProto(p))
	}
	if err := s.within(ctx, b.BaseID); err != nil {
		return nil, err
	}
	id, err := s.d.Apps.Bind(ctx, b)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.BindFunctionResponse{FunctionId: id}), nil
}

func (s *functionService) UpdateAutoscaler(ctx context.Context, req *connect.Request[skerryv1.UpdateAutoscalerRequest]) (*connect.Response[skerryv1.UpdateAutoscalerResponse], error) {
	m := req.Msg
	change := function.AutoscalerChange{
		MinContainers: number(m.MinContainers), MaxContainers: number(m.MaxContainers), BufferContainers: number(m.BufferContainers),
	}
	window, err := duration(m.GetFunctionId(), "scaledown_window", m.GetScaledownWindow())
	if err != nil {
		return nil, err
	}
	if window != 0 {
		change.ScaledownWindow = &window
	}
	if err := s.within(ctx, m.GetFunctionId()); err != nil {
		return nil, err
	}
	a, err := s.d.Apps.UpdateAutoscaler(ctx, m.GetFunctionId(), change)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.UpdateAutoscalerResponse{Autoscaler: gatewire.AutoscalerToProto(a)}), nil
}

// within checks that there is a function of an id, as far as the caller sees.
func (s *functionService) within(ctx context.Context, id string) error {
	if err := ident.Check(ident.Function, id); err != nil {
		return err
	}
	f, err := s.d.Functions.Function(ctx, id)
	if err != nil {
		return err
	}
	return identity.CheckEnvironment(ctx, "function", id, f.Environment)
}

// number widens an optional count.
func number(n *uint32) *int {
	if n == nil {
		return nil
	}
	wide := int(*n)
	return &wide
}
