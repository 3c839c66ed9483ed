package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/logs"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

type logService struct{ d Deps }

func (s *logService) StreamLogs(ctx context.Context, req *connect.Request[skerryv1.StreamLogsRequest], stream *connect.ServerStream[skerryv1.StreamLogsResponse]) error {
	q, err := s.query(ctx, req.Msg)
	if err != nil {
		return err
	}
	if q.Follow {
		// The first frame carries the headers: the client knows at once that the stream stands.
		if err := stream.Send(&skerryv1.StreamLogsResponse{}); err != nil {
			return err
		}
	}
	return s.d.Logs.Read(ctx, q, func(entries []logs.Entry) error {
		res := &skerryv1.StreamLogsResponse{Entries: make([]*skerryv1.LogEntry, 0, len(entries))}
		for _, e := range entries {
			res.Entries = append(res.Entries, &skerryv1.LogEntry{
				Time: timestamppb.New(e.Time), Source: skerryv1.LogSource(e.Source), Text: e.Text,
				FunctionId: e.FunctionID, FunctionName: e.FunctionName, ContainerId: e.ContainerID,
				CallId: e.CallID, Index: e.Index, WantsTerminal: e.WantsTerminal,
			})
		}
		return stream.Send(res)
	})
}

func (s *logService) query(ctx context.Context, m *skerryv1.StreamLogsRequest) (logs.Query, error) {
	q := logs.Query{
		Search: m.GetSearch(), Source: logs.Source(gatewire.Byte(m.GetSource())), Tail: int(m.GetTail()), Follow: m.GetFollow(),
		Selection: logs.Selection{FunctionID: m.GetFunctionId(), ContainerID: m.GetContainerId()},
	}
	if q.Source > logs.System {
		return q, fault.New(fault.Invalid, "log source %d: unknown", m.GetSource())
	}
	if q.FunctionID != "" {
		if err := ident.Check(ident.Function, q.FunctionID); err != nil {
			return q, err
		}
	}
	if q.ContainerID != "" && ident.Check(ident.Sidecar, q.ContainerID) != nil {
		if err := ident.CheckAnyContainer(q.ContainerID); err != nil {
			return q, err
		}
	}
	if q.CallID = m.GetCallId(); q.CallID != "" {
		if err := ident.Check(ident.Call, q.CallID); err != nil {
			return q, err
		}
	}
	if m.GetSince() != nil {
		q.Since = m.GetSince().AsTime()
	}
	if m.GetUntil() != nil {
		q.Until = m.GetUntil().AsTime()
	}
	if m.GetApp() == "" {
		if q.ContainerID == "" {
			return q, fault.New(fault.Invalid, "logs: name an app or a container")
		}
		who, ok := s.d.Where.Identify(q.ContainerID)
		if !ok {
			return q, fault.New(fault.NotFound, "container %q: none that runs or ended lately; name its app as well", q.ContainerID)
		}
		q.AppID = who.AppID
		return q, identity.CheckEnvironment(ctx, "container", q.ContainerID, who.Environment)
	}
	env, err := identity.Environment(ctx, m.GetEnvironment())
	if err != nil {
		return q, err
	}
	a, err := s.d.Apps.FindListed(ctx, env, m.GetApp())
	if err == nil {
		err = identity.CheckEnvironment(ctx, "app", m.GetApp(), a.Environment)
	}
	if err != nil {
		return q, err
	}
	q.AppID = a.ID
	return q, nil
}
