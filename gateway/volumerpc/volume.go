// Package volumerpc serves the public service of volumes.
package volumerpc

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

const (
	// defaultPage and maxPage are how many of a list are sent at a time.
	defaultPage, maxPage = 100, 1000
	// requestLength is that of a request's id.
	requestLength = 22
)

// NewService returns the handler of VolumeService. Names says what environments are called.
func NewService(volumes *volume.Service, names identity.Environments, sandboxes Sandboxes) skerryv1connect.VolumeServiceHandler {
	return &service{volumes: volumes, names: names, sandboxes: sandboxes}
}

// Sandboxes finds sandboxes. Implemented by sandbox.Service.
type Sandboxes interface {
	// Get returns a sandbox, or a fault.NotFound.
	Get(ctx context.Context, id string) (sandbox.Sandbox, error)
}

type service struct {
	volumes   *volume.Service
	names     identity.Environments
	sandboxes Sandboxes
}

// own returns a volume that the caller may use. Errors: fault.Invalid, fault.NotFound.
func (s *service) own(ctx context.Context, id string) (*volume.Volume, error) {
	v, err := s.volumes.Volume(ctx, id)
	if err != nil {
		return nil, err
	}
	return v, identity.CheckEnvironment(ctx, "volume", id, v.Environment)
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

func (s *service) info(v *volume.Volume) *skerryv1.ObjectInfo {
	return &skerryv1.ObjectInfo{
		Id: v.ID, Name: v.Name, Environment: s.names.Name(v.Environment), CreatedAt: timestamppb.New(v.CreatedAt), CreatedBy: v.CreatedBy,
	}
}

func (s *service) GetVolume(ctx context.Context, req *connect.Request[skerryv1.GetVolumeRequest]) (*connect.Response[skerryv1.GetVolumeResponse], error) {
	m := req.Msg
	environment, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return nil, err
	}
	if m.GetCreation() < 0 || m.GetCreation() > skerryv1.ObjectCreation_OBJECT_CREATION_EPHEMERAL {
		return nil, fault.New(fault.Invalid, "volume %.80q: creation %d is not known", m.GetName(), m.GetCreation())
	}
	v, err := s.volumes.Get(ctx, volume.Wanted{
		Name: m.GetName(), Environment: environment, Creation: volume.Creation(m.GetCreation()), By: by(ctx),
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetVolumeResponse{Info: s.info(v)}), nil
}

func (s *service) DescribeVolume(ctx context.Context, req *connect.Request[skerryv1.DescribeVolumeRequest]) (*connect.Response[skerryv1.DescribeVolumeResponse], error) {
	v, err := s.own(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	head, err := s.volumes.Head(ctx, v.ID)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DescribeVolumeResponse{Info: s.info(v), Head: versionToProto(head)}), nil
}

// limited is how many of a list are asked for.
func limited(n uint32) int {
	if n == 0 {
		return defaultPage
	}
	return int(min(n, maxPage))
}

func (s *service) ListVolumes(ctx context.Context, req *connect.Request[skerryv1.ListVolumesRequest]) (*connect.Response[skerryv1.ListVolumesResponse], error) {
	page := req.Msg.GetPage()
	environment, err := identity.Environment(ctx, page.GetEnvironment())
	if err != nil {
		return nil, err
	}
	before := time.Now().Add(24 * time.Hour)
	if page.GetBefore() != nil {
		before = page.GetBefore().AsTime()
	}
	list, err := s.volumes.List(ctx, environment, before, limited(page.GetLimit()))
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListVolumesResponse{}
	for i := range list {
		res.Volumes = append(res.Volumes, s.info(&list[i]))
	}
	return connect.NewResponse(res), nil
}

func (s *service) RenameVolume(ctx context.Context, req *connect.Request[skerryv1.RenameVolumeRequest]) (*connect.Response[skerryv1.RenameVolumeResponse], error) {
	v, err := s.own(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := s.volumes.Rename(ctx, v.ID, req.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.RenameVolumeResponse{}), nil
}

func (s *service) DeleteVolume(ctx context.Context, req *connect.Request[skerryv1.DeleteVolumeRequest]) (*connect.Response[skerryv1.DeleteVolumeResponse], error) {
	v, err := s.own(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := s.volumes.Delete(ctx, v.ID); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteVolumeResponse{}), nil
}

func (s *service) KeepVolume(ctx context.Context, req *connect.Request[skerryv1.KeepVolumeRequest]) (*connect.Response[skerryv1.KeepVolumeResponse], error) {
	v, err := s.own(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := s.volumes.Keep(ctx, v.ID); err != nil {
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
	_, err = s.own(ctx, id)
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
	version, err := s.volumes.Reload(ctx, container, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ReloadVolumeResponse{Version: version}), nil
}

// reloading returns the container that is to see the newest version: the one whose code asks, or a sandbox that is named.
func (s *service) reloading(ctx context.Context, m *skerryv1.ReloadVolumeRequest) (containerID string, err error) {
	id := m.GetSandboxId()
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
	v, err := s.own(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	list, err := s.volumes.History(ctx, v.ID, req.Msg.GetBefore(), limited(req.Msg.GetLimit()))
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
	if _, err := s.own(ctx, m.GetVolumeId()); err != nil {
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
