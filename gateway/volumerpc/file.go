package volumerpc

import (
	"context"
	"math"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/volume"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/voltree"
)

const (
	// listed is how many entries a message of a list has at most; the paths of so many may be long.
	listed, listedBytes = 1000, 1 << 20
	// maxFrame is the largest piece of a file in one message, in bytes.
	maxFrame = 1 << 20
)

func (s *service) ListVolumeFiles(ctx context.Context, req *connect.Request[skerryv1.ListVolumeFilesRequest], stream *connect.ServerStream[skerryv1.ListVolumeFilesResponse]) error {
	m := req.Msg
	if _, err := s.Find(ctx, m.GetVolumeId()); err != nil {
		return err
	}
	// All messages tell the version.
	place := volume.Place{VolumeID: m.GetVolumeId(), Version: m.GetVersion(), Path: m.GetPath()}
	if place.Version == 0 {
		head, err := s.volumes.Head(ctx, place.VolumeID)
		if err != nil {
			return err
		}
		place.Version = head.Number
	}
	next, size := &skerryv1.ListVolumeFilesResponse{Version: place.Version}, 0
	err := s.volumes.Files(ctx, place, m.GetRecursive(), func(path string, e voltree.Entry) error {
		next.Entries = append(next.Entries, gatewire.VolumeEntryToProto(path, &e))
		size += len(path) + len(e.Target)
		if len(next.Entries) < listed && size < listedBytes {
			return nil
		}
		full := next
		next, size = &skerryv1.ListVolumeFilesResponse{Version: place.Version}, 0
		return stream.Send(full)
	})
	if err != nil {
		return err
	}
	return stream.Send(next) // also an empty one, which tells the version
}

// frames sends what is written in messages.
type frames struct {
	stream *connect.ServerStream[skerryv1.ReadVolumeFileResponse]
}

func (f frames) Write(p []byte) (n int, err error) {
	for n < len(p) {
		piece := p[n:min(len(p), n+maxFrame)]
		if err := f.stream.Send(&skerryv1.ReadVolumeFileResponse{Data: piece}); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

func (s *service) ReadVolumeFile(ctx context.Context, req *connect.Request[skerryv1.ReadVolumeFileRequest], stream *connect.ServerStream[skerryv1.ReadVolumeFileResponse]) error {
	m := req.Msg
	if _, err := s.Find(ctx, m.GetVolumeId()); err != nil {
		return err
	}
	f, err := s.volumes.File(ctx, volume.Place{VolumeID: m.GetVolumeId(), Version: m.GetVersion(), Path: m.GetPath()})
	if err != nil {
		return err
	}
	first := &skerryv1.ReadVolumeFileResponse{Entry: gatewire.VolumeEntryToProto(m.GetPath(), &f.Entry), Version: f.Version}
	if err := stream.Send(first); err != nil {
		return err
	}
	length := m.GetLength()
	if length == 0 {
		length = math.MaxUint64
	}
	return f.Write(ctx, frames{stream}, m.GetOffset(), length)
}

func (s *service) ChangeVolume(ctx context.Context, stream *connect.ClientStream[skerryv1.ChangeVolumeRequest]) (*connect.Response[skerryv1.ChangeVolumeResponse], error) {
	m, err := gatewire.First(stream)
	if err != nil {
		return nil, err
	}
	c := volume.Change{VolumeID: m.GetVolumeId(), RequestID: m.GetRequestId(), By: by(ctx)}
	if _, err := s.Find(ctx, c.VolumeID); err != nil {
		return nil, err
	}
	if c.Changes, err = gatewire.GatherChanges(stream); err != nil {
		return nil, err
	}
	c.Reason = reason(c.Changes)
	v, missing, err := s.volumes.Change(ctx, c)
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ChangeVolumeResponse{MissingDigests: missing}
	if v != nil {
		res.Version = versionToProto(v)
	}
	return connect.NewResponse(res), nil
}

// reason is what changes are called in a history: what the first of them does.
func reason(changes []voltree.Change) string {
	if len(changes) == 0 {
		return "change"
	}
	switch changes[0].Verb {
	case voltree.Put:
		return "upload"
	case voltree.Remove:
		return "remove"
	case voltree.Copy:
		return "copy"
	default:
		return "move"
	}
}
