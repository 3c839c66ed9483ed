package rpc

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/wire"
)

type blobService struct{ d Deps }

func (s *blobService) Upload(ctx context.Context, stream *connect.ClientStream[skerryv1.UploadRequest]) (*connect.Response[skerryv1.UploadResponse], error) {
	if !stream.Receive() {
		if err := stream.Err(); err != nil {
			return nil, err
		}
		return nil, fault.New(fault.Invalid, "upload: no frames")
	}
	ref, err := wire.RefFromProto(stream.Msg().GetBlob())
	if err != nil {
		return nil, tooLarge(stream.Msg().GetBlob(), err)
	}
	w, err := s.d.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	var size uint64
	for ok := true; ok; ok = stream.Receive() {
		data := stream.Msg().GetData()
		if size += uint64(len(data)); size > ref.Size {
			return nil, fault.New(fault.Invalid, "blob %q: more than the %d bytes announced", ref.Digest, ref.Size)
		}
		if len(data) > MaxFrame {
			return nil, fault.New(fault.Invalid, "blob %q: a frame of %d bytes, at most %d", ref.Digest, len(data), MaxFrame)
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	if err := w.CommitAs(ref.Digest, ref.Size); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.UploadResponse{}), nil
}

// tooLarge makes an upload's size over the limit the error that the service promises.
func tooLarge(m *skerryv1.BlobRef, err error) error {
	if _, other := wire.AnyRefFromProto(m); other != nil {
		return err
	}
	return fault.New(fault.Exhausted, "%w", errors.New(err.Error()))
}

func (s *blobService) Download(ctx context.Context, req *connect.Request[skerryv1.DownloadRequest], stream *connect.ServerStream[skerryv1.DownloadResponse]) (err error) {
	digest, offset := req.Msg.GetDigest(), req.Msg.GetOffset()
	size, err := s.d.Blobs.Size(ctx, digest)
	if err != nil {
		return err
	}
	if offset > size {
		return fault.New(fault.Invalid, "blob %q: offset %d is past its end, %d", digest, offset, size)
	}
	r, err := s.d.Blobs.Open(ctx, digest, offset)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return blob.Frames(r, MaxFrame, func(piece []byte) error { return stream.Send(&skerryv1.DownloadResponse{Data: piece}) })
}

type mountService struct{ d Deps }

func (s *mountService) CreateMount(ctx context.Context, req *connect.Request[skerryv1.CreateMountRequest]) (*connect.Response[skerryv1.CreateMountResponse], error) {
	files := make([]mount.File, 0, len(req.Msg.GetFiles()))
	for _, f := range req.Msg.GetFiles() {
		ref, err := wire.RefFromProto(&skerryv1.BlobRef{Digest: f.GetDigest(), Size: f.GetSize()})
		if err != nil {
			return nil, err
		}
		files = append(files, mount.File{Path: f.GetPath(), Blob: ref, Mode: f.GetMode()})
	}
	digest, missing, err := s.d.Mounts.Create(ctx, files)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CreateMountResponse{TreeDigest: digest, MissingDigests: missing}), nil
}
