package processrpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

// outputChunk is how much of each stream one message carries at most, in bytes.
const outputChunk = 256 << 10

// FollowProcess follows a process from offsets on.
func (s *Service) FollowProcess(
	ctx context.Context, req *connect.Request[skerryv1.FollowProcessRequest], stream *connect.ServerStream[skerryv1.FollowProcessResponse],
) error {
	p, err := s.table.Get(req.Msg.GetProcessId())
	if err != nil {
		return fault.ToConnect(err)
	}
	send := func(e *skerryv1.ProcessEvent) error { return stream.Send(&skerryv1.FollowProcessResponse{Event: e}) }
	return fault.ToConnect(follow(ctx, p, req.Msg.GetStdoutOffset(), req.Msg.GetStderrOffset(), send))
}

// follow sends what a process writes from offsets on, and how it ended. Errors: send's, fault.Invalid, the cause of ctx.
func follow(ctx context.Context, p *process.Process, fromStdout, fromStderr uint64, send func(*skerryv1.ProcessEvent) error) error {
	stdout, stderr := p.Stdout().Follow(fromStdout), p.Stderr().Follow(fromStderr)
	defer stdout.Close()
	defer stderr.Close()
	for {
		out, errs := stdout.Next(outputChunk), stderr.Next(outputChunk)
		if out.Beyond || errs.Beyond {
			return fault.New(fault.Invalid, "process %q: the offset lies beyond what it has written", p.ID())
		}
		if len(out.Data) > 0 || len(errs.Data) > 0 {
			err := send(&skerryv1.ProcessEvent{Event: &skerryv1.ProcessEvent_Output{Output: &skerryv1.ProcessOutput{
				Stdout: out.Data, Stderr: errs.Data, StdoutOffset: out.Offset(), StderrOffset: errs.Offset(),
			}}})
			if err != nil {
				return err
			}
			continue
		}
		if out.EOF && errs.EOF {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-out.Changed:
		case <-errs.Changed:
		}
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.Done():
	}
	return send(&skerryv1.ProcessEvent{Event: &skerryv1.ProcessEvent_Exited{Exited: exited(p)}})
}

func startedEvent(p *process.Process) *skerryv1.ProcessEvent {
	return &skerryv1.ProcessEvent{Event: &skerryv1.ProcessEvent_Started{Started: &skerryv1.ProcessStarted{
		Pid: int32(p.PID()), StartedAt: timestamppb.New(p.StartedAt()), //nolint:gosec // PIDs fit
	}}}
}

// exited says how a process ended, or nil while it runs.
func exited(p *process.Process) *skerryv1.ProcessExited {
	select {
	case <-p.Done():
	default:
		return nil
	}
	e := p.Exit()
	m := &skerryv1.ProcessExited{ExitCode: int32(e.Code), Signal: int32(e.Signal), TimedOut: e.TimedOut} //nolint:gosec // both are small
	if e.Signal > 0 {
		m.ExitCode = 128 + m.Signal
	}
	return m
}
