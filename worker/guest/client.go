// Package guest is the worker's end of the link to a container's init: the client of skerry.guest.v1 in plain Go structs.
package guest

import (
	"context"
	"net"
	"net/http"
	"syscall"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1/guestv1connect"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

// Process is a process to start in a container.
type Process struct {
	ID          string            // chosen by the caller; unique in the container
	Argv        []string          // program and arguments; the program is looked up in Env's PATH
	Env         map[string]string // the whole environment
	Workdir     string            // "/" if empty
	MakeWorkdir bool              // make Workdir if it is missing
	Terminal    *Terminal         // a terminal of this size, or nil for pipes
	Stdin       bool              // a pipe that WriteInput feeds, else /dev/null; a terminal is always writable
}

// Terminal is the size of a terminal.
type Terminal struct{ Rows, Cols uint32 }

// Status says how a process ended: ExitCode if it exited, Signal if that ended it.
type Status struct {
	ExitCode   int
	Signal     syscall.Signal
	CoreDumped bool
}

// Offsets are places in the two streams of a process, in bytes from its start.
type Offsets struct{ Stdout, Stderr uint64 }

// Output is some of what a process wrote. The dropped counts are bytes before Stdout and Stderr that init no longer had. A terminal
// writes everything to Stdout.
type Output struct {
	Stdout, Stderr               []byte
	StdoutDropped, StderrDropped uint64
}

// Client speaks with the init of one container. It is safe for concurrent use. Every method returns fault.Unavailable when the link
// is lost.
type Client struct {
	link      *link.Client
	rpc       guestv1connect.GuestServiceClient
	sandbox   guestv1connect.SandboxServiceClient
	processes skerryv1connect.ProcessServiceClient
}

// maxMessage bounds one message of a guest, in bytes; init sends output in pieces far smaller.
const maxMessage = 4 << 20

// NewClient begins to speak on a connection that an init dialled. The Client owns conn from here on.
func NewClient(conn net.Conn) (*Client, error) {
	l, err := link.NewGuestClient(conn)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err)
	}
	// User code is root in its container and may take init over: what comes from there is bounded, and not unpacked.
	bounds := connect.WithClientOptions(connect.WithReadMaxBytes(maxMessage), connect.WithAcceptCompression("gzip", nil, nil))
	http := &http.Client{Transport: bounded{l}}
	return &Client{
		link:      l,
		rpc:       guestv1connect.NewGuestServiceClient(http, link.BaseURL, bounds),
		sandbox:   guestv1connect.NewSandboxServiceClient(http, link.BaseURL, bounds),
		processes: skerryv1connect.NewProcessServiceClient(http, link.BaseURL, bounds),
	}, nil
}

// Done is closed when the link has ended. A container that doesn't outlive its link has ended then, or is about to.
func (c *Client) Done() <-chan struct{} { return c.link.Done() }

// Close ends the link. Init then ends its container, unless it outlives its links.
func (c *Client) Close() error { return c.link.Close() }

// StartProcess starts a process and returns its PID in the container. Errors: fault.Invalid, fault.NotFound if there is no such
// program or working directory, fault.Exists.
func (c *Client) StartProcess(ctx context.Context, p Process) (int, error) {
	req := &guestv1.StartProcessRequest{
		ProcessId: p.ID, Argv: p.Argv, Env: p.Env, Workdir: p.Workdir, MakeWorkdir: p.MakeWorkdir, Stdin: p.Stdin,
	}
	if p.Terminal != nil {
		req.Terminal = &guestv1.Terminal{Rows: p.Terminal.Rows, Cols: p.Terminal.Cols}
	}
	res, err := c.rpc.StartProcess(ctx, connect.NewRequest(req))
	if err != nil {
		return 0, fault.FromConnect(err)
	}
	return int(res.Msg.GetPid()), nil
}

// WaitProcess waits until the process has ended and its output is complete. Errors: fault.NotFound.
func (c *Client) WaitProcess(ctx context.Context, id string) (Status, error) {
	res, err := c.rpc.WaitProcess(ctx, connect.NewRequest(&guestv1.WaitProcessRequest{ProcessId: id}))
	if err != nil {
		return Status{}, fault.FromConnect(err)
	}
	m := res.Msg
	return Status{ExitCode: int(m.GetExitCode()), Signal: syscall.Signal(m.GetSignal()), CoreDumped: m.GetCoreDumped()}, nil
}

// ReadOutput calls f with what the process writes from the offsets on, until the end of both streams; then it returns nil. An error of
// f ends it and is returned. The byte slices are f's to keep. Errors: fault.NotFound.
func (c *Client) ReadOutput(ctx context.Context, id string, from Offsets, f func(Output) error) error {
	req := &guestv1.ReadOutputRequest{ProcessId: id, StdoutOffset: from.Stdout, StderrOffset: from.Stderr}
	stream, err := c.rpc.ReadOutput(ctx, connect.NewRequest(req))
	if err != nil {
		return fault.FromConnect(err)
	}
	return receive(stream, func(m *guestv1.ReadOutputResponse) error {
		return f(Output{
			Stdout: m.GetStdout(), Stderr: m.GetStderr(),
			StdoutDropped: m.GetStdoutDropped(), StderrDropped: m.GetStderrDropped(),
		})
	})
}

// WriteInput writes to the process's standard input or terminal, and closes it after that if eof. It blocks while the process does not
// read. Errors: fault.NotFound, fault.Precondition if it is closed.
func (c *Client) WriteInput(ctx context.Context, id string, data []byte, eof bool) error {
	_, err := c.rpc.WriteInput(ctx, connect.NewRequest(&guestv1.WriteInputRequest{ProcessId: id, Data: data, Eof: eof}))
	return fault.FromConnect(err)
}

// SignalProcess signals the process, or its whole group. A process that has ended is no error. Errors: fault.NotFound.
func (c *Client) SignalProcess(ctx context.Context, id string, sig syscall.Signal, group bool) error {
	_, err := c.rpc.SignalProcess(ctx, connect.NewRequest(&guestv1.SignalProcessRequest{
		ProcessId: id, Signal: int32(sig), Group: group, //nolint:gosec // signal numbers are below 65
	}))
	return fault.FromConnect(err)
}

// ResizeTerminal gives the process's terminal a new size. Errors: fault.NotFound, fault.Precondition if it has no terminal.
func (c *Client) ResizeTerminal(ctx context.Context, id string, size Terminal) error {
	_, err := c.rpc.ResizeTerminal(ctx, connect.NewRequest(&guestv1.ResizeTerminalRequest{
		ProcessId: id, Terminal: &guestv1.Terminal{Rows: size.Rows, Cols: size.Cols},
	}))
	return fault.FromConnect(err)
}
