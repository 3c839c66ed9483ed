package main

import (
	"context"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

type calls struct {
	skerryv1connect.UnimplementedCallServiceHandler
	*state
}

// session is one client's stream. What is to be sent gathers in next until the sender takes it.
type session struct {
	state   *state
	mu      sync.Mutex
	wake    chan struct{}
	next    *skerryv1.SessionResponse
	held    []heldOutput
	watched map[string]bool
	broken  chan struct{}
	once    sync.Once

	generators map[string]*generating
}

type heldOutput struct {
	function string
	output   *skerryv1.Output
}

func (s *session) breakOff() { s.once.Do(func() { close(s.broken) }) }

func (c *calls) Session(
	ctx context.Context, stream *connect.BidiStream[skerryv1.SessionRequest, skerryv1.SessionResponse],
) error {
	s := &session{
		state: c.state, wake: make(chan struct{}, 1), next: &skerryv1.SessionResponse{}, watched: map[string]bool{},
		broken: make(chan struct{}), generators: map[string]*generating{},
	}
	c.mu.Lock()
	c.sessions[s] = struct{}{}
	c.report.Sessions++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.sessions, s)
		c.mu.Unlock()
	}()
	received := make(chan error, 1)
	go func() { received <- s.receive(stream) }()
	for {
		select {
		case <-s.wake:
			if err := s.send(stream); err != nil {
				return err
			}
		case err := <-received:
			return errors.Join(err, s.send(stream))
		case <-s.broken:
			return connect.NewError(connect.CodeUnavailable, errors.New("broken by the test"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) receive(stream *connect.BidiStream[skerryv1.SessionRequest, skerryv1.SessionResponse]) error {
	for {
		request, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.state.mu.Lock()
		s.take(request)
		s.state.mu.Unlock()
	}
}

// take is called with the state locked.
func (s *session) take(request *skerryv1.SessionRequest) {
	st := s.state
	st.report.Frames++
	st.report.Released = append(st.report.Released, request.GetReleasedCallIds()...)
	for _, submit := range request.GetSubmits() {
		s.submit(submit)
	}
	for _, watch := range request.GetWatches() {
		s.watch(watch)
	}
	for _, seen := range request.GetItemsSeen() {
		s.see(seen)
	}
	s.pump()
	s.kick()
}

func (s *session) submit(submit *skerryv1.Submit) {
	st := s.state
	st.report.Inputs += len(submit.GetInputs())
	st.report.ParentInput = submit.GetParentInputId()
	if submit.GetResumed() {
		st.report.Resumed += len(submit.GetInputs())
	}
	b := st.behaviour(submit.GetFunctionId())
	if b.refuse != nil {
		s.add(func(r *skerryv1.SessionResponse) {
			r.Refused = append(r.Refused, &skerryv1.CallRefused{CallId: submit.GetCallId(), Code: b.refuse.Code, Message: b.refuse.Message})
		})
		return
	}
	if b.items != nil {
		s.generate(submit, b)
		return
	}
	outputs := make([]*skerryv1.Output, 0, len(submit.GetInputs()))
	indexes := make([]uint32, 0, len(submit.GetInputs()))
	for _, input := range submit.GetInputs() {
		result := b.result
		if result == nil {
			result = &skerryv1.Result{Status: skerryv1.ResultStatus_RESULT_STATUS_SUCCESS, Value: input.GetArgs()}
		}
		outputs = append(outputs, &skerryv1.Output{CallId: submit.GetCallId(), Index: input.GetIndex(), Result: result})
		indexes = append(indexes, input.GetIndex())
	}
	if submit.GetKind() == skerryv1.CallKind_CALL_KIND_SPAWN {
		call := st.spawned[submit.GetCallId()]
		if call == nil {
			call = &spawned{held: b.hold}
			st.spawned[submit.GetCallId()] = call
		}
		call.inputs += len(outputs)
		call.outputs = append(call.outputs, outputs...)
		st.report.Spawned = len(st.spawned)
		if b.holdAccepts {
			return
		}
		s.add(func(r *skerryv1.SessionResponse) {
			r.Accepted = append(r.Accepted, &skerryv1.Accepted{CallId: submit.GetCallId(), Indexes: indexes})
		})
		return
	}
	st.open += len(outputs)
	st.report.MostOpen = max(st.report.MostOpen, st.open)
	if b.reverse {
		for i, j := 0, len(outputs)-1; i < j; i, j = i+1, j-1 {
			outputs[i], outputs[j] = outputs[j], outputs[i]
		}
	}
	for _, output := range outputs {
		s.held = append(s.held, heldOutput{submit.GetFunctionId(), output})
	}
	s.flushHeld()
}

func (s *session) watch(watch *skerryv1.Watch) {
	call := s.state.spawned[watch.GetCallId()]
	if call == nil {
		s.add(func(r *skerryv1.SessionResponse) {
			r.Refused = append(r.Refused, &skerryv1.CallRefused{CallId: watch.GetCallId(), Code: 5, Message: "call not found"})
		})
		return
	}
	current := &skerryv1.CallState{CallId: watch.GetCallId(), NumInputs: uint32(call.inputs), Expired: call.expired} //nolint:gosec // small
	if call.held {
		s.watched[watch.GetCallId()] = true
		s.add(func(r *skerryv1.SessionResponse) { r.States = append(r.States, current) })
		return
	}
	current.NumFinished = uint32(len(call.outputs)) //nolint:gosec // small
	s.add(func(r *skerryv1.SessionResponse) {
		r.States = append(r.States, current)
		r.Outputs = append(r.Outputs, call.outputs...)
	})
}

// flush sends what is no longer held back. Called with the state locked.
func (s *state) flush() {
	for _, call := range s.spawned {
		call.held = false
	}
	for x := range s.sessions {
		x.flushHeld()
		for id := range x.watched {
			x.add(func(r *skerryv1.SessionResponse) { r.Outputs = append(r.Outputs, s.spawned[id].outputs...) })
		}
		x.watched = map[string]bool{}
		x.kick()
	}
}

func (s *session) flushHeld() {
	st := s.state
	kept := s.held[:0]
	for _, h := range s.held {
		b := st.behaviour(h.function)
		if b.hold || b.holdIndex != nil && *b.holdIndex == h.output.GetIndex() {
			kept = append(kept, h)
			continue
		}
		if st.breakAfter == 0 {
			st.breakAfter = -1
			s.breakOff()
		}
		if st.breakAfter > 0 {
			st.breakAfter--
		}
		st.open--
		s.add(func(r *skerryv1.SessionResponse) { r.Outputs = append(r.Outputs, h.output) })
	}
	s.held = kept
}

func (s *session) add(change func(r *skerryv1.SessionResponse)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.next)
}

func (s *session) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) send(stream *connect.BidiStream[skerryv1.SessionRequest, skerryv1.SessionResponse]) error {
	s.mu.Lock()
	response := s.next
	s.next = &skerryv1.SessionResponse{}
	s.mu.Unlock()
	return stream.Send(response)
}

func (c *calls) GetCall(
	_ context.Context, r *connect.Request[skerryv1.GetCallRequest],
) (*connect.Response[skerryv1.GetCallResponse], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.spawned[r.Msg.GetCallId()]
	if call == nil {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("call not found"))
	}
	return connect.NewResponse(&skerryv1.GetCallResponse{
		State: &skerryv1.CallState{CallId: r.Msg.GetCallId(), NumInputs: uint32(call.inputs)}, //nolint:gosec // small
		AppId: "ap-1", CreatedAt: now(),
	}), nil
}

