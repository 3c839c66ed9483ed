package sandboxlink

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/sidecar"
)

// sidecarFromProto turns what the gateway asks for into a sidecar.
func sidecarFromProto(m *workerv1.StartSidecarRequest) (sidecar.Spec, error) {
	if err := ident.Check(ident.Sidecar, m.GetSidecarId()); err != nil {
		return sidecar.Spec{}, err
	}
	image, err := wire.AnyRefFromProto(m.GetImage())
	if err != nil {
		return sidecar.Spec{}, fault.New(fault.Invalid, "sidecar %q: image: %w", m.GetName(), err)
	}
	d := m.GetDefinition()
	spec := sidecar.Spec{
		ID: m.GetSidecarId(), Name: m.GetName(), ImageID: d.GetImageId(), Image: container.Image{Ref: image, Chunked: m.GetImageChunked()},
		ImageEnv: m.GetImageEnv(), ImageWorkdir: m.GetImageWorkdir(), Argv: d.GetArgv(), Terminal: d.GetPty(), Env: d.GetEnv(),
		SecretEnv: m.GetSecretEnv(), Workdir: d.GetWorkdir(),
	}
	for _, mount := range d.GetMounts() {
		spec.Mounts = append(spec.Mounts, container.Mount{RemotePath: mount.GetRemotePath(), TreeDigest: mount.GetTreeDigest()})
	}
	spec.Volumes = volumesFromProto(d.GetVolumeMounts())
	return spec, nil
}

func sidecarToProto(s sidecar.Status) *workerv1.SidecarStatus {
	return &workerv1.SidecarStatus{
		SidecarId: s.ID, Name: s.Name, ImageId: s.ImageID, State: skerryv1.SandboxState(s.State), End: endToProto(s.End),
	}
}

// StartSidecar implements SnapshotService.
func (s *snapshots) StartSidecar(ctx context.Context, req *connect.Request[workerv1.StartSidecarRequest]) (*connect.Response[workerv1.StartSidecarResponse], error) {
	spec, err := sidecarFromProto(req.Msg)
	if err != nil {
		return nil, err
	}
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if err := found.StartSidecar(ctx, spec); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.StartSidecarResponse{}), nil
}

// ListSidecars implements SnapshotService.
func (s *snapshots) ListSidecars(_ context.Context, req *connect.Request[workerv1.ListSidecarsRequest]) (*connect.Response[workerv1.ListSidecarsResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	res := &workerv1.ListSidecarsResponse{}
	for _, c := range found.Sidecars().List() {
		res.Sidecars = append(res.Sidecars, sidecarToProto(c))
	}
	return connect.NewResponse(res), nil
}

// WaitSidecar implements SnapshotService.
func (s *snapshots) WaitSidecar(ctx context.Context, req *connect.Request[workerv1.WaitSidecarRequest]) (*connect.Response[workerv1.WaitSidecarResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, req.Msg.GetLimit().AsDuration())
	defer cancel()
	c, err := found.Sidecars().Wait(ctx, req.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.WaitSidecarResponse{Sidecar: sidecarToProto(c)}), nil
}

// StopSidecar implements SnapshotService.
func (s *snapshots) StopSidecar(_ context.Context, req *connect.Request[workerv1.StopSidecarRequest]) (*connect.Response[workerv1.StopSidecarResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if err := found.Sidecars().Stop(req.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.StopSidecarResponse{}), nil
}
