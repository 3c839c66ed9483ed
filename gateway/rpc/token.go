package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

type tokenService struct{ d Deps }

func (s *tokenService) GetTokenInfo(ctx context.Context, _ *connect.Request[skerryv1.GetTokenInfoRequest]) (*connect.Response[skerryv1.GetTokenInfoResponse], error) {
	t := identity.Caller(ctx)
	res := &skerryv1.GetTokenInfoResponse{
		TokenId: t.ID, Name: t.Name, CreatedAt: timestamppb.New(t.CreatedAt), ServerVersion: s.d.Version,
	}
	for _, id := range t.Environments {
		res.Environments = append(res.Environments, s.d.Environments.Name(id))
	}
	return connect.NewResponse(res), nil
}

func (s *tokenService) CreateToken(ctx context.Context, req *connect.Request[skerryv1.CreateTokenRequest]) (*connect.Response[skerryv1.CreateTokenResponse], error) {
	// A token makes none that opens more than itself.
	environments := identity.Caller(ctx).Environments
	if names := req.Msg.GetEnvironments(); len(names) > 0 {
		environments = make([]string, len(names))
		for i, name := range names {
			var err error
			if environments[i], err = identity.Environment(ctx, name); err != nil {
				return nil, err
			}
		}
	}
	c, err := s.d.Tokens.Create(ctx, req.Msg.GetName(), identity.Admin, environments...)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateTokenResponse{TokenId: c.ID, TokenSecret: c.Secret}), nil
}
