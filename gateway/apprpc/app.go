package apprpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/identity"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

type appService struct{ d Deps }

func (s *appService) CreateApp(ctx context.Context, req *connect.Request[skerryv1.CreateAppRequest]) (*connect.Response[skerryv1.CreateAppResponse], error) {
	m := req.Msg
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	a, err := s.d.Apps.Create(ctx, app.App{
		Description: m.GetDescription(), State: app.State(gatewire.Byte(m.GetState())), Environment: env, Tags: m.GetTags(),
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateAppResponse{AppId: a.ID}), nil
}

func (s *appService) LookupApp(ctx context.Context, req *connect.Request[skerryv1.LookupAppRequest]) (*connect.Response[skerryv1.LookupAppResponse], error) {
	m := req.Msg
	if _, inside := identity.ScopeOf(ctx); inside && m.GetCreateIfMissing() {
		return nil, fault.New(fault.Denied, "app %q: code in containers can't create apps", m.GetName())
	}
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	a, err := s.d.Apps.Lookup(ctx, env, m.GetName(), m.GetCreateIfMissing(), deployment(ctx))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.LookupAppResponse{AppId: a.ID}), nil
}

func deployment(ctx context.Context) app.Deployment {
	return app.Deployment{DeployedAt: time.Now(), DeployedBy: identity.Caller(ctx).Name}
}

func (s *appService) PublishApp(ctx context.Context, req *connect.Request[skerryv1.PublishAppRequest]) (*connect.Response[skerryv1.PublishAppResponse], error) {
	m := req.Msg
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	p := app.Publication{AppID: m.GetAppId(), Name: m.GetName(), Environment: env, Deployment: deployment(ctx)}
	p.Deployment.Tag, p.Recreate = m.GetTag(), recreate(m.GetStrategy())
	if m.GetName() != "" && m.GetTags() != nil {
		p.Tags = m.GetTags()
	}
	if p.Deployment.Commit, err = commitFromProto(m.GetCommit()); err != nil {
		return nil, err
	}
	for _, f := range m.GetFunctions() {
		def, err := definitionFromProto(f)
		if err != nil {
			return nil, err
		}
		if v := def.ClientVersion; v != "" {
			p.Deployment.ClientVersion = v
		}
		p.Functions = append(p.Functions, def)
	}
	done, err := s.d.Apps.Publish(ctx, p)
	if err != nil {
		return nil, err
	}
	res := &skerryv1.PublishAppResponse{AppId: done.App.ID, FunctionIds: functionIDs(done.Functions)}
	if m.GetName() != "" {
		res.Version, res.Unchanged = done.App.Version, done.Unchanged
	}
	return connect.NewResponse(res), nil
}

func functionIDs(list []*function.Function) map[string]string {
	ids := make(map[string]string, len(list))
	for _, f := range list {
		ids[f.Definition.Name] = f.ID
	}
	return ids
}

func (s *appService) Heartbeat(ctx context.Context, req *connect.Request[skerryv1.HeartbeatRequest]) (*connect.Response[skerryv1.HeartbeatResponse], error) {
	if err := s.d.Apps.Heartbeat(ctx, req.Msg.GetAppId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.HeartbeatResponse{}), nil
}

func (s *appService) StopApp(ctx context.Context, req *connect.Request[skerryv1.StopAppRequest]) (*connect.Response[skerryv1.StopAppResponse], error) {
	m := req.Msg
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	stop, err := s.d.Apps.Stop(ctx, env, m.GetApp(), app.StopReason(gatewire.Byte(m.GetReason())))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.StopAppResponse{
		AppId: stop.AppID, NumContainers: uint32(stop.Containers), AlreadyStopped: stop.AlreadyStopped,
	}), nil
}

func (s *appService) ListApps(ctx context.Context, req *connect.Request[skerryv1.ListAppsRequest]) (*connect.Response[skerryv1.ListAppsResponse], error) {
	env, err := identity.Environment(ctx, req.Msg.GetEnvironment())
	if err != nil {
		return nil, err
	}
	apps, err := s.d.Apps.List(ctx, env)
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListAppsResponse{}
	for _, a := range apps {
		res.Apps = append(res.Apps, s.info(&a))
	}
	return connect.NewResponse(res), nil
}

func (s *appService) GetAppHistory(ctx context.Context, req *connect.Request[skerryv1.GetAppHistoryRequest]) (*connect.Response[skerryv1.GetAppHistoryResponse], error) {
	env, err := identity.Environment(ctx, req.Msg.GetEnvironment())
	if err != nil {
		return nil, err
	}
	list, err := s.d.Apps.History(ctx, env, req.Msg.GetApp())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.GetAppHistoryResponse{}
	for _, p := range list {
		m := &skerryv1.Deployment{
			Version: p.Version, DeployedAt: timestamppb.New(p.DeployedAt), ClientVersion: p.ClientVersion, DeployedBy: p.DeployedBy, Tag: p.Tag,
		}
		if c := p.Commit; c != nil {
			m.Commit = commitToProto(c)
		}
		res.Deployments = append(res.Deployments, m)
	}
	return connect.NewResponse(res), nil
}
