package apprpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// maxPerson bounds names and addresses of authors, and URLs, in bytes.
const maxPerson = 200 * 4

func commitFromProto(m *skerryv1.CommitInfo) (*app.Commit, error) {
	if m == nil {
		return nil, nil //nolint:nilnil // a deployment from outside a repository has no commit
	}
	if len(m.GetCommitHash()) > 64 || len(m.GetBranch()) > 255 {
		return nil, fault.New(fault.Invalid, "commit: hash or branch is too long")
	}
	if len(m.GetAuthor()) > maxPerson || len(m.GetAuthorEmail()) > maxPerson || len(m.GetRepoUrl()) > maxPerson {
		return nil, fault.New(fault.Invalid, "commit: author or repository is too long")
	}
	c := &app.Commit{
		Hash: m.GetCommitHash(), Branch: m.GetBranch(), Dirty: m.GetDirty(), Author: m.GetAuthor(), Email: m.GetAuthorEmail(),
		Repository: m.GetRepoUrl(),
	}
	if m.GetCommittedAt() != nil {
		c.At = m.GetCommittedAt().AsTime()
	}
	return c, nil
}

func commitToProto(c *app.Commit) *skerryv1.CommitInfo {
	m := &skerryv1.CommitInfo{
		CommitHash: c.Hash, Branch: c.Branch, Dirty: c.Dirty, Author: c.Author, AuthorEmail: c.Email, RepoUrl: c.Repository,
	}
	if !c.At.IsZero() {
		m.CommittedAt = timestamppb.New(c.At)
	}
	return m
}

func recreate(s skerryv1.DeploymentStrategy) bool {
	return s == skerryv1.DeploymentStrategy_DEPLOYMENT_STRATEGY_RECREATE
}

func (s *appService) RedeployApp(ctx context.Context, req *connect.Request[skerryv1.RedeployAppRequest]) (*connect.Response[skerryv1.RedeployAppResponse], error) {
	m := req.Msg
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	done, source, err := s.d.Apps.Redeploy(ctx, app.Redeployment{
		Environment: env, App: m.GetApp(), Version: m.GetVersion(), Rollover: m.GetRollover(),
		Recreate: recreate(m.GetStrategy()), By: deployment(ctx),
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.RedeployAppResponse{
		AppId: done.App.ID, Version: done.App.Version, SourceVersion: source,
	}), nil
}

func (s *appService) ReserveFunctions(ctx context.Context, req *connect.Request[skerryv1.ReserveFunctionsRequest]) (*connect.Response[skerryv1.ReserveFunctionsResponse], error) {
	m := req.Msg
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	ids, err := s.d.Apps.Reserve(ctx, env, m.GetAppId(), m.GetName(), m.GetFunctionNames())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ReserveFunctionsResponse{FunctionIds: ids}), nil
}

func (s *appService) SetAppTags(ctx context.Context, req *connect.Request[skerryv1.SetAppTagsRequest]) (*connect.Response[skerryv1.SetAppTagsResponse], error) {
	if err := identity.CheckApp(ctx, req.Msg.GetAppId()); err != nil {
		return nil, err
	}
	if err := s.d.Apps.SetTags(ctx, req.Msg.GetAppId(), req.Msg.GetTags()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SetAppTagsResponse{}), nil
}

func (s *appService) GetApp(ctx context.Context, req *connect.Request[skerryv1.GetAppRequest]) (*connect.Response[skerryv1.GetAppResponse], error) {
	env, err := identity.Environment(ctx, req.Msg.GetEnvironment())
	if err != nil {
		return nil, err
	}
	a, err := s.d.Apps.Find(ctx, env, req.Msg.GetApp())
	if err == nil {
		err = identity.CheckEnvironment(ctx, "app", req.Msg.GetApp(), a.Environment)
	}
	if err != nil {
		return nil, err
	}
	functions, err := s.d.Functions.AppFunctions(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	res := &skerryv1.GetAppResponse{App: s.info(a), Tags: a.Tags}
	if a.Name != "" {
		res.Version = a.Version
	}
	for _, f := range functions {
		res.Functions = append(res.Functions, &skerryv1.AppFunction{
			FunctionId: f.ID, Name: f.Definition.Name, IsClass: f.Definition.Class != nil,
		})
	}
	return connect.NewResponse(res), nil
}

// info describes an app.
func (s *appService) info(a *app.App) *skerryv1.AppInfo {
	m := &skerryv1.AppInfo{
		AppId: a.ID, Description: a.Title(), State: skerryv1.AppState(a.State),
		NumContainers: uint32(s.d.Work.CountByApp(a.ID).Containers), //nolint:gosec // small and not negative
		CreatedAt:     timestamppb.New(a.CreatedAt),
	}
	if !a.StoppedAt.IsZero() {
		m.StoppedAt = timestamppb.New(a.StoppedAt)
	}
	return m
}
