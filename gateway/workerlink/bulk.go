package workerlink

import (
	"context"
	"errors"
	"io"
	"net/http"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

const (
	// maxFrame is the largest piece of a blob in one message, in bytes.
	maxFrame = 1 << 20
	// maxBulkMessage bounds one message to the bulk service, in bytes.
	maxBulkMessage = 4 << 20
)

// BulkDeps are what the bulk service works with. All are required.
type BulkDeps struct {
	Blobs    *blob.Store
	Mounts   *mount.Service
	Profiles image.Profiles
	Logs     Frames
	Owners   Owners
}

// Frames takes what containers write. Implemented by logs.Service.
type Frames interface {
	// Push stores a frame, or returns a fault.NotFound for a container that is not known.
	Push(ctx context.Context, f logs.Frame) error
}

type bulkService struct{ d BulkDeps }

// NewBulkHandler returns the path and handler of BulkService, which workers and builders call on connections of its own; it goes behind
// their authentication.
func NewBulkHandler(d BulkDeps, opts []connect.HandlerOption) (string, http.Handler) {
	own := []connect.HandlerOption{connect.WithReadMaxBytes(maxBulkMessage), connect.WithCompression("gzip", nil, nil)}
	return workerv1connect.NewBulkServiceHandler(&bulkService{d}, append(own, opts...)...)
}

func (s *bulkService) FetchBlob(ctx context.Context, req *connect.Request[workerv1.FetchBlobRequest], stream *connect.ServerStream[workerv1.FetchBlobResponse]) (err error) {
	r, err := s.d.Blobs.Open(ctx, req.Msg.GetDigest(), 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return blob.Frames(r, maxFrame, func(piece []byte) error { return stream.Send(&workerv1.FetchBlobResponse{Data: piece}) })
}

func (s *bulkService) FetchTree(ctx context.Context, req *connect.Request[workerv1.FetchTreeRequest]) (*connect.Response[workerv1.FetchTreeResponse], error) {
	t, err := s.d.Mounts.Tree(ctx, req.Msg.GetTreeDigest())
	if err != nil {
		return nil, err
	}
	res := &workerv1.FetchTreeResponse{Files: make([]*workerv1.TreeFile, 0, len(t.Files))}
	for _, f := range t.Files {
		res.Files = append(res.Files, &workerv1.TreeFile{Path: f.Path, Blob: wire.RefToProto(f.Blob), Mode: f.Mode})
	}
	return connect.NewResponse(res), nil
}

func (s *bulkService) ClaimBlob(ctx context.Context, req *connect.Request[workerv1.ClaimBlobRequest]) (*connect.Response[workerv1.ClaimBlobResponse], error) {
	size, err := s.d.Blobs.Claim(ctx, req.Msg.GetDigest())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.ClaimBlobResponse{Size: size}), nil
}

func (s *bulkService) FetchProfile(ctx context.Context, req *connect.Request[workerv1.FetchProfileRequest]) (*connect.Response[workerv1.FetchProfileResponse], error) {
	chunks, err := s.d.Profiles.Profile(ctx, req.Msg.GetDigest())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.FetchProfileResponse{Chunks: chunks}), nil
}

func (s *bulkService) StoreProfile(ctx context.Context, req *connect.Request[workerv1.StoreProfileRequest]) (*connect.Response[workerv1.StoreProfileResponse], error) {
	digest, chunks := req.Msg.GetDigest(), req.Msg.GetChunks()
	if len(chunks) > image.MaxProfile {
		return nil, fault.New(fault.Invalid, "profile of %q: %d chunks, at most %d", digest, len(chunks), image.MaxProfile)
	}
	if err := s.d.Profiles.PutProfile(ctx, digest, chunks); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.StoreProfileResponse{}), nil
}

func (s *bulkService) StoreBlob(ctx context.Context, stream *connect.ClientStream[workerv1.StoreBlobRequest]) (*connect.Response[workerv1.StoreBlobResponse], error) {
	w, err := s.d.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	var named *skerryv1.BlobRef
	var size uint64
	for stream.Receive() {
		m := stream.Msg()
		if named != nil {
			return nil, fault.New(fault.Invalid, "blob %q: a frame after the last", named.GetDigest())
		}
		if size += uint64(len(m.GetData())); size > payload.MaxSize {
			return nil, fault.New(fault.Exhausted, "blob: over %d bytes", payload.MaxSize)
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return nil, err
		}
		named = m.GetBlob()
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	ref, err := wire.RefFromProto(named)
	if err != nil {
		return nil, err
	}
	if err := w.CommitAs(ref.Digest, ref.Size); err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.StoreBlobResponse{}), nil
}

func (s *bulkService) PushLogs(ctx context.Context, stream *connect.BidiStream[workerv1.PushLogsRequest, workerv1.PushLogsResponse]) error {
	for {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f, err := frameFromProto(m)
		if err != nil {
			return err
		}
		if err := s.push(ctx, f); err != nil {
			return err
		}
		if err := stream.Send(&workerv1.PushLogsResponse{ContainerId: f.ContainerID, Sequence: f.Sequence}); err != nil {
			return err
		}
	}
}

// push stores a frame of a container that runs, or ran, on the caller.
func (s *bulkService) push(ctx context.Context, f logs.Frame) error {
	owner, err := s.d.Owners.OwnerOf(f.Owner())
	if errors.Is(err, fault.NotFound) {
		return nil // a container that nobody knows any more has no reader: its output is acknowledged and gone
	}
	if err != nil {
		return err // the worker sends it again
	}
	if t := identity.Caller(ctx); t == nil || t.ID != owner {
		return fault.New(fault.Denied, "container %q: is not one of this worker's", f.ContainerID)
	}
	if err := s.d.Logs.Push(ctx, f); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

func frameFromProto(m *workerv1.PushLogsRequest) (logs.Frame, error) {
	f := logs.Frame{ContainerID: m.GetContainerId(), SandboxID: m.GetSandboxId(), Sequence: m.GetSequence(), EOF: m.GetEof()}
	err := ident.CheckAnyContainer(f.ContainerID)
	if f.SandboxID != "" {
		err = errors.Join(ident.Check(ident.Sidecar, f.ContainerID), ident.Check(ident.Sandbox, f.SandboxID))
	}
	if err != nil {
		return f, err
	}
	for _, e := range m.GetEntries() {
		source := logs.Source(e.GetSource())
		if source < logs.Stdout || source > logs.System || e.GetSource() > 255 {
			return f, fault.New(fault.Invalid, "container %q: log source %d is unknown", f.ContainerID, e.GetSource())
		}
		f.Entries = append(f.Entries, logs.Entry{
			Time: e.GetTime().AsTime(), Source: source, Text: e.GetText(), CallID: e.GetCallId(), Index: e.GetIndex(),
			WantsTerminal: e.GetWantsTerminal(),
		})
	}
	return f, nil
}
