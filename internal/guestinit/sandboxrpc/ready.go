package sandboxrpc

import (
	"context"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/guestinit/ports"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

// How often a probe is asked.
const (
	defaultInterval  = 100 * time.Millisecond
	shortestInterval = 10 * time.Millisecond
	longestInterval  = time.Minute
)

// AwaitReady asks a probe until it succeeds or the caller gives up.
func (s *Service) AwaitReady(
	ctx context.Context, req *connect.Request[guestv1.AwaitReadyRequest],
) (*connect.Response[guestv1.AwaitReadyResponse], error) {
	ask, err := s.probe(req.Msg.GetProbe())
	if err != nil {
		return nil, fault.ToConnect(err)
	}
	interval := defaultInterval
	if d := req.Msg.GetProbe().GetInterval(); d != nil {
		interval = d.AsDuration()
	}
	if interval < shortestInterval || interval > longestInterval {
		return nil, fault.ToConnect(fault.New(fault.Invalid, "probe: interval of %s: want %s to %s", interval, shortestInterval, longestInterval))
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for !ask(ctx) {
		select {
		case <-ctx.Done():
			return nil, fault.ToConnect(context.Cause(ctx))
		case <-ticker.C:
		}
	}
	return connect.NewResponse(&guestv1.AwaitReadyResponse{}), nil
}

// probe makes what asks once.
func (s *Service) probe(p *skerryv1.Probe) (func(context.Context) bool, error) {
	switch kind := p.GetKind().(type) {
	case *skerryv1.Probe_TcpPort:
		if kind.TcpPort < 1 || kind.TcpPort > 65535 {
			return nil, fault.New(fault.Invalid, "probe: port %d: want 1 to 65535", kind.TcpPort)
		}
		return func(ctx context.Context) bool {
			conn, err := ports.Dial(ctx, uint16(kind.TcpPort)) //nolint:gosec // checked above
			if err != nil {
				return false
			}
			_ = conn.Close() // nothing was written
			return true
		}, nil
	case *skerryv1.Probe_Exec:
		if len(kind.Exec.GetArgv()) == 0 {
			return nil, fault.New(fault.Invalid, "probe: want a command")
		}
		return func(ctx context.Context) bool { return s.run(ctx, kind.Exec.GetArgv()) }, nil
	default:
		return nil, fault.New(fault.Invalid, "probe: want a port or a command")
	}
}

// run says whether a command succeeds.
func (s *Service) run(ctx context.Context, argv []string) bool {
	env, err := s.cfg.Place.Environment(nil, nil)
	if err != nil {
		return false
	}
	p, err := s.cfg.Table.Start(process.Spec{Argv: argv, Env: env, Workdir: s.cfg.Place.Workdir(), DiscardStdout: true, DiscardStderr: true})
	if err != nil {
		return false // such as a program that is not installed yet
	}
	stop := context.AfterFunc(ctx, func() { _ = s.cfg.Table.Signal(p, syscall.SIGKILL, true) }) // the caller has given up
	defer stop()
	<-p.Done()
	return p.Exit() == process.Exit{}
}
