package workerlink

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/snapshot"
	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

// Snapshots are those of a linked worker.
type Snapshots struct {
	rpc workerv1connect.SnapshotServiceClient
}

var _ snapshot.Worker = (*Snapshots)(nil)

// Client reaches a linked worker's services, or returns a fault.Unavailable.
func (h *Hub) Client(workerID string) (connect.HTTPClient, error) {
	h.mu.Lock()
	w := h.links[workerID]
	h.mu.Unlock()
	if w == nil {
		return nil, fault.New(fault.Unavailable, "worker %q: is not connected at the moment; try again", workerID)
	}
	return w.client.HTTPClient(), nil
}

// snapshotClient returns a client of a linked worker, or a fault.Unavailable.
func (h *Hub) snapshotClient(workerID string) (workerv1connect.SnapshotServiceClient, error) {
	client, err := h.Client(workerID)
	if err != nil {
		return nil, err
	}
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	return workerv1connect.NewSnapshotServiceClient(client, link.BaseURL, plain), nil
}

// Snapshots returns a linked worker's, or a fault.Unavailable.
func (h *Hub) Snapshots(workerID string) (*Snapshots, error) {
	rpc, err := h.snapshotClient(workerID)
	return &Snapshots{rpc}, err
}

// Files implements snapshot.Worker.
func (s *Snapshots) Files(ctx context.Context, sandboxID, path string, limit time.Duration) (payload.Ref, error) {
	res, err := s.rpc.SnapshotFiles(ctx, connect.NewRequest(&workerv1.SnapshotFilesRequest{SandboxId: sandboxID, Path: path, Limit: durationpb.New(limit)}))
	if err != nil {
		return payload.Ref{}, fault.FromConnect(err)
	}
	return wire.AnyRefFromProto(res.Msg.GetImage())
}

// Memory implements snapshot.Worker.
func (s *Snapshots) Memory(ctx context.Context, sandboxID, snapshotID string, limit time.Duration, store bool) (string, uint64, error) {
	res, err := s.rpc.SnapshotMemory(ctx, connect.NewRequest(&workerv1.SnapshotMemoryRequest{
		SandboxId: sandboxID, SnapshotId: snapshotID, Limit: durationpb.New(limit), Store: store,
	}))
	if err != nil {
		return "", 0, fault.FromConnect(err)
	}
	return res.Msg.GetSnapshot().GetManifestDigest(), res.Msg.GetSize(), nil
}

// Drop implements snapshot.Worker.
func (s *Snapshots) Drop(ctx context.Context, snapshotID string) error {
	_, err := s.rpc.DropSnapshot(ctx, connect.NewRequest(&workerv1.DropSnapshotRequest{SnapshotId: snapshotID}))
	return fault.FromConnect(err)
}

// Pause implements snapshot.Worker.
func (s *Snapshots) Pause(ctx context.Context, sandboxID string, limit time.Duration) error {
	_, err := s.rpc.PauseSandbox(ctx, connect.NewRequest(&workerv1.PauseSandboxRequest{SandboxId: sandboxID, Limit: durationpb.New(limit)}))
	return fault.FromConnect(err)
}

// Resume implements snapshot.Worker.
func (s *Snapshots) Resume(ctx context.Context, sandboxID string, rules []sandbox.EgressRule) error {
	_, err := s.rpc.ResumeSandbox(ctx, connect.NewRequest(&workerv1.ResumeSandboxRequest{
		SandboxId: sandboxID, EgressRules: rulesToProto(rules),
	}))
	return fault.FromConnect(err)
}

// Mount implements snapshot.Worker.
func (s *Snapshots) Mount(ctx context.Context, sandboxID, path string, image *sandbox.Image) error {
	m := &workerv1.MountImageRequest{SandboxId: sandboxID, Path: path}
	if image != nil {
		m.Image, m.ImageChunked = wire.RefToProto(image.File), image.Chunked
	}
	_, err := s.rpc.MountImage(ctx, connect.NewRequest(m))
	return fault.FromConnect(err)
}

// Unmount implements snapshot.Worker.
func (s *Snapshots) Unmount(ctx context.Context, sandboxID, path string) error {
	_, err := s.rpc.UnmountImage(ctx, connect.NewRequest(&workerv1.UnmountImageRequest{SandboxId: sandboxID, Path: path}))
	return fault.FromConnect(err)
}
