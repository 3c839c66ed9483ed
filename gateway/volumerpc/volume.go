// Package volumerpc serves the public service of volumes.
package volumerpc

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/volume"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// requestLength is that of a request's id.
const requestLength = 22

// NewService returns the handler of VolumeService.
func NewService(volumes *volume.Service, sandboxes Sandboxes) skerryv1connect.VolumeServiceHandler {
	return &service{Named: gatewire.Named{Noun: "volume", Objects: volumes.Objects()}, volumes: volumes, sandboxes: sandboxes}
}

// Sandboxes finds sandboxes. Implemented by sandbox.Service.
type Sandboxes interface {
	// Get returns a sandbox, or a fault.NotFound.
	Get(ctx context.Context, id string) (sandbox.Sandbox, error)
}

type service struct {
	gatewire.Named
	volumes   *volume.Service
	sandboxes Sandboxes
}

// by names who asks: a container, or a token.
func by(ctx context.Context) string {
	if scope, inside := identity.ScopeOf(ctx); inside {
		return scope.ContainerID
	}
	if t := identity.Caller(ctx); t != nil {
		return t.Name
	}
	return ""
}

func (s *service) GetVolume(ctx context.Context, req *connect.Request[skerryv1.GetVolumeRequest]) (*connect.Response[skerryv1.GetVolumeResponse], error) {
	info, err := s.Get(ctx, req.Msg.GetName(), req.Msg.GetEnvironment(), req.Msg.GetCreation())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetVolumeResponse{Info: info}), nil
}

func (s *service) DescribeVolume(ctx context.Context, req *connect.Request[skerryv1.DescribeVolumeRequest]) (*connect.Response[skerryv1.DescribeVolumeResponse], error) {
	v, err := s.Find(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	head, err := s.volumes.Head(ctx, v.ID)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DescribeVolumeResponse{Info: gatewire.ObjectToProto(ctx, v), Head: versionToProto(head)}), nil
}

func (s *service) ListVolumes(ctx context.Context, req *connect.Request[skerryv1.ListVolumesRequest]) (*connect.Response[skerryv1.ListVolumesResponse], error) {
	found, err := s.List(ctx, req.Msg.GetPage())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListVolumesResponse{}
	for _, o := range found {
		res.Volumes = append(res.Volumes, gatewire.ObjectToProto(ctx, o))
	}
	return connect.NewResponse(res), nil
}

func (s *service) RenameVolume(ctx context.Context, req *connect.Request[skerryv1.RenameVolumeRequest]) (*connect.Response[skerryv1.RenameVolumeResponse], error) {
	v, err := s.Find(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := s.Objects.Rename(ctx, v.ID, req.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.RenameVolumeResponse{}), nil
}

func (s *service) DeleteVolume(ctx context.Context, req *connect.Request[skerryv1.DeleteVolumeRequest]) (*connect.Response[skerryv1.DeleteVolumeResponse], error) {
	if err := s.Delete(ctx, req.Msg.GetVolumeId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteVolumeResponse{}), nil
}

func (s *service) KeepVolume(ctx context.Context, req *connect.Request[skerryv1.KeepVolumeRequest]) (*connect.Response[skerryv1.KeepVolumeResponse], error) {
	if err := s.Keep(ctx, req.Msg.GetVolumeId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.KeepVolumeResponse{}), nil
}

// mounted returns the container whose code asks. Errors: fault.Precondition for others, fault.NotFound.
func (s *service) mounted(ctx context.Context, id string) (containerID string, err error) {
	scope, inside := identity.ScopeOf(ctx)
	if !inside {
		return "", fault.New(fault.Precondition, "volume %q: only containers that have it commit and reload it; clients see the newest version", id)
	}
	_, err = s.Find(ctx, id)
	return scope.ContainerID, err
}

func (s *service) CommitVolume(ctx context.Context, req *connect.Request[skerryv1.CommitVolumeRequest]) (*connect.Response[skerryv1.CommitVolumeResponse], error) {
	container, err := s.mounted(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	version, err := s.volumes.Commit(ctx, container, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CommitVolumeResponse{Version: version}), nil
}

func (s *service) ReloadVolume(ctx context.Context, req *connect.Request[skerryv1.ReloadVolumeRequest]) (*connect.Response[skerryv1.ReloadVolumeResponse], error) {
	container, err := s.reloading(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	version, err := s.volumes.Reload(ctx, volume.MountPlace{ContainerID: container, Sidecar: req.Msg.GetSidecar(), VolumeID: req.Msg.GetVolumeId()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ReloadVolumeResponse{Version: version}), nil
}

// reloading returns the container that is to see the newest version: the one whose code asks, or a sandbox that is named.
func (s *service) reloading(ctx context.Context, m *skerryv1.ReloadVolumeRequest) (containerID string, err error) {
	id := m.GetSandboxId()
	if name := m.GetSidecar(); name != "" {
		if err := ident.CheckName("sidecar", name); err != nil {
			return "", err
		}
		if id == "" {
			return "", fault.New(fault.Invalid, "sidecar %q: name its sandbox as well", name)
		}
	}
	if id == "" {
		return s.mounted(ctx, m.GetVolumeId())
	}
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return "", err
	}
	if m.GetVolumeId() != "" {
		return "", fault.New(fault.Invalid, "sandbox %q: all of its volumes are reloaded; name none", id)
	}
	sb, err := s.sandboxes.Get(ctx, id)
	if err != nil {
		return "", err
	}
	return id, errors.Join(identity.CheckApp(ctx, sb.AppID), identity.CheckEnvironment(ctx, "sandbox", id, sb.Environment))
}

func versionToProto(v *volume.Version) *skerryv1.VolumeVersion {
	return &skerryv1.VolumeVersion{
		Version: v.Number, CreatedAt: timestamppb.New(v.CreatedAt), CreatedBy: v.CreatedBy, NumFiles: v.Files, NumBytes: v.Bytes, Reason: v.Reason,
	}
}

func (s *service) ListVolumeVersions(ctx context.Context, req *connect.Request[skerryv1.ListVolumeVersionsRequest]) (*connect.Response[skerryv1.ListVolumeVersionsResponse], error) {
	v, err := s.Find(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	list, err := s.volumes.History(ctx, v.ID, req.Msg.GetBefore(), int(min(req.Msg.GetLimit(), object.MaxPage)))
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListVolumeVersionsResponse{}
	for i := range list {
		res.Versions = append(res.Versions, versionToProto(&list[i]))
	}
	return connect.NewResponse(res), nil
}

func (s *service) RestoreVolumeVersion(ctx context.Context, req *connect.Request[skerryv1.RestoreVolumeVersionRequest]) (*connect.Response[skerryv1.RestoreVolumeVersionResponse], error) {
	m := req.Msg
	if _, err := s.Find(ctx, m.GetVolumeId()); err != nil {
		return nil, err
	}
	request := m.GetRequestId()
	if request == "" {
		request = ident.Random(requestLength)
	}
	done, err := s.volumes.Restore(ctx, volume.Change{VolumeID: m.GetVolumeId(), RequestID: request, By: by(ctx)}, m.GetVersion())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.RestoreVolumeVersionResponse{Version: versionToProto(done)}), nil
}
