package gatewaylink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"syscall"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
)

const (
	// maxArgv bounds a command's arguments, in bytes.
	maxArgv = 64 << 10
	// signalBase is added to a signal's number to make an exit code of it, as shells do.
	signalBase = 128
)

type execStream = connect.BidiStream[workerv1.ExecRequest, workerv1.ExecResponse]

// Exec implements WorkerService.
func (s *Service) Exec(ctx context.Context, stream *execStream) error {
	first, err := stream.Receive()
	if err != nil {
		return err
	}
	start := first.GetFrame().GetStart()
	c := s.host.Get(start.GetContainerId())
	if c == nil {
		return fault.New(fault.NotFound, "container %q: does not run on this worker", start.GetContainerId())
	}
	guest, err := c.Guest()
	if err != nil {
		return err
	}
	p, err := command(c, start)
	if err != nil {
		return err
	}
	if err := guest.Start(ctx, p); err != nil {
		return err
	}
	defer func() {
		// A caller that goes away takes its command with it; of one that has ended this is a no-op.
		end, cancel := lifecycle.Detach(ctx, dialTimeout)
		defer cancel()
		if err := guest.Signal(end, p.ID, syscall.SIGKILL, true); err != nil && !errors.Is(err, fault.Unavailable) && !errors.Is(err, fault.NotFound) {
			s.log.Warn("command not killed", "container", start.GetContainerId(), "error", err)
		}
	}()
	go func() {
		// It ends with the stream, which ends with this call at the latest.
		if err := feedCommand(ctx, guest, p.ID, first, stream); err != nil && ctx.Err() == nil {
			s.log.Debug("command input ended", "container", start.GetContainerId(), "error", err)
		}
	}()
	return followCommand(ctx, guest, p.ID, stream)
}

// command turns what the caller asked for into a process.
func command(c *container.Container, start *skerryv1.ExecStart) (container.Process, error) {
	size := 0
	for _, a := range start.GetArgv() {
		size += len(a)
	}
	if len(start.GetArgv()) == 0 || size > maxArgv {
		return container.Process{}, fault.New(fault.Invalid, "command: want 1 argument or more, of at most %d bytes in all", maxArgv)
	}
	env, workdir := c.Environment()
	p := container.Process{
		ID: "exec-" + ident.Random(16), Argv: start.GetArgv(), Env: env, Workdir: workdir, MakeWorkdir: true, Stdin: true,
	}
	if start.GetWorkdir() != "" {
		p.Workdir, p.MakeWorkdir = start.GetWorkdir(), false
	}
	if t := start.GetPty(); t != nil {
		p.Terminal = &container.Terminal{Rows: t.GetRows(), Cols: t.GetCols()}
		p.Env["TERM"] = "xterm-256color"
	}
	maps.Copy(p.Env, start.GetEnv())
	return p, nil
}

// feedCommand passes the caller's frames on to the command.
func feedCommand(ctx context.Context, guest container.Guest, id string, m *workerv1.ExecRequest, stream *execStream) error {
	for {
		f := m.GetFrame()
		if len(f.GetStdin()) > 0 || f.GetStdinEof() {
			// A command that has closed its input does not want the rest.
			if err := guest.Write(ctx, id, f.GetStdin(), f.GetStdinEof()); err != nil && !errors.Is(err, fault.Precondition) {
				return err
			}
		}
		if r := f.GetResize(); r != nil {
			if err := guest.Resize(ctx, id, container.Terminal{Rows: r.GetRows(), Cols: r.GetCols()}); err != nil {
				return err
			}
		}
		var err error
		if m, err = stream.Receive(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// missing says on standard error what of the output is lost: a caller that reads too slowly does not take it for all there was.
func missing(chunk container.Chunk) (text []byte) {
	for _, s := range []struct {
		name    string
		dropped uint64
	}{{"output", chunk.StdoutDropped}, {"error output", chunk.StderrDropped}} {
		if s.dropped > 0 {
			text = fmt.Appendf(text, "skerry: %d bytes of %s are missing here: they were written faster than they were read\n", s.dropped, s.name)
		}
	}
	return text
}

// followCommand sends the command's output and, last, how it ended.
func followCommand(ctx context.Context, guest container.Guest, id string, stream *execStream) error {
	err := guest.Output(ctx, id, func(chunk container.Chunk) error {
		stderr := append(missing(chunk), chunk.Stderr...)
		if len(chunk.Stdout) == 0 && len(stderr) == 0 {
			return nil
		}
		return stream.Send(&workerv1.ExecResponse{Frame: &skerryv1.ExecResponse{Stdout: chunk.Stdout, Stderr: stderr}})
	})
	if err != nil {
		return err
	}
	end, err := guest.Wait(ctx, id)
	if err != nil {
		return err
	}
	code := end.ExitCode
	if end.Signal != 0 {
		code = signalBase + int(end.Signal)
	}
	exit := &skerryv1.ExecExit{Code: int32(code)} //nolint:gosec // exit codes are below 256
	return stream.Send(&workerv1.ExecResponse{Frame: &skerryv1.ExecResponse{Exit: exit}})
}
