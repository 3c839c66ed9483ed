package filesrpc

import (
	"context"
	"errors"
	"slices"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/guestinit/files"
	"github.com/skerry-dev/skerry/internal/guestinit/watch"
)

var eventTypes = map[watch.Type]skerryv1.FileEventType{
	watch.Access: skerryv1.FileEventType_FILE_EVENT_TYPE_ACCESS, watch.Create: skerryv1.FileEventType_FILE_EVENT_TYPE_CREATE,
	watch.Modify: skerryv1.FileEventType_FILE_EVENT_TYPE_MODIFY, watch.Remove: skerryv1.FileEventType_FILE_EVENT_TYPE_REMOVE,
}

var errWatchOver = errors.New("the timeout of the watch has passed")

// WatchFiles sends changes of files.
func (s *Service) WatchFiles(
	ctx context.Context, req *connect.Request[skerryv1.WatchFilesRequest], stream *connect.ServerStream[skerryv1.WatchFilesResponse],
) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	m := req.Msg
	if m.GetTimeout() != nil {
		if m.GetTimeout().AsDuration() <= 0 {
			return fault.ToConnect(fault.New(fault.Invalid, "watch %q: timeout of %s: want a positive one", m.GetPath(), m.GetTimeout().AsDuration()))
		}
		var end context.CancelFunc
		ctx, end = context.WithTimeoutCause(ctx, m.GetTimeout().AsDuration(), errWatchOver)
		defer end()
	}
	if _, err := s.tree.Stat(m.GetPath()); err != nil {
		return toConnect(err)
	}
	wanted := func(t skerryv1.FileEventType) bool {
		return len(m.GetFilter()) == 0 || slices.Contains(m.GetFilter(), t)
	}
	w, err := watch.New(watch.Config{
		Path: m.GetPath(), Recursive: m.GetRecursive(), Access: wanted(skerryv1.FileEventType_FILE_EVENT_TYPE_ACCESS), Ignore: files.TempPrefix,
	})
	if err != nil {
		return fault.ToConnect(err)
	}
	defer w.Close()
	if err := stream.Send(&skerryv1.WatchFilesResponse{Watching: true}); err != nil {
		return err
	}
	err = w.Next(ctx, func(e watch.Event) error {
		// That events were lost is told whoever asks for which.
		if t := eventTypes[e.Type]; e.Type == watch.Unknown || wanted(t) {
			for i := range e.Paths {
				e.Paths[i] = text(e.Paths[i])
			}
			return stream.Send(&skerryv1.WatchFilesResponse{Type: t, Paths: e.Paths})
		}
		return nil
	})
	if errors.Is(err, errWatchOver) {
		return nil
	}
	return fault.ToConnect(err)
}
