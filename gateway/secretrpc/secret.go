// Package secretrpc serves the public service of secrets: it checks what came over the wire and calls gateway/secret.
package secretrpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Apps finds apps. Implemented by gateway/sqlstore.
type Apps interface {
	// App returns an app, or a fault.NotFound.
	App(ctx context.Context, id string) (*app.App, error)
}

// NewService returns the handler of SecretService.
func NewService(s *secret.Service, apps Apps) skerryv1connect.SecretServiceHandler {
	return &secretService{s, apps}
}

type secretService struct {
	secrets *secret.Service
	apps    Apps
}

func (s *secretService) CreateSecret(ctx context.Context, req *connect.Request[skerryv1.CreateSecretRequest]) (*connect.Response[skerryv1.CreateSecretResponse], error) {
	m := req.Msg
	if err := ident.Check(ident.App, m.GetAppId()); err != nil {
		return nil, err
	}
	if err := identity.CheckApp(ctx, m.GetAppId()); err != nil {
		return nil, err
	}
	id, err := s.secrets.Create(ctx, m.GetAppId(), m.GetVariables())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateSecretResponse{SecretId: id}), nil
}

// secretInfo returns what clients are told of a secret.
func secretInfo(ctx context.Context, r *secret.Record) *skerryv1.ObjectInfo {
	m := &skerryv1.ObjectInfo{Id: r.ID, Name: r.Name, CreatedAt: timestamppb.New(r.CreatedAt), CreatedBy: r.CreatedBy}
	if r.Environment != "" {
		m.Environment = identity.EnvironmentName(ctx, r.Environment)
	}
	return m
}

func lastUsed(r *secret.Record) *timestamppb.Timestamp {
	if r.LastUsedAt.IsZero() {
		return nil
	}
	return timestamppb.New(r.LastUsedAt)
}

// outside refuses code in containers: it uses secrets, and changes none.
func outside(ctx context.Context, what string) error {
	if _, inside := identity.ScopeOf(ctx); inside {
		return fault.New(fault.Denied, "%s: code in containers can't; use a client with a token", what)
	}
	return nil
}

// environment returns where a secret is: in the environment that is named, or that of the app it is for.
func (s *secretService) environment(ctx context.Context, m *skerryv1.GetSecretRequest) (string, error) {
	if m.GetEnvironment() != "" || m.GetAppId() == "" {
		return identity.Environment(ctx, m.GetEnvironment())
	}
	if err := ident.Check(ident.App, m.GetAppId()); err != nil {
		return "", err
	}
	a, err := s.apps.App(ctx, m.GetAppId())
	if err != nil {
		return "", err
	}
	return a.Environment, identity.CheckEnvironment(ctx, "app", a.ID, a.Environment)
}

func (s *secretService) GetSecret(ctx context.Context, req *connect.Request[skerryv1.GetSecretRequest]) (*connect.Response[skerryv1.GetSecretResponse], error) {
	m := req.Msg
	env, err := s.environment(ctx, m)
	if err != nil {
		return nil, err
	}
	if m.GetCreation() != skerryv1.ObjectCreation_OBJECT_CREATION_UNSPECIFIED {
		if err := outside(ctx, "make a secret"); err != nil {
			return nil, err
		}
	}
	wanted := secret.Record{Environment: env, Name: m.GetName()}
	if caller := identity.Caller(ctx); caller != nil {
		wanted.CreatedBy = caller.Name
	}
	var r *secret.Record
	switch m.GetCreation() {
	case skerryv1.ObjectCreation_OBJECT_CREATION_UNSPECIFIED:
		r, err = s.secrets.Get(ctx, env, m.GetName(), m.GetRequiredKeys())
	case skerryv1.ObjectCreation_OBJECT_CREATION_IF_MISSING:
		r, err = s.secrets.Ensure(ctx, wanted, m.GetVariables())
	case skerryv1.ObjectCreation_OBJECT_CREATION_MUST_BE_NEW:
		r, err = s.secrets.CreateNamed(ctx, wanted, m.GetVariables())
	default:
		err = fault.New(fault.Invalid, "secret %q: there are no ephemeral ones; make an app's own with CreateSecret", m.GetName())
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetSecretResponse{Info: secretInfo(ctx, r)}), nil
}

// visible returns a secret that the caller may know of: one of the app whose code asks, or of an environment that the caller sees.
func (s *secretService) visible(ctx context.Context, id string) (*secret.Record, error) {
	r, err := s.secrets.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.Name == "" {
		return r, identity.CheckApp(ctx, r.AppID)
	}
	return r, identity.CheckEnvironment(ctx, "secret", id, r.Environment)
}

func (s *secretService) DescribeSecret(ctx context.Context, req *connect.Request[skerryv1.DescribeSecretRequest]) (*connect.Response[skerryv1.DescribeSecretResponse], error) {
	r, err := s.visible(ctx, req.Msg.GetSecretId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DescribeSecretResponse{Info: secretInfo(ctx, r), LastUsedAt: lastUsed(r)}), nil
}

func (s *secretService) ListSecrets(ctx context.Context, req *connect.Request[skerryv1.ListSecretsRequest]) (*connect.Response[skerryv1.ListSecretsResponse], error) {
	page := req.Msg.GetPage()
	env, err := identity.Environment(ctx, page.GetEnvironment())
	if err != nil {
		return nil, err
	}
	var before time.Time
	if page.GetBefore() != nil {
		before = page.GetBefore().AsTime()
	}
	list, err := s.secrets.List(ctx, env, before, int(page.GetLimit()))
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListSecretsResponse{}
	for i := range list {
		res.Secrets = append(res.Secrets, &skerryv1.SecretInfo{Info: secretInfo(ctx, &list[i]), LastUsedAt: lastUsed(&list[i])})
	}
	return connect.NewResponse(res), nil
}

func (s *secretService) UpdateSecret(ctx context.Context, req *connect.Request[skerryv1.UpdateSecretRequest]) (*connect.Response[skerryv1.UpdateSecretResponse], error) {
	if _, err := s.visible(ctx, req.Msg.GetSecretId()); err != nil {
		return nil, err
	}
	if err := s.secrets.Update(ctx, req.Msg.GetSecretId(), req.Msg.GetVariables(), req.Msg.GetReplace()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.UpdateSecretResponse{}), nil
}

func (s *secretService) DeleteSecret(ctx context.Context, req *connect.Request[skerryv1.DeleteSecretRequest]) (*connect.Response[skerryv1.DeleteSecretResponse], error) {
	if _, err := s.visible(ctx, req.Msg.GetSecretId()); err != nil {
		return nil, err
	}
	if err := s.secrets.Delete(ctx, req.Msg.GetSecretId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteSecretResponse{}), nil
}
