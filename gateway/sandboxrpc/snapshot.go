package sandboxrpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/snapshot"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

// maxTTL bounds how long something is kept that is not kept for ever.
const maxTTL = 10 * 365 * 24 * time.Hour

// NewSnapshotService returns the handler of SnapshotService.
func NewSnapshotService(s *sandbox.Service, snaps *snapshot.Service) skerryv1connect.SnapshotServiceHandler {
	return &snapshotService{sandboxes: s, snapshots: snaps}
}

type snapshotService struct {
	sandboxes *sandbox.Service
	snapshots *snapshot.Service
}

// seconds returns a time to live; 0 is for ever. Errors: fault.Invalid.
func seconds(n *uint64, otherwise time.Duration) (time.Duration, error) {
	if n == nil {
		return otherwise, nil
	}
	if *n > uint64(maxTTL/time.Second) {
		return 0, fault.New(fault.Invalid, "ttl of %d s: want at most %d, or 0 for ever", *n, maxTTL/time.Second)
	}
	return time.Duration(*n) * time.Second, nil //nolint:gosec // checked above
}

// within returns a limit of a message; 0 where there is none.
func within(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}

func (s *snapshotService) files(ctx context.Context, id, dir string, limit *durationpb.Duration, ttlSeconds *uint64) (string, error) {
	ttl, err := seconds(ttlSeconds, snapshot.DefaultImageTTL)
	if err != nil {
		return "", err
	}
	if _, err := own(ctx, s.sandboxes, id); err != nil {
		return "", err
	}
	return s.snapshots.Files(ctx, id, dir, within(limit), ttl)
}

func (s *snapshotService) SnapshotFilesystem(ctx context.Context, req *connect.Request[skerryv1.SnapshotFilesystemRequest]) (*connect.Response[skerryv1.SnapshotFilesystemResponse], error) {
	m := req.Msg
	id, err := s.files(ctx, m.GetSandboxId(), "", m.GetLimit(), m.TtlSeconds)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SnapshotFilesystemResponse{ImageId: id}), nil
}

func (s *snapshotService) SnapshotDirectory(ctx context.Context, req *connect.Request[skerryv1.SnapshotDirectoryRequest]) (*connect.Response[skerryv1.SnapshotDirectoryResponse], error) {
	m := req.Msg
	if m.GetPath() == "" {
		return nil, fault.New(fault.Invalid, "directory: no path; name one, or make a snapshot of all files")
	}
	id, err := s.files(ctx, m.GetSandboxId(), m.GetPath(), m.GetLimit(), m.TtlSeconds)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SnapshotDirectoryResponse{ImageId: id}), nil
}

func (s *snapshotService) MountImage(ctx context.Context, req *connect.Request[skerryv1.MountImageRequest]) (*connect.Response[skerryv1.MountImageResponse], error) {
	m := req.Msg
	if _, err := own(ctx, s.sandboxes, m.GetSandboxId()); err != nil {
		return nil, err
	}
	if err := s.snapshots.Mount(ctx, m.GetSandboxId(), m.GetPath(), m.GetImageId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.MountImageResponse{}), nil
}

func (s *snapshotService) UnmountImage(ctx context.Context, req *connect.Request[skerryv1.UnmountImageRequest]) (*connect.Response[skerryv1.UnmountImageResponse], error) {
	m := req.Msg
	if _, err := own(ctx, s.sandboxes, m.GetSandboxId()); err != nil {
		return nil, err
	}
	if err := s.snapshots.Unmount(ctx, m.GetSandboxId(), m.GetPath()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.UnmountImageResponse{}), nil
}

func (s *snapshotService) SnapshotSandbox(ctx context.Context, req *connect.Request[skerryv1.SnapshotSandboxRequest]) (*connect.Response[skerryv1.SnapshotSandboxResponse], error) {
	m := req.Msg
	ttl, err := seconds(m.TtlSeconds, snapshot.DefaultTTL)
	if err != nil {
		return nil, err
	}
	if _, err := own(ctx, s.sandboxes, m.GetSandboxId()); err != nil {
		return nil, err
	}
	snap, err := s.snapshots.Take(ctx, m.GetSandboxId(), within(m.GetLimit()), ttl)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.SnapshotSandboxResponse{SnapshotId: snap.ID}), nil
}

