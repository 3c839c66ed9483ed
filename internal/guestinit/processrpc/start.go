// Package processrpc serves skerry.v1.ProcessService: a container's processes to its clients.
package processrpc

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit/place"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

// Main is the id of the container's own command, which counts as nobody's activity.
const Main = "main"

// maxArgv is how long a program and its arguments may be together, in bytes.
const maxArgv = 64 << 10

// Service serves a table of processes that start in a place.
type Service struct {
	table *process.Table
	place *place.Place
}

var _ skerryv1connect.ProcessServiceHandler = (*Service)(nil)

// New returns a service.
func New(table *process.Table, at *place.Place) *Service { return &Service{table: table, place: at} }

// StartProcess starts a process, or finds the one that is there, and follows it.
func (s *Service) StartProcess(
	ctx context.Context, req *connect.Request[skerryv1.StartProcessRequest], stream *connect.ServerStream[skerryv1.StartProcessResponse],
) error {
	p, err := s.start(req.Msg)
	if err != nil {
		return fault.ToConnect(err)
	}
	send := func(e *skerryv1.ProcessEvent) error { return stream.Send(&skerryv1.StartProcessResponse{Event: e}) }
	if err := send(startedEvent(p)); err != nil || req.Msg.GetNoOutput() {
		return err
	}
	return fault.ToConnect(follow(ctx, p, 0, 0, send))
}

func (s *Service) start(m *skerryv1.StartProcessRequest) (*process.Process, error) {
	spec, err := s.spec(m)
	if err != nil {
		return nil, err
	}
	p, err := s.table.Start(spec)
	if errors.Is(err, fault.Exists) {
		return s.table.Get(spec.ID) // asked again
	}
	return p, err
}

var processID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// spec is what a request asks for, in this place.
func (s *Service) spec(m *skerryv1.StartProcessRequest) (process.Spec, error) {
	id := m.GetProcessId()
	if !processID.MatchString(id) {
		return process.Spec{}, fault.New(fault.Invalid, "process %q: want an id of 1 to 64 letters, digits, _ and -", id)
	}
	size := 0
	for _, a := range m.GetArgv() {
		size += len(a) + 1
	}
	if size > maxArgv {
		return process.Spec{}, fault.New(fault.Invalid, "process %q: %d bytes of arguments: want at most %d; write them to a file", id, size, maxArgv)
	}
	workdir := m.GetWorkdir()
	if workdir == "" {
		workdir = s.place.Workdir()
	}
	if !filepath.IsAbs(workdir) {
		return process.Spec{}, fault.New(fault.Invalid, "process %q: working directory %q: want an absolute path", id, workdir)
	}
	env, err := s.place.Environment(m.GetEnvironmentIds(), m.GetEnv())
	if err != nil {
		return process.Spec{}, err
	}
	spec := process.Spec{
		ID: id, Argv: m.GetArgv(), Env: env, Workdir: workdir, Stdin: m.GetStdin(), DiscardStdout: m.GetDiscardStdout(),
		DiscardStderr: m.GetDiscardStderr(), User: m.GetUser(), Client: id != Main,
	}
	if t := m.GetTimeout(); t != nil {
		if spec.Timeout = t.AsDuration(); spec.Timeout <= 0 {
			return process.Spec{}, fault.New(fault.Invalid, "process %q: timeout of %s: want a positive one", id, spec.Timeout)
		}
	}
	if m.GetPty() != nil {
		if spec.Terminal, err = winsize(m.GetPty()); err != nil {
			return process.Spec{}, err
		}
		if env["TERM"] == "" {
			env["TERM"] = "xterm-256color"
		}
	}
	return spec, nil
}

// winsize checks a terminal's size.
func winsize(m *skerryv1.TerminalSize) (*unix.Winsize, error) {
	const most = 1 << 12
	if m.GetRows() < 1 || m.GetRows() > most || m.GetCols() < 1 || m.GetCols() > most {
		return nil, fault.New(fault.Invalid, "terminal of %d rows and %d columns: want 1 to %d of each", m.GetRows(), m.GetCols(), most)
	}
	return &unix.Winsize{Row: uint16(m.GetRows()), Col: uint16(m.GetCols())}, nil //nolint:gosec // checked above
}

// maxWait is how long a client may wait at a time.
const maxWait = 60 * time.Second
