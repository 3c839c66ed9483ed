// Package volumelink joins workers and builders and the volumes that they mount: it serves what they ask, and asks workers for what they have mounted.
package volumelink

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/volume"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
)

// maxHeld is how many trees a worker may hold.
const maxHeld = 100_000

// maxHolds bounds a message that names them, in bytes.
const maxHolds = 16 << 20

// Owners says whose containers are. Implemented by workerlink.Hub.
type Owners interface {
	// OwnerOf returns the id of the token with which the worker of a container has joined. Errors: fault.NotFound for containers that nobody
	// knows any more, fault.Unavailable where that is not known yet.
	OwnerOf(containerID string) (tokenID string, err error)
}

// Builds says which volumes builders may use. Implemented by buildlink.Hub.
type Builds interface {
	// MayUse refuses a volume to the builder with a token, unless a recipe names it that the builder builds, or did a moment ago: to write to
	// it, not as one that is read alone. Errors: fault.NotFound.
	MayUse(tokenID, volumeID string, write bool) error
}

// Deps are what the service of volumes works with. All are required.
type Deps struct {
	Volumes *volume.Service
	Owners  Owners
	Builds  Builds
}

// NewHandler returns the path and handler of VolumeStoreService, which workers and builders call as BulkService; it goes behind their
// authentication.
func NewHandler(d Deps, opts []connect.HandlerOption) (string, http.Handler) {
	own := []connect.HandlerOption{connect.WithReadMaxBytes(maxHolds)}
	return workerv1connect.NewVolumeStoreServiceHandler(&volumeService{d}, append(own, opts...)...)
}

type volumeService struct{ d Deps }

func (s *volumeService) OpenVolume(ctx context.Context, req *connect.Request[workerv1.OpenVolumeRequest]) (*connect.Response[workerv1.OpenVolumeResponse], error) {
	if t := identity.Caller(ctx); t != nil && t.Role == identity.Builder {
		if err := s.d.Builds.MayUse(t.ID, req.Msg.GetVolumeId(), false); err != nil {
			return nil, err
		}
	}
	v, err := s.d.Volumes.Open(ctx, req.Msg.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.OpenVolumeResponse{Version: v.Number, Root: v.Root}), nil
}

func (s *volumeService) HoldVersions(ctx context.Context, req *connect.Request[workerv1.HoldVersionsRequest]) (*connect.Response[workerv1.HoldVersionsResponse], error) {
	roots := req.Msg.GetRoots()
	if len(roots) > maxHeld {
		return nil, fault.New(fault.Invalid, "%d trees are in use, at most %d may be", len(roots), maxHeld)
	}
	// Those that are no version's and were not held are no more to be had; the others are held.
	if err := s.d.Volumes.Hold(ctx, roots); err != nil && !errors.Is(err, fault.NotFound) {
		return nil, err
	}
	return connect.NewResponse(&workerv1.HoldVersionsResponse{}), nil
}

func (s *volumeService) CommitChanges(ctx context.Context, stream *connect.ClientStream[workerv1.CommitChangesRequest]) (*connect.Response[workerv1.CommitChangesResponse], error) {
	m, err := gatewire.First(stream)
	if err != nil {
		return nil, err
	}
	c := volume.Change{
		VolumeID: m.GetVolumeId(), RequestID: m.GetRequestId(), LastWins: true, By: m.GetContainerId(), Reason: "commit",
	}
	if err := s.mayCommit(ctx, c.By, c.VolumeID); err != nil {
		return nil, err
	}
	if c.Changes, err = gatewire.GatherChanges(stream); err != nil {
		return nil, err
	}
	v, missing, err := s.d.Volumes.Change(ctx, c)
	if err == nil && len(missing) > 0 {
		err = fault.New(fault.Precondition, "volume %q: blob %q is not stored, of %d; store and commit again", c.VolumeID, missing[0], len(missing))
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.CommitChangesResponse{Version: v.Number, Root: v.Root}), nil
}

// mayCommit refuses containers of other workers, and builders what they do not build. A container that nobody knows any more has ended, and
// what it has written comes late.
func (s *volumeService) mayCommit(ctx context.Context, containerID, volumeID string) error {
	if t := identity.Caller(ctx); t != nil && t.Role == identity.Builder {
		if err := ident.Check(ident.BuildStep, containerID); err != nil {
			return err
		}
		return s.d.Builds.MayUse(t.ID, volumeID, true)
	}
	if err := ident.CheckAnyRoot(containerID); err != nil {
		return err
	}
	owner, err := s.d.Owners.OwnerOf(containerID)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if t := identity.Caller(ctx); t == nil || t.ID != owner {
		return fault.New(fault.Denied, "container %q: is not one of this worker's", containerID)
	}
	return nil
}

// Mounted are the volumes that are mounted on a linked worker.
type Mounted struct {
	rpc workerv1connect.MountedVolumeServiceClient
}

var _ volume.Mounted = (*Mounted)(nil)

// NewMounted returns those of the worker that a client reaches over its link.
func NewMounted(worker connect.HTTPClient) *Mounted {
	return &Mounted{workerv1connect.NewMountedVolumeServiceClient(worker, link.BaseURL)}
}

// Commit implements volume.Mounted.
func (m *Mounted) Commit(ctx context.Context, containerID, volumeID string) (uint64, error) {
	res, err := m.rpc.CommitMounted(ctx, connect.NewRequest(&workerv1.CommitMountedRequest{ContainerId: containerID, VolumeId: volumeID}))
	if err != nil {
		return 0, fault.FromConnect(err)
	}
	return res.Msg.GetVersion(), nil
}

// Reload implements volume.Mounted.
func (m *Mounted) Reload(ctx context.Context, p volume.MountPlace) (uint64, error) {
	res, err := m.rpc.ReloadMounted(ctx, connect.NewRequest(&workerv1.ReloadMountedRequest{
		ContainerId: p.ContainerID, VolumeId: p.VolumeID, Sidecar: p.Sidecar,
	}))
	if err != nil {
		return 0, fault.FromConnect(err)
	}
	return res.Msg.GetVersion(), nil
}
