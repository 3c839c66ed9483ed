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
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/volume"
)

// Containers finds what is in containers. Errors: fault.NotFound.
type Containers func(ctx context.Context, containerID string) (container.Inside, error)

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
		connect.WithInterceptors(wire.Faults(func(procedure string, err error) {
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
	paths, err := s.volumes.Paths(m.GetContainerId(), m.GetVolumeId())
	if err != nil {
		return nil, err
	}
	// This fails for one that has ended, which had volumes perhaps: only of one that runs is it known that it has none.
	inside, err := s.containers(ctx, m.GetContainerId())
	if err != nil {
		return nil, err
	}
	open, err := inside.OpenFiles(ctx, paths)
	if err != nil {
		return nil, err
	}
	if len(open) > 0 {
		return nil, opened(open)
	}
	if len(paths) == 0 && m.GetVolumeId() == "" {
		return connect.NewResponse(&workerv1.ReloadMountedResponse{}), nil
	}
	version, err := s.volumes.Reload(ctx, m.GetContainerId(), m.GetVolumeId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&workerv1.ReloadMountedResponse{Version: version}), nil
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
