package volumelink

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/volume"
)

// Containers finds how a container, or with a name a sidecar of it, sees a volume, or with "" all of its. Errors: fault.NotFound, fault.Unavailable.
type Containers func(ctx context.Context, of container.MountsOf, sidecar string) (container.Seen, error)

// Service serves MountedVolumeService.
type Service struct {
	volumes    *volume.Host
	containers Containers
}

var _ workerv1connect.MountedVolumeServiceHandler = (*Service)(nil)

// NewHandler returns the path and handler of MountedVolumeService for a link.
func NewHandler(volumes *volume.Host, containers Containers, log *slog.Logger) (string, http.Handler) {
	return workerv1connect.NewMountedVolumeServiceHandler(&Service{volumes, containers},
		connect.WithCompression("gzip", nil, nil), // the link is not worth the time
		connect.WithInterceptors(link.Ended(), wire.Faults(func(procedure string, err error) {
			log.Error("call failed", "procedure", procedure, "error", err)
		})))
}

func check(containerID, volumeID string) error {
	if err := ident.CheckAnyContainer(containerID); err != nil || volumeID == "" {
		return err
	}
	return ident.Check(ident.Volume, volumeID)
}

// CommitMounted implements MountedVolumeService.
func (s *Service) CommitMounted(
	ctx context.Context, req *connect.Request[workerv1.CommitMountedRequest],
) (*connect.Response[workerv1.CommitMountedResponse], error) {
	m := req.Msg
	if err := check(m.GetContainerId(), m.GetVolumeId()); err != nil {
		return nil, err
	}
	version, err := s.volumes.Commit(ctx, m.GetContainerId(), m.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.CommitMountedResponse{Version: version}), nil
}

// ReloadMounted implements MountedVolumeService.
func (s *Service) ReloadMounted(
	ctx context.Context, req *connect.Request[workerv1.ReloadMountedRequest],
) (*connect.Response[workerv1.ReloadMountedResponse], error) {
	m := req.Msg
	if err := check(m.GetContainerId(), m.GetVolumeId()); err != nil {
		return nil, err
	}
	if name := m.GetSidecar(); name != "" {
		if err := ident.CheckName("sidecar", name); err != nil {
			return nil, err
		}
	}
	version, err := s.reload(ctx, container.MountsOf{ContainerID: m.GetContainerId(), VolumeID: m.GetVolumeId()}, m.GetSidecar())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.ReloadMountedResponse{Version: version}), nil
}

func (s *Service) reload(ctx context.Context, of container.MountsOf, sidecar string) (version uint64, err error) {
	if _, err := s.volumes.Paths(of.ContainerID, of.VolumeID); err != nil {
		return 0, err
	}
	// This fails for one that has ended, which had volumes perhaps: only of one that runs is it known that it has none.
	seen, err := s.containers(ctx, of, sidecar)
	if err != nil {
		return 0, err
	}
	defer seen.Release()
	for _, v := range seen.Views {
		open, err := v.Inside.OpenFiles(ctx, v.Paths)
		if err != nil {
			return 0, err
		}
		if len(open) > 0 {
			return 0, opened(open)
		}
	}
	if len(seen.Mounts) == 0 && of.VolumeID != "" {
		return 0, fault.New(fault.NotFound, "volume %q: is not mounted in container %q", of.VolumeID, of.ContainerID)
	}
	for _, m := range seen.Mounts {
		if version, err = s.volumes.Reload(ctx, m.ContainerID, m.VolumeID); err != nil {
			return 0, err
		}
	}
	return version, nil
}

// opened says what prevents a reload.
func opened(files []container.OpenFile) error {
	var what []string
	for _, f := range files {
		if f.WorkingDirectory {
			what = append(what, fmt.Sprintf("cwd of '%s' is inside volume", f.Command))
		} else {
			what = append(what, fmt.Sprintf("path %s is open from '%s'", f.Path, f.Command))
		}
	}
	return fault.New(fault.Precondition, "there are open files preventing the operation: %s", strings.Join(what, "; "))
}
