package sandboxrpc

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of how often metrics are sent.
const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Hour
)

// NewWatchService returns the handler of SandboxWatchService.
func NewWatchService(s *sandbox.Service) skerryv1connect.SandboxWatchServiceHandler {
	return &watchService{s}
}

type watchService struct{ sandboxes *sandbox.Service }

func (s *watchService) StreamSandboxEvents(ctx context.Context, req *connect.Request[skerryv1.StreamSandboxEventsRequest], stream *connect.ServerStream[skerryv1.StreamSandboxEventsResponse]) error {
	m := req.Msg
	f, err := filter(ctx, sandbox.Filter{ID: m.GetSandboxId(), AppID: m.GetAppId(), Owner: m.GetOwner(), Tags: m.GetTags()})
	if err != nil {
		return err
	}
	if f.ID != "" {
		if err := ident.Check(ident.Sandbox, f.ID); err != nil {
			return err
		}
		if _, err := own(ctx, s.sandboxes, f.ID); err != nil {
			return err
		}
	}
	watching := func() error { return stream.Send(&skerryv1.StreamSandboxEventsResponse{Watching: true}) }
	return s.sandboxes.Events(ctx, f, watching, func(e sandbox.Event) error {
		return stream.Send(&skerryv1.StreamSandboxEventsResponse{
			Type: skerryv1.SandboxEventType(e.Type), Sandbox: info(ctx, &e.Sandbox), Time: timestamppb.New(e.At), ObjectId: e.ObjectID,
		})
	})
}

func (s *watchService) StreamSandboxMetrics(ctx context.Context, req *connect.Request[skerryv1.StreamSandboxMetricsRequest], stream *connect.ServerStream[skerryv1.StreamSandboxMetricsResponse]) error {
	id := req.Msg.GetSandboxId()
	interval := time.Duration(0)
	if d := req.Msg.GetInterval(); d != nil {
		if interval = d.AsDuration(); interval < minInterval || interval > maxInterval {
			return fault.New(fault.Invalid, "metrics of sandbox %q: interval %s: want %s to %s", id, interval, minInterval, maxInterval)
		}
	}
	if _, err := own(ctx, s.sandboxes, id); err != nil {
		return err
	}
	if err := s.sendUsage(ctx, id, stream); err != nil || interval == 0 {
		return err
	}
	over := make(chan struct{})
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// It ends with this call, or with the sandbox.
		defer close(over)
		for inner.Err() == nil {
			if sb, err := s.sandboxes.Wait(inner, id, sandbox.MaxWait); err != nil || sb.State == sandbox.Ended {
				return
			}
		}
	}()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.sendUsage(ctx, id, stream); err != nil {
				select {
				case <-over:
					return nil
				default:
					return err
				}
			}
		case <-over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *watchService) sendUsage(ctx context.Context, id string, stream *connect.ServerStream[skerryv1.StreamSandboxMetricsResponse]) error {
	u, err := s.sandboxes.Usage(ctx, id)
	if err != nil {
		return err
	}
	return stream.Send(&skerryv1.StreamSandboxMetricsResponse{
		Time: timestamppb.Now(), CpuTime: durationpb.New(u.CPUTime), CpuLimitMilli: u.CPULimitMilli,
		MemoryBytes: u.MemoryBytes, MemoryLimitBytes: u.MemoryLimitBytes, DiskBytes: u.DiskBytes, DiskLimitBytes: u.DiskLimitBytes,
		NetworkReceivedBytes: u.NetworkReceived, NetworkSentBytes: u.NetworkSent, Processes: u.Processes,
	})
}
