package sandboxlink

import (
	"context"
	"log/slog"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/sandbox"
)

// snapshots serves SnapshotService.
type snapshots struct {
	host *sandbox.Host
}

var _ workerv1connect.SnapshotServiceHandler = (*snapshots)(nil)

// NewSnapshotHandler returns the path and handler of SnapshotService for a link.
func NewSnapshotHandler(host *sandbox.Host, log *slog.Logger) (string, http.Handler) {
	return workerv1connect.NewSnapshotServiceHandler(&snapshots{host: host},
		connect.WithReadMaxBytes(maxMessage),
		connect.WithCompression("gzip", nil, nil), // the link is not worth the time
		connect.WithInterceptors(link.Ended(), wire.Faults(func(procedure string, err error) {
			log.Error("call failed", "procedure", procedure, "error", err)
		})))
}

// limited bounds a call as the gateway wants.
func limited(ctx context.Context, limit *durationpb.Duration) (context.Context, context.CancelFunc) {
	if limit.AsDuration() <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit.AsDuration())
}

// SnapshotFiles implements SnapshotService.
func (s *snapshots) SnapshotFiles(ctx context.Context, req *connect.Request[workerv1.SnapshotFilesRequest]) (*connect.Response[workerv1.SnapshotFilesResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, req.Msg.GetLimit())
	defer cancel()
	image, err := found.SnapshotFiles(ctx, req.Msg.GetPath())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.SnapshotFilesResponse{Image: wire.RefToProto(image)}), nil
}

// SnapshotMemory implements SnapshotService.
func (s *snapshots) SnapshotMemory(ctx context.Context, req *connect.Request[workerv1.SnapshotMemoryRequest]) (*connect.Response[workerv1.SnapshotMemoryResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if err := ident.Check(ident.Snapshot, req.Msg.GetSnapshotId()); err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, req.Msg.GetLimit())
	defer cancel()
	ref, size, err := found.SnapshotMemory(ctx, req.Msg.GetSnapshotId(), req.Msg.GetStore())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.SnapshotMemoryResponse{
		Snapshot: &workerv1.SnapshotRef{SnapshotId: ref.ID, ManifestDigest: ref.Manifest}, Size: size,
	}), nil
}

// DropSnapshot implements SnapshotService.
func (s *snapshots) DropSnapshot(_ context.Context, req *connect.Request[workerv1.DropSnapshotRequest]) (*connect.Response[workerv1.DropSnapshotResponse], error) {
	if err := ident.Check(ident.Snapshot, req.Msg.GetSnapshotId()); err != nil {
		return nil, err
	}
	if err := s.host.DropSnapshot(req.Msg.GetSnapshotId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.DropSnapshotResponse{}), nil
}

// PauseSandbox implements SnapshotService.
func (s *snapshots) PauseSandbox(ctx context.Context, req *connect.Request[workerv1.PauseSandboxRequest]) (*connect.Response[workerv1.PauseSandboxResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, req.Msg.GetLimit())
	defer cancel()
	if err := found.Pause(ctx); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.PauseSandboxResponse{}), nil
}

// ResumeSandbox implements SnapshotService.
func (s *snapshots) ResumeSandbox(ctx context.Context, req *connect.Request[workerv1.ResumeSandboxRequest]) (*connect.Response[workerv1.ResumeSandboxResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	var renewal sandbox.Renewal
	if rules := secretsFromProto(req.Msg.GetEgressRules()); len(rules) > 0 {
		renewal.Secrets = &rules
	}
	if err := found.Resume(ctx, renewal); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.ResumeSandboxResponse{}), nil
}

// MountImage implements SnapshotService.
func (s *snapshots) MountImage(ctx context.Context, req *connect.Request[workerv1.MountImageRequest]) (*connect.Response[workerv1.MountImageResponse], error) {
	m := req.Msg
	found, err := s.host.Get(m.GetSandboxId())
	if err != nil {
		return nil, err
	}
	var image *container.Image
	if m.GetImage() != nil {
		ref, err := wire.AnyRefFromProto(m.GetImage())
		if err != nil {
			return nil, fault.New(fault.Invalid, "sandbox %q: image: %w", m.GetSandboxId(), err)
		}
		image = &container.Image{Ref: ref, Chunked: m.GetImageChunked()}
	}
	if err := found.MountImage(ctx, m.GetPath(), image); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.MountImageResponse{}), nil
}

// UnmountImage implements SnapshotService.
func (s *snapshots) UnmountImage(ctx context.Context, req *connect.Request[workerv1.UnmountImageRequest]) (*connect.Response[workerv1.UnmountImageResponse], error) {
	found, err := s.host.Get(req.Msg.GetSandboxId())
	if err != nil {
		return nil, err
	}
	if err := found.UnmountImage(ctx, req.Msg.GetPath()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.UnmountImageResponse{}), nil
}