// ownSnapshot returns a snapshot that the caller may see.
func (s *snapshotService) ownSnapshot(ctx context.Context, id string) (*snapshot.Snapshot, error) {
	snap, err := s.snapshots.Get(ctx, id)
	if err == nil {
		err = identity.CheckApp(ctx, snap.Sandbox.AppID)
	}
	if err == nil {
		err = identity.CheckEnvironment(ctx, "snapshot", id, snap.Sandbox.Environment)
	}
	return snap, err
}

func (s *snapshotService) GetSnapshot(ctx context.Context, req *connect.Request[skerryv1.GetSnapshotRequest]) (*connect.Response[skerryv1.GetSnapshotResponse], error) {
	snap, err := s.ownSnapshot(ctx, req.Msg.GetSnapshotId())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.GetSnapshotResponse{
		SnapshotId: snap.ID, SandboxId: snap.Sandbox.ID, AppId: snap.Sandbox.AppID, Size: snap.Size, CreatedAt: timestamppb.New(snap.CreatedAt),
	}
	if !snap.ExpiresAt.IsZero() {
		res.ExpiresAt = timestamppb.New(snap.ExpiresAt)
	}
	return connect.NewResponse(res), nil
}

func (s *snapshotService) DeleteSnapshot(ctx context.Context, req *connect.Request[skerryv1.DeleteSnapshotRequest]) (*connect.Response[skerryv1.DeleteSnapshotResponse], error) {
	if _, err := s.ownSnapshot(ctx, req.Msg.GetSnapshotId()); err != nil {
		return nil, err
	}
	if err := s.snapshots.Delete(ctx, req.Msg.GetSnapshotId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteSnapshotResponse{}), nil
}

func (s *snapshotService) RestoreSandbox(ctx context.Context, req *connect.Request[skerryv1.RestoreSandboxRequest]) (*connect.Response[skerryv1.RestoreSandboxResponse], error) {
	m := req.Msg
	if _, err := s.ownSnapshot(ctx, m.GetSnapshotId()); err != nil {
		return nil, err
	}
	sb, err := s.snapshots.Restore(ctx, m.GetSnapshotId(), m.GetSandboxId(), m.GetName(), m.GetInheritName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.RestoreSandboxResponse{Sandbox: info(ctx, &sb)}), nil
}

func (s *snapshotService) ForkSandbox(ctx context.Context, req *connect.Request[skerryv1.ForkSandboxRequest]) (*connect.Response[skerryv1.ForkSandboxResponse], error) {
	m := req.Msg
	if _, err := own(ctx, s.sandboxes, m.GetSandboxId()); err != nil {
		return nil, err
	}
	list, err := s.snapshots.Fork(ctx, m.GetSandboxId(), m.GetForkIds(), within(m.GetLimit()))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ForkSandboxResponse{Sandboxes: infos(ctx, list)}), nil
}

func (s *snapshotService) PauseSandbox(ctx context.Context, req *connect.Request[skerryv1.PauseSandboxRequest]) (*connect.Response[skerryv1.PauseSandboxResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	sb, err := s.snapshots.Pause(ctx, req.Msg.GetSandboxId(), within(req.Msg.GetLimit()))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.PauseSandboxResponse{Sandbox: info(ctx, &sb)}), nil
}

func (s *snapshotService) ResumeSandbox(ctx context.Context, req *connect.Request[skerryv1.ResumeSandboxRequest]) (*connect.Response[skerryv1.ResumeSandboxResponse], error) {
	if _, err := own(ctx, s.sandboxes, req.Msg.GetSandboxId()); err != nil {
		return nil, err
	}
	sb, err := s.snapshots.Resume(ctx, req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ResumeSandboxResponse{Sandbox: info(ctx, &sb)}), nil
}