// GetCallGraph shows a call of one input that made a call of two.
func (c *calls) GetCallGraph(
	_ context.Context, r *connect.Request[skerryv1.GetCallGraphRequest],
) (*connect.Response[skerryv1.GetCallGraphResponse], error) {
	id := r.Msg.GetCallId()
	finished, failed := skerryv1.InputStatus_INPUT_STATUS_FINISHED, skerryv1.ResultStatus_RESULT_STATUS_FAILURE
	return connect.NewResponse(&skerryv1.GetCallGraphResponse{Inputs: []*skerryv1.InputInfo{
		{InputId: "in-a-0", CallId: id, FunctionName: "parent", ParentInputId: "in-elsewhere-0", Status: skerryv1.InputStatus_INPUT_STATUS_PENDING},
		{
			InputId: "in-b-0", CallId: "fc-b", FunctionName: "child", ParentInputId: "in-a-0", ContainerId: "ta-1", Status: finished,
			Result: skerryv1.ResultStatus_RESULT_STATUS_SUCCESS,
		},
		{InputId: "in-b-1", CallId: "fc-b", Index: 1, FunctionName: "child", ParentInputId: "in-a-0", Status: finished, Result: failed},
	}}), nil
}

func (c *calls) CancelCall(
	_ context.Context, r *connect.Request[skerryv1.CancelCallRequest],
) (*connect.Response[skerryv1.CancelCallResponse], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Cancelled = append(c.report.Cancelled, r.Msg.GetCallId())
	return connect.NewResponse(&skerryv1.CancelCallResponse{}), nil
}
