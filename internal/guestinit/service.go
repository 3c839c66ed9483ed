package guestinit

import (
	"context"
	"syscall"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1/guestv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit/openfiles"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

// outputChunk is how much of each stream one message of ReadOutput carries at most, in bytes.
const outputChunk = 256 << 10

// maxSignal is the highest signal number of Linux.
const maxSignal = 64

// service serves skerry.guest.v1 on a table.
type service struct{ table *process.Table }

var _ guestv1connect.GuestServiceHandler = (*service)(nil)

// StartProcess starts a process.
func (s *service) StartProcess(
	_ context.Context, req *connect.Request[guestv1.StartProcessRequest],
) (*connect.Response[guestv1.StartProcessResponse], error) {
	m := req.Msg
	want := process.Spec{
		ID: m.GetProcessId(), Argv: m.GetArgv(), Env: m.GetEnv(),
		Workdir: m.GetWorkdir(), MakeWorkdir: m.GetMakeWorkdir(), Stdin: m.GetStdin(),
	}
	if want.ID == "" {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "process: want an id"))
	}
	if m.GetTerminal() != nil {
		size, err := winsize(m.GetTerminal())
		if err != nil {
			return nil, fault.ToConnect(err)
		}
		want.Terminal = size
	}
	p, err := s.table.Start(want)
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.StartProcessResponse{Pid: int32(p.PID())}), nil //nolint:gosec // PIDs fit
}

// WaitProcess waits for a process and its output.
func (s *service) WaitProcess(
	ctx context.Context, req *connect.Request[guestv1.WaitProcessRequest],
) (*connect.Response[guestv1.WaitProcessResponse], error) {
	p, err := s.table.Get(req.Msg.GetProcessId())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	select {
	case <-ctx.Done():
		return nil, fault.ToConnect(ctx.Err())
	case <-p.Done():
	}
	e := p.Exit()
	return connect.NewResponse(&guestv1.WaitProcessResponse{
		ExitCode: int32(e.Code), Signal: int32(e.Signal), CoreDumped: e.CoreDumped, //nolint:gosec // both are small
	}), nil
}

// ReadOutput streams the output of a process.
func (s *service) ReadOutput(
	ctx context.Context, req *connect.Request[guestv1.ReadOutputRequest], stream *connect.ServerStream[guestv1.ReadOutputResponse],
) error {
	p, err := s.table.Get(req.Msg.GetProcessId())
	if err != nil {
		return fault.ToConnect(err)
	}
	stdout, stderr := p.Stdout().Follow(req.Msg.GetStdoutOffset()), p.Stderr().Follow(req.Msg.GetStderrOffset())
	defer stdout.Close()
	defer stderr.Close()
	for {
		out, errs := stdout.Next(outputChunk), stderr.Next(outputChunk)
		if out.Beyond || errs.Beyond {
			return fault.ToConnect(fault.New(fault.Invalid, "process %q: the offset lies beyond what it has written", p.ID()))
		}
		if len(out.Data) > 0 || len(errs.Data) > 0 {
			err := stream.Send(&guestv1.ReadOutputResponse{
				Stdout: out.Data, Stderr: errs.Data, StdoutDropped: out.Dropped, StderrDropped: errs.Dropped,
			})
			if err != nil {
				return err
			}
			continue
		}
		if out.EOF && errs.EOF {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.ToConnect(ctx.Err())
		case <-out.Changed:
		case <-errs.Changed:
		}
	}
}

// WriteInput writes to a process.
func (s *service) WriteInput(
	ctx context.Context, req *connect.Request[guestv1.WriteInputRequest],
) (*connect.Response[guestv1.WriteInputResponse], error) {
	p, err := s.table.Get(req.Msg.GetProcessId())
	if err == nil {
		err = p.Append(ctx, req.Msg.GetData(), req.Msg.GetEof())
	}
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.WriteInputResponse{}), nil
}

// SignalProcess signals a process.
func (s *service) SignalProcess(
	_ context.Context, req *connect.Request[guestv1.SignalProcessRequest],
) (*connect.Response[guestv1.SignalProcessResponse], error) {
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
	return connect.NewResponse(&guestv1.SignalProcessResponse{}), nil
}

// ResizeTerminal resizes a terminal.
func (s *service) ResizeTerminal(
	_ context.Context, req *connect.Request[guestv1.ResizeTerminalRequest],
) (*connect.Response[guestv1.ResizeTerminalResponse], error) {
	size, err := winsize(req.Msg.GetTerminal())
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
	return connect.NewResponse(&guestv1.ResizeTerminalResponse{}), nil
}

// winsize checks a terminal's size.
func winsize(m *guestv1.Terminal) (*unix.Winsize, error) {
	const most = 1 << 12
	if m.GetRows() < 1 || m.GetRows() > most || m.GetCols() < 1 || m.GetCols() > most {
		return nil, fault.New(fault.Invalid, "terminal of %d rows and %d columns: want 1 to %d of each", m.GetRows(), m.GetCols(), most)
	}
	return &unix.Winsize{Row: uint16(m.GetRows()), Col: uint16(m.GetCols())}, nil //nolint:gosec // checked above
}

// maxPaths is how many folders may be asked about at a time.
const maxPaths = 64

// ListOpenFiles says what processes have open below some paths.
func (s *service) ListOpenFiles(
	_ context.Context, req *connect.Request[guestv1.ListOpenFilesRequest],
) (*connect.Response[guestv1.ListOpenFilesResponse], error) {
	if len(req.Msg.GetPaths()) > maxPaths {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "open files: %d paths, at most %d may be asked about", len(req.Msg.GetPaths()), maxPaths))
	}
	files, err := openfiles.Below("/proc", req.Msg.GetPaths())
	if err != nil {
		return nil, fault.ToConnect(fault.New(fault.Internal, "open files: %w", err))
	}
	out := &guestv1.ListOpenFilesResponse{}
	for _, f := range files {
		out.Files = append(out.Files, &guestv1.OpenFile{
			Path: f.Path, Pid: int32(f.PID), Command: f.Command, WorkingDirectory: f.WorkingDirectory, //nolint:gosec // PIDs fit
		})
	}
	return connect.NewResponse(out), nil
}
