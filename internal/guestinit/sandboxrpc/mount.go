package sandboxrpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
)

// PrepareMount makes what an image needs to be shown.
func (s *Service) PrepareMount(
	_ context.Context, req *connect.Request[guestv1.PrepareMountRequest],
) (*connect.Response[guestv1.PrepareMountResponse], error) {
	name, err := s.cfg.Mounts.Prepare(req.Msg.GetPath())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.PrepareMountResponse{Name: name}), nil
}

// Bind shows an image.
func (s *Service) Bind(_ context.Context, req *connect.Request[guestv1.BindRequest]) (*connect.Response[guestv1.BindResponse], error) {
	m := req.Msg
	if err := s.cfg.Mounts.Bind(m.GetPath(), m.GetName() == "", m.GetSizeBytes()); err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.BindResponse{}), nil
}

// Unbind takes it away.
func (s *Service) Unbind(_ context.Context, req *connect.Request[guestv1.UnbindRequest]) (*connect.Response[guestv1.UnbindResponse], error) {
	if err := s.cfg.Mounts.Unbind(req.Msg.GetPath()); err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.UnbindResponse{}), nil
}
