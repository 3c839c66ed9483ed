package sandboxrpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sidecar"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

// NewSidecarService returns the handler of SidecarService.
func NewSidecarService(s *sandbox.Service, sidecars *sidecar.Service) skerryv1connect.SidecarServiceHandler {
	return &sidecarService{sandboxes: s, sidecars: sidecars}
}

type sidecarService struct {
	sandboxes *sandbox.Service
	sidecars  *sidecar.Service
}

func sidecarToProto(c *sidecar.Sidecar) *skerryv1.SidecarInfo {
	return &skerryv1.SidecarInfo{
		SidecarId: c.ID, Name: c.Name, ImageId: c.ImageID, State: skerryv1.SandboxState(c.State), End: gatewire.EndToProto(c.End),
	}
}

func (s *sidecarService) CreateSidecar(ctx context.Context, req *connect.Request[skerryv1.CreateSidecarRequest]) (*connect.Response[skerryv1.CreateSidecarResponse], error) {
	m := req.Msg
	if _, err := own(ctx, s.sandboxes, m.GetSandboxId()); err != nil {
		return nil, err
	}
	def, err := gatewire.SandboxDefinitionFromProto(m.GetDefinition())
	if err != nil {
		return nil, err
	}
	c, err := s.sidecars.Create(ctx, m.GetSandboxId(), m.GetSidecarId(), m.GetName(), def)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateSidecarResponse{Sidecar: sidecarToProto(&c)}), nil
}

func (s *sidecarService) ListSidecars(ctx context.Context, req *connect.Request[skerryv1.ListSidecarsRequest]) (*connect.Response[skerryv1.ListSidecarsResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	list, err := s.sidecars.List(ctx, req.Msg.GetSandboxId(), req.Msg.GetIncludeEnded())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListSidecarsResponse{}
	for i := range list {
		res.Sidecars = append(res.Sidecars, sidecarToProto(&list[i]))
	}
	return connect.NewResponse(res), nil
}

func (s *sidecarService) WaitSidecar(ctx context.Context, req *connect.Request[skerryv1.WaitSidecarRequest]) (*connect.Response[skerryv1.WaitSidecarResponse], error) {
	m := req.Msg
	t, err := limit(m.GetLimit())
	if err != nil {
		return nil, err
	}
	if _, err := own(ctx, s.sandboxes, m.GetSandboxId()); err != nil {
		return nil, err
	}
	c, err := s.sidecars.Wait(ctx, m.GetSandboxId(), m.GetName(), t)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.WaitSidecarResponse{Sidecar: sidecarToProto(&c)}), nil
}

func (s *sidecarService) TerminateSidecar(ctx context.Context, req *connect.Request[skerryv1.TerminateSidecarRequest]) (*connect.Response[skerryv1.TerminateSidecarResponse], error) {
	m := req.Msg
	if _, err := own(ctx, s.sandboxes, m.GetSandboxId()); err != nil {
		return nil, err
	}
	c, err := s.sidecars.Terminate(ctx, m.GetSandboxId(), m.GetName(), m.GetWait())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.TerminateSidecarResponse{Sidecar: sidecarToProto(&c)}), nil
}
