// Package interpreterrpc serves skerry.v1.InterpreterService: a container's interpreters to its clients.
package interpreterrpc

import (
	"context"
	"path/filepath"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit/interpreter"
)

// Service serves a host of contexts.
type Service struct{ host *interpreter.Host }

var _ skerryv1connect.InterpreterServiceHandler = (*Service)(nil)

// New returns a service.
func New(host *interpreter.Host) *Service { return &Service{host: host} }

// CreateContext makes a context.
func (s *Service) CreateContext(
	_ context.Context, req *connect.Request[skerryv1.CreateContextRequest],
) (*connect.Response[skerryv1.CreateContextResponse], error) {
	m := req.Msg
	if m.GetWorkdir() != "" && !filepath.IsAbs(m.GetWorkdir()) {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "working directory %q: want an absolute path", m.GetWorkdir()))
	}
	c, err := s.host.Create(interpreter.Settings{
		Language: m.GetLanguage(), Workdir: m.GetWorkdir(), Env: m.GetEnv(), Sealed: m.GetEnvironmentIds(),
	})
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&skerryv1.CreateContextResponse{Context: info(c)}), nil
}

// RunCode runs code and streams what comes of it.
func (s *Service) RunCode(
	ctx context.Context, req *connect.Request[skerryv1.RunCodeRequest], stream *connect.ServerStream[skerryv1.RunCodeResponse],
) error {
	m := req.Msg
	c, err := s.find(m)
	if err != nil {
		return fault.ToConnect(err)
	}
	if t := m.GetTimeout(); t != nil && t.AsDuration() <= 0 {
		return fault.ToConnect(fault.New(fault.Invalid, "timeout of %s: want a positive one", t.AsDuration()))
	}
	done, err := c.Run(ctx, m.GetCode(), m.GetTimeout().AsDuration(), func(e interpreter.Event) error { return stream.Send(event(e)) })
	if err != nil {
		return fault.ToConnect(err)
	}
	return stream.Send(&skerryv1.RunCodeResponse{Event: &skerryv1.RunCodeResponse_Done{
		Done: &skerryv1.CodeDone{ExecutionCount: done.Count, TimedOut: done.TimedOut},
	}})
}

func (s *Service) find(m *skerryv1.RunCodeRequest) (*interpreter.Context, error) {
	if m.GetContextId() == "" {
		return s.host.Default(m.GetLanguage())
	}
	return s.host.Get(m.GetContextId())
}

func event(e interpreter.Event) *skerryv1.RunCodeResponse {
	switch {
	case e.Result != nil:
		return &skerryv1.RunCodeResponse{Event: &skerryv1.RunCodeResponse_Result{Result: &skerryv1.CodeResult{Data: e.Result, Main: e.Main}}}
	case e.Error != nil:
		return &skerryv1.RunCodeResponse{Event: &skerryv1.RunCodeResponse_Error{
			Error: &skerryv1.CodeError{Name: e.Error.Name, Value: e.Error.Value, Traceback: e.Error.Traceback},
		}}
	case e.Stderr != "":
		return &skerryv1.RunCodeResponse{Event: &skerryv1.RunCodeResponse_Stderr{Stderr: e.Stderr}}
	default:
		return &skerryv1.RunCodeResponse{Event: &skerryv1.RunCodeResponse_Stdout{Stdout: e.Stdout}}
	}
}

// ListContexts lists contexts.
func (s *Service) ListContexts(
	context.Context, *connect.Request[skerryv1.ListContextsRequest],
) (*connect.Response[skerryv1.ListContextsResponse], error) {
	m := &skerryv1.ListContextsResponse{}
	for _, c := range s.host.List() {
		m.Contexts = append(m.Contexts, info(c))
	}
	return connect.NewResponse(m), nil
}

// InterruptContext interrupts what runs.
func (s *Service) InterruptContext(
	_ context.Context, req *connect.Request[skerryv1.InterruptContextRequest],
) (*connect.Response[skerryv1.InterruptContextResponse], error) {
	c, err := s.host.Get(req.Msg.GetContextId())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	c.Interrupt()
	return connect.NewResponse(&skerryv1.InterruptContextResponse{}), nil
}

// RestartContext gives a context fresh state.
func (s *Service) RestartContext(
	_ context.Context, req *connect.Request[skerryv1.RestartContextRequest],
) (*connect.Response[skerryv1.RestartContextResponse], error) {
	c, err := s.host.Get(req.Msg.GetContextId())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	c.Restart()
	return connect.NewResponse(&skerryv1.RestartContextResponse{}), nil
}

// RemoveContext ends a context.
func (s *Service) RemoveContext(
	_ context.Context, req *connect.Request[skerryv1.RemoveContextRequest],
) (*connect.Response[skerryv1.RemoveContextResponse], error) {
	if err := s.host.Remove(req.Msg.GetContextId()); err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&skerryv1.RemoveContextResponse{}), nil
}

func info(c *interpreter.Context) *skerryv1.ContextInfo {
	return &skerryv1.ContextInfo{
		ContextId: c.ID, Language: c.Language, Workdir: c.Workdir, CreatedAt: timestamppb.New(c.CreatedAt), Busy: c.Busy(),
	}
}
