// Package callrpc serves the public CallService: sessions of clients, and what is asked of calls.
package callrpc

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/lineage"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

// NewService returns the handler of CallService.
func NewService(calls *call.Service) skerryv1connect.CallServiceHandler {
	return &service{calls: calls}
}

type service struct {
	calls *call.Service
}

type sessionStream = connect.BidiStream[skerryv1.SessionRequest, skerryv1.SessionResponse]

// Session reads frames in one goroutine and writes them in another, until the client has no more to send or has gone, or the gateway stops.
func (s *service) Session(ctx context.Context, stream *sessionStream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	session := s.calls.NewSession()
	read, written := make(chan error, 1), make(chan error, 1)
	// Nothing interrupts a read but the end of the request, which is this method's return: the reader may outlive it by a moment.
	go func() { read <- readFrames(ctx, stream, session) }()
	go func() { written <- writeFrames(ctx, stream, session) }()
	var err error
	select {
	case err = <-read:
		session.Close()
		cancel(nil)
		if werr := <-written; err == nil && !errors.Is(werr, fault.Unavailable) && !errors.Is(werr, context.Canceled) {
			err = werr // the client had no more to send, and did not get all it was to have
		}
	case err = <-written:
		session.Close()
		cancel(err)
	}
	return err
}

// readFrames takes what the client sends until it sends no more.
func readFrames(ctx context.Context, stream *sessionStream, session *call.Session) error {
	for {
		frame, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		seen := seenFromProto(frame.GetItemsSeen())
		for _, m := range frame.GetSubmits() {
			submit, err := submitFromProto(m, seen)
			if err != nil {
				session.Refuse(m.GetCallId(), err)
				continue
			}
			session.Submit(ctx, submit)
		}
		for _, m := range frame.GetWatches() {
			session.Watch(ctx, call.Watch{CallID: m.GetCallId(), FromIndex: m.GetFromIndex(), Seen: m.GetSeenIndexes()})
		}
		for k, n := range seen {
			session.Seen(k, n)
		}
		if released := frame.GetReleasedCallIds(); len(released) > 0 {
			session.Release(released)
		}
	}
}

// writeFrames sends what there is for the client until the session is closed, the client has gone, or ctx ends.
func writeFrames(ctx context.Context, stream *sessionStream, session *call.Session) error {
	for {
		frame, err := session.Next(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(frameToProto(&frame)); err != nil {
			return err
		}
	}
}

func seenFromProto(list []*skerryv1.ItemsSeen) map[payload.Key]uint64 {
	seen := make(map[payload.Key]uint64, len(list))
	for _, m := range list {
		seen[payload.Key{CallID: m.GetCallId(), Index: m.GetIndex()}] = m.GetCount()
	}
	return seen
}

func submitFromProto(m *skerryv1.Submit, seen map[payload.Key]uint64) (call.Submit, error) {
	s := call.Submit{
		CallID: m.GetCallId(), FunctionID: m.GetFunctionId(), Kind: call.Kind(gatewire.Byte(m.GetKind())),
		Resumed: m.GetResumed(), ParentInputID: m.GetParentInputId(), Inputs: make([]call.Item, len(m.GetInputs())),
	}
	for i, in := range m.GetInputs() {
		args, err := wire.PayloadFromProto(in.GetArgs())
		if err != nil {
			return call.Submit{}, err
		}
		s.Inputs[i] = call.Item{Index: in.GetIndex(), Method: in.GetMethod(), Args: *args}
		if n := seen[payload.Key{CallID: s.CallID, Index: in.GetIndex()}]; n > 0 {
			if s.Seen == nil {
				s.Seen = map[uint32]uint64{}
			}
			s.Seen[in.GetIndex()] = n
		}
	}
	return s, nil
}

func frameToProto(f *call.Frame) *skerryv1.SessionResponse {
	m := &skerryv1.SessionResponse{}
	if len(f.Outputs) > 0 {
		m.Outputs = make([]*skerryv1.Output, len(f.Outputs))
	}
	for i := range f.Outputs {
		o := &f.Outputs[i]
		m.Outputs[i] = &skerryv1.Output{CallId: o.Key.CallID, Index: o.Key.Index, Result: wire.ResultToProto(o.Result)}
	}
	for _, a := range f.Accepted {
		m.Accepted = append(m.Accepted, &skerryv1.Accepted{CallId: a.CallID, Indexes: a.Indexes})
	}
	for _, r := range f.Refused {
		// The same conversion as for whole requests, so that nothing without a kind leaks.
		ce := new(connect.Error)
		errors.As(fault.ToConnect(r.Err), &ce)
		m.Refused = append(m.Refused, &skerryv1.CallRefused{CallId: r.CallID, Code: uint32(ce.Code()), Message: ce.Message()})
	}
	for i := range f.Items {
		b := &f.Items[i]
		list := &skerryv1.Items{CallId: b.Key.CallID, Index: b.Key.Index, First: b.First, Values: make([]*skerryv1.Payload, len(b.Values))}
		for j, v := range b.Values {
			list.Values[j] = wire.PayloadToProto(v)
		}
		m.Items = append(m.Items, list)
	}
	for i := range f.States {
		m.States = append(m.States, stateToProto(&f.States[i]))
	}
	return m
}

func stateToProto(s *call.State) *skerryv1.CallState {
	return &skerryv1.CallState{CallId: s.CallID, NumInputs: s.NumInputs, NumFinished: s.NumFinished, Expired: s.Expired}
}

func (s *service) GetCall(ctx context.Context, req *connect.Request[skerryv1.GetCallRequest]) (*connect.Response[skerryv1.GetCallResponse], error) {
	if err := ident.Check(ident.Call, req.Msg.GetCallId()); err != nil {
		return nil, err
	}
	state, err := s.calls.Get(ctx, req.Msg.GetCallId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetCallResponse{
		State: stateToProto(&state), FunctionId: state.FunctionID, AppId: state.AppID, CreatedAt: timestamppb.New(state.CreatedAt),
	}), nil
}

func (s *service) GetCallGraph(
	ctx context.Context, req *connect.Request[skerryv1.GetCallGraphRequest],
) (*connect.Response[skerryv1.GetCallGraphResponse], error) {
	nodes, err := s.calls.Graph(ctx, req.Msg.GetCallId())
	if err != nil {
		return nil, err
	}
	m := &skerryv1.GetCallGraphResponse{Inputs: make([]*skerryv1.InputInfo, len(nodes))}
	for i := range nodes {
		n := &nodes[i]
		info := &skerryv1.InputInfo{
			InputId: lineage.InputID(n.Key), CallId: n.Key.CallID, Index: n.Key.Index, ParentInputId: n.ParentInputID, FunctionId: n.FunctionID,
			FunctionName: n.FunctionName, ModuleName: n.Module, ContainerId: n.ContainerID, Status: skerryv1.InputStatus_INPUT_STATUS_PENDING,
		}
		if n.Finished {
			info.Status, info.Result = skerryv1.InputStatus_INPUT_STATUS_FINISHED, skerryv1.ResultStatus(n.Status)
		}
		m.Inputs[i] = info
	}
	return connect.NewResponse(m), nil
}

func (s *service) CancelCall(ctx context.Context, req *connect.Request[skerryv1.CancelCallRequest]) (*connect.Response[skerryv1.CancelCallResponse], error) {
	if err := ident.Check(ident.Call, req.Msg.GetCallId()); err != nil {
		return nil, err
	}
	if err := s.calls.Cancel(ctx, req.Msg.GetCallId(), req.Msg.GetTerminateContainers()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CancelCallResponse{}), nil
}
