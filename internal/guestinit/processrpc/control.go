package processrpc

import (
	"context"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

// maxSignal is the highest signal number of Linux.
const maxSignal = 64

// WaitProcess waits for a process, but not for ever.
func (s *Service) WaitProcess(
	ctx context.Context, req *connect.Request[skerryv1.WaitProcessRequest],
) (*connect.Response[skerryv1.WaitProcessResponse], error) {
	p, err := s.table.Get(req.Msg.GetProcessId())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	limit := req.Msg.GetLimit().AsDuration()
	if limit < 0 || limit > maxWait {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "limit of %s: want 0 to %s", limit, maxWait))
	}
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil, fault.ToConnect(context.Cause(ctx))
		case <-timer.C:
		case <-p.Done():
		}
	}
	return connect.NewResponse(&skerryv1.WaitProcessResponse{Exited: exited(p)}), nil
}

// WriteProcessInput writes to a process.
func (s *Service) WriteProcessInput(
	ctx context.Context, req *connect.Request[skerryv1.WriteProcessInputRequest],
) (*connect.Response[skerryv1.WriteProcessInputResponse], error) {
	m := req.Msg
	if len(m.GetData()) > process.MaxInput {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "input of %d bytes: want at most %d at a time", len(m.GetData()), process.MaxInput))
	}
	p, err := s.table.Get(m.GetProcessId())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	offset, err := p.WriteAt(ctx, m.GetOffset(), m.GetData(), m.GetEof())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&skerryv1.WriteProcessInputResponse{Offset: offset}), nil
}

// SignalProcess signals a process.
func (s *Service) SignalProcess(
	_ context.Context, req *connect.Request[skerryv1.SignalProcessRequest],
) (*connect.Response[skerryv1.SignalProcessResponse], error) {
	sig := req.Msg.GetSignal()
	if sig < 1 || sig > maxSignal {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "signal %d: want 1 to %d", sig, maxSignal))
	}
	p, err := s.table.Get(req.Msg.GetProcessId())
	if err == nil {
		err = s.table.Signal(p, syscall.Signal(sig), req.Msg.GetGroup())
	}
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&skerryv1.SignalProcessResponse{}), nil
}

// ResizeTerminal resizes a terminal.
func (s *Service) ResizeTerminal(
	_ context.Context, req *connect.Request[skerryv1.ResizeTerminalRequest],
) (*connect.Response[skerryv1.ResizeTerminalResponse], error) {
	size, err := winsize(req.Msg.GetSize())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	p, err := s.table.Get(req.Msg.GetProcessId())
	if err == nil {
		err = p.Resize(size)
	}
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&skerryv1.ResizeTerminalResponse{}), nil
}

// ListProcesses lists what was started here, and with all every process of the container.
func (s *Service) ListProcesses(
	_ context.Context, req *connect.Request[skerryv1.ListProcessesRequest],
) (*connect.Response[skerryv1.ListProcessesResponse], error) {
	res := &skerryv1.ListProcessesResponse{}
	for _, p := range s.table.List() {
		res.Processes = append(res.Processes, info(p))
	}
	if req.Msg.GetAll() {
		system, err := listSystem("/proc")
		if err != nil {
			return nil, fault.ToConnect(err)
		}
		res.System = system
	}
	return connect.NewResponse(res), nil
}

func info(p *process.Process) *skerryv1.ProcessInfo {
	return &skerryv1.ProcessInfo{
		ProcessId: p.ID(), Pid: int32(p.PID()), Argv: p.Argv(), Workdir: p.Workdir(), Pty: p.Terminal(), //nolint:gosec // PIDs fit
		StartedAt: timestamppb.New(p.StartedAt()), Exited: exited(p), StdoutSize: p.Stdout().End(), StderrSize: p.Stderr().End(),
	}
}
