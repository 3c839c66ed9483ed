package apprpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

type scheduleService struct{ d Deps }

func (s *scheduleService) ListSchedules(ctx context.Context, req *connect.Request[skerryv1.ListSchedulesRequest]) (*connect.Response[skerryv1.ListSchedulesResponse], error) {
	m := req.Msg
	appID := ""
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	if m.GetApp() != "" {
		a, err := s.d.Apps.Find(ctx, env, m.GetApp())
		if err != nil {
			return nil, err
		}
		appID = a.ID
	}
	res := &skerryv1.ListSchedulesResponse{}
	for _, e := range s.d.Schedules.List(appID) {
		if appID == "" && e.Function.Environment != env {
			continue
		}
		info := &skerryv1.ScheduleInfo{
			AppId: e.Function.AppID, AppName: e.Function.AppName, FunctionId: e.Function.ID, FunctionName: e.Function.Definition.Name,
			Schedule: gatewire.ScheduleToProto(e.Function.Definition.Schedule), LastCallId: e.State.LastCall,
		}
		if !e.NextDue.IsZero() {
			info.NextDue = timestamppb.New(e.NextDue)
		}
		if !e.State.LastDue.IsZero() {
			info.LastDue = timestamppb.New(e.State.LastDue)
		}
		res.Schedules = append(res.Schedules, info)
	}
	return connect.NewResponse(res), nil
}

func (s *scheduleService) RunSchedule(ctx context.Context, req *connect.Request[skerryv1.RunScheduleRequest]) (*connect.Response[skerryv1.RunScheduleResponse], error) {
	m := req.Msg
	if err := ident.CheckName("function", m.GetFunctionName()); err != nil {
		return nil, err
	}
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	a, err := s.d.Apps.Find(ctx, env, m.GetApp())
	if err != nil {
		return nil, err
	}
	id, err := s.d.Schedules.CallNow(ctx, a.ID, m.GetFunctionName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.RunScheduleResponse{CallId: id}), nil
}
