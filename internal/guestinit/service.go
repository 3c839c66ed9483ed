package guestinit

import (
	"context"
	"syscall"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1/guestv1connect"
)

// outputChunk is how much of each stream one message of ReadOutput carries at most, in bytes.
const outputChunk = 256 << 10

// maxSignal is the highest signal number of Linux.
const maxSignal = 64

// service serves skerry.guest.v1 on a table.
type service struct{ table *table }

var _ guestv1connect.GuestServiceHandler = (*service)(nil)

// StartProcess starts a process.
func (s *service) StartProcess(
	_ context.Context, req *connect.Request[guestv1.StartProcessRequest],
) (*connect.Response[guestv1.StartProcessResponse], error) {
	m := req.Msg
	want := spec{
		id: m.GetProcessId(), argv: m.GetArgv(), env: m.GetEnv(),
		workdir: m.GetWorkdir(), makeWorkdir: m.GetMakeWorkdir(), stdin: m.GetStdin(),
	}
	if m.GetTerminal() != nil {
		size, err := winsize(m.GetTerminal())
		if err != nil {
			return nil, fault.ToConnect(err)
		}
		want.terminal = size
	}
	p, err := s.table.start(want)
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	return connect.NewResponse(&guestv1.StartProcessResponse{Pid: int32(p.pid)}), nil //nolint:gosec // PIDs fit
}

// WaitProcess waits for a process and its output.
func (s *service) WaitProcess(
	ctx context.Context, req *connect.Request[guestv1.WaitProcessRequest],
) (*connect.Response[guestv1.WaitProcessResponse], error) {
	p, err := s.table.get(req.Msg.GetProcessId())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	select {
	case <-ctx.Done():
		return nil, fault.ToConnect(ctx.Err())
	case <-p.done:
	}
	res := &guestv1.WaitProcessResponse{}
	if p.status.Signaled() {
		res.Signal, res.CoreDumped = int32(p.status.Signal()), p.status.CoreDump() //nolint:gosec // signal numbers are small
	} else {
		res.ExitCode = int32(p.status.ExitStatus()) //nolint:gosec // at most 255
	}
	return connect.NewResponse(res), nil
}

// ReadOutput streams the output of a process.
func (s *service) ReadOutput(
	ctx context.Context, req *connect.Request[guestv1.ReadOutputRequest], stream *connect.ServerStream[guestv1.ReadOutputResponse],
) error {
	p, err := s.table.get(req.Msg.GetProcessId())
	if err != nil {
		return fault.ToConnect(err)
	}
	stdout, stderr := p.stdout.follow(req.Msg.GetStdoutOffset()), p.stderr.follow(req.Msg.GetStderrOffset())
	defer stdout.close()
	defer stderr.close()
	for {
		out, errs := stdout.next(outputChunk), stderr.next(outputChunk)
		if out.beyond || errs.beyond {
			return fault.ToConnect(fault.New(fault.Invalid, "process %q: the offset lies beyond what it has written", p.id))
		}
		if len(out.data) > 0 || len(errs.data) > 0 {
			err := stream.Send(&guestv1.ReadOutputResponse{
				Stdout: out.data, Stderr: errs.data, StdoutDropped: out.dropped, StderrDropped: errs.dropped,
			})
			if err != nil {
				return err
			}
			continue
		}
		if out.eof && errs.eof {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.ToConnect(ctx.Err())
		case <-out.changed:
		case <-errs.changed:
		}
	}
}

// WriteInput writes to a process.
func (s *service) WriteInput(
	ctx context.Context, req *connect.Request[guestv1.WriteInputRequest],
) (*connect.Response[guestv1.WriteInputResponse], error) {
	p, err := s.table.get(req.Msg.GetProcessId())
	if err == nil {
		err = p.write(ctx, req.Msg.GetData(), req.Msg.GetEof())
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
	if err := s.table.signal(req.Msg.GetProcessId(), syscall.Signal(sig), req.Msg.GetGroup()); err != nil {
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
	p, err := s.table.get(req.Msg.GetProcessId())
	if err == nil {
		err = p.resize(size)
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
