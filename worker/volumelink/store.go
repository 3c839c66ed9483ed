// Package volumelink is what gateway and worker say of volumes: the client of the gateway's VolumeStoreService, and the service by which
// volumes of containers are committed and reloaded.
package volumelink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/volume"
)

// maxChanges is how many changes are in a message.
const maxChanges = 2000

// Store is where volumes are kept: the gateway. It is safe for concurrent use.
type Store struct {
	rpc workerv1connect.VolumeStoreServiceClient
}

var _ volume.Store = (*Store)(nil)

// NewStore returns a client for the gateway at url. The HTTP client authenticates and speaks HTTP/2.
func NewStore(client *http.Client, url string) *Store {
	return &Store{rpc: workerv1connect.NewVolumeStoreServiceClient(client, url, connect.WithAcceptCompression("gzip", nil, nil))}
}

// OpenVolume implements volume.Store.
func (s *Store) OpenVolume(ctx context.Context, volumeID string) (volume.Version, error) {
	res, err := s.rpc.OpenVolume(ctx, connect.NewRequest(&workerv1.OpenVolumeRequest{VolumeId: volumeID}))
	if err != nil {
		return volume.Version{}, fault.FromConnect(err)
	}
	return version(res.Msg.GetVersion(), res.Msg.GetRoot())
}

func version(number uint64, root string) (volume.Version, error) {
	if err := ident.CheckDigest(root); err != nil {
		return volume.Version{}, fmt.Errorf("version %d of a volume: %w", number, err)
	}
	return volume.Version{Number: number, Root: root}, nil
}

// HoldVersions implements volume.Store.
func (s *Store) HoldVersions(ctx context.Context, roots []string) error {
	_, err := s.rpc.HoldVersions(ctx, connect.NewRequest(&workerv1.HoldVersionsRequest{Roots: roots}))
	return fault.FromConnect(err)
}

// BeginCommit implements volume.Store.
func (s *Store) BeginCommit(ctx context.Context, p volume.CommitParams) (volume.Commit, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &commit{stream: s.rpc.CommitChanges(ctx), cancel: cancel}
	err := c.stream.Send(&workerv1.CommitChangesRequest{VolumeId: p.VolumeID, RequestId: p.RequestID, ContainerId: p.ContainerID})
	if err != nil {
		defer cancel()
		return nil, c.failure(err)
	}
	return c, nil
}

// commit is one that is being sent.
type commit struct {
	stream *connect.ClientStreamForClient[workerv1.CommitChangesRequest, workerv1.CommitChangesResponse]
	cancel context.CancelFunc
}

// Send implements volume.Commit.
func (c *commit) Send(changes []voltree.Change) error {
	for len(changes) > 0 {
		n := min(len(changes), maxChanges)
		m := &workerv1.CommitChangesRequest{}
		for i := range changes[:n] {
			m.Changes = append(m.Changes, changeToProto(&changes[i]))
		}
		if err := c.stream.Send(m); err != nil {
			return c.failure(err)
		}
		changes = changes[n:]
	}
	return nil
}

// Close implements volume.Commit.
func (c *commit) Close() (volume.Version, error) {
	defer c.cancel()
	res, err := c.stream.CloseAndReceive()
	if err != nil {
		return volume.Version{}, fault.FromConnect(err)
	}
	return version(res.Msg.GetVersion(), res.Msg.GetRoot())
}

// Abort implements volume.Commit.
func (c *commit) Abort() {
	c.cancel()
	_, _ = c.stream.CloseAndReceive() // it fails, because it has just been cancelled
}

// failure is why a message could not be sent: where the peer ended the stream, its answer says it.
func (c *commit) failure(err error) error {
	if errors.Is(err, io.EOF) {
		if _, answer := c.stream.CloseAndReceive(); answer != nil {
			err = answer
		}
	}
	return fault.FromConnect(err)
}

func changeToProto(c *voltree.Change) *skerryv1.VolumeChange {
	if c.Verb == voltree.Remove {
		return &skerryv1.VolumeChange{Kind: &skerryv1.VolumeChange_Remove{Remove: &skerryv1.VolumeRemove{
			Path: c.Path, Recursive: c.Recursive, MissingOk: c.MissingOK,
		}}}
	}
	e := &c.Entry
	m := &skerryv1.VolumeEntry{
		Path: c.Path, Type: skerryv1.VolumeEntryType(e.Type), Mode: e.Mode, Uid: e.UID, Gid: e.GID, Size: e.Size, Target: e.Target,
		ModifiedAt: &timestamppb.Timestamp{Seconds: floorDiv(e.Modified), Nanos: int32(e.Modified - floorDiv(e.Modified)*1e9)}, //nolint:gosec // below 1e9
		Inode:      e.Inode,
	}
	if e.Content.Digest != "" {
		m.Content = &skerryv1.VolumeContent{Digest: e.Content.Digest, Offset: e.Content.Offset, Chunked: e.Content.Chunked}
	}
	return &skerryv1.VolumeChange{Kind: &skerryv1.VolumeChange_Put{Put: &skerryv1.VolumePut{Entry: m}}}
}

// floorDiv is whole seconds of nanoseconds, also before 1970.
func floorDiv(nano int64) int64 {
	s := nano / 1e9
	if nano%1e9 < 0 {
		s--
	}
	return s
}
