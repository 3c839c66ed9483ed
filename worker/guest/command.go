package guest

import (
	"context"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// MainID is the id of a sandbox's own command.
const MainID = "main"

// Main is a sandbox's own command. It begins in the environment and the directory that the container was configured with.
type Main struct {
	Argv     []string
	Terminal *Terminal // nil: pipes, and clients may write to standard input
	User     string    // name or number of the container's; empty: root
}

// StartMain starts a sandbox's own command, or finds it running, and returns its PID in the container. Errors: fault.Invalid, fault.NotFound
// if there is no such program or user.
func (c *Client) StartMain(ctx context.Context, m Main) (pid int, err error) {
	req := &skerryv1.StartProcessRequest{ProcessId: MainID, Argv: m.Argv, Stdin: true, User: m.User, NoOutput: true}
	if m.Terminal != nil {
		req.Pty = &skerryv1.TerminalSize{Rows: m.Terminal.Rows, Cols: m.Terminal.Cols}
	}
	stream, err := c.processes.StartProcess(ctx, connect.NewRequest(req))
	if err != nil {
		return 0, fault.FromConnect(err)
	}
	err = receive(stream, func(m *skerryv1.StartProcessResponse) error {
		pid = int(m.GetEvent().GetStarted().GetPid())
		return nil
	})
	return pid, err
}

// Piece is some of what a process wrote, with the offset of each stream's first byte. What lies between a piece and the one before is no
// longer kept.
type Piece struct {
	Stdout, Stderr []byte
	At             Offsets
}

// End says how a process ended: Code as a shell has it, 128 + n for signal n.
type End struct {
	Code     int
	Signal   syscall.Signal
	TimedOut bool
}

// Follow calls f with what a process writes from offsets on, and returns how it ended. An error of f ends it and is returned. Errors:
// fault.NotFound, fault.Invalid for an offset beyond what was written, fault.Unavailable when the link was lost: follow again over the next.
func (c *Client) Follow(ctx context.Context, id string, from Offsets, f func(Piece) error) (End, error) {
	req := &skerryv1.FollowProcessRequest{ProcessId: id, StdoutOffset: from.Stdout, StderrOffset: from.Stderr}
	stream, err := c.processes.FollowProcess(ctx, connect.NewRequest(req))
	if err != nil {
		return End{}, fault.FromConnect(err)
	}
	var end *skerryv1.ProcessExited
	err = receive(stream, func(m *skerryv1.FollowProcessResponse) error {
		if o := m.GetEvent().GetOutput(); o != nil {
			return f(Piece{Stdout: o.GetStdout(), Stderr: o.GetStderr(), At: Offsets{Stdout: o.GetStdoutOffset(), Stderr: o.GetStderrOffset()}})
		}
		if e := m.GetEvent().GetExited(); e != nil {
			end = e
		}
		return nil
	})
	if err == nil && end == nil {
		err = fault.New(fault.Unavailable, "process %q: init ended its output without a word", id)
	}
	return toEnd(end), err
}

// Await returns how a process ended, or false if it runs on after limit, at most a minute. Errors: fault.NotFound.
func (c *Client) Await(ctx context.Context, id string, limit time.Duration) (End, bool, error) {
	res, err := c.processes.WaitProcess(ctx, connect.NewRequest(&skerryv1.WaitProcessRequest{ProcessId: id, Limit: durationpb.New(limit)}))
	if err != nil {
		return End{}, false, fault.FromConnect(err)
	}
	return toEnd(res.Msg.GetExited()), res.Msg.GetExited() != nil, nil
}

func toEnd(m *skerryv1.ProcessExited) End {
	return End{Code: int(m.GetExitCode()), Signal: syscall.Signal(m.GetSignal()), TimedOut: m.GetTimedOut()}
}
