package volume

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/beside"
)

// helloTimeout is how long a worker may take to say which protocol it speaks.
const helloTimeout = 10 * time.Second

// session is the process's end of a worker's connection.
type session struct {
	process *Process
	peer    *beside.Peer
	once    sync.Once
	greeted chan struct{}
}

// connect serves one connection.
func (p *Process) connect(ctx context.Context, conn *net.UnixConn) {
	if err := beside.Ours(conn); err != nil {
		p.cfg.Log.Warn("a peer is refused", "error", err)
		_ = conn.Close() // nothing was said
		return
	}
	s := &session{process: p, greeted: make(chan struct{})}
	s.peer = beside.NewPeer(conn, s.answer)
	late := time.AfterFunc(helloTimeout, func() {
		select {
		case <-s.greeted:
		default:
			s.peer.Close()
		}
	})
	defer late.Stop()
	err := s.peer.Run(ctx)
	p.mu.Lock()
	mine := p.session == s
	if mine {
		p.session = nil
	}
	p.mu.Unlock()
	p.worker.Disconnect(s.peer)
	p.event()
	if mine {
		p.cfg.Log.Info("worker has gone", "why", err)
	}
}

// answer answers a request of the worker.
func (s *session) answer(ctx context.Context, m *beside.Message) (beside.Reply, error) {
	if m.Op == opHello {
		return s.greet(m)
	}
	select {
	case <-s.greeted:
	default:
		return beside.Reply{}, fault.New(fault.Precondition, "volumes: %q before %q", m.Op, opHello)
	}
	p := s.process
	switch m.Op {
	case opMount:
		var args mountArgs
		if err := decode(m, &args); err != nil {
			return beside.Reply{}, err
		}
		if err := args.check(); err != nil {
			return beside.Reply{}, err
		}
		out, err := p.mount(ctx, s, args)
		return beside.Reply{Args: out}, err
	case opAdopt, opCommit, opReload, opEnd:
		var args containerArgs
		if err := decode(m, &args); err != nil {
			return beside.Reply{}, err
		}
		if err := args.check(); err != nil {
			return beside.Reply{}, err
		}
		out, err := s.container(ctx, m.Op, args)
		return beside.Reply{Args: out}, err
	case opSettle:
		return beside.Reply{}, p.settle(s)
	case opStop:
		var args stopArgs
		if err := decode(m, &args); err != nil {
			return beside.Reply{}, err
		}
		return beside.Reply{}, p.stop(s, args.Drop)
	}
	return beside.Reply{}, fault.New(fault.Unimplemented, "volumes of release %s: does not know %q", p.cfg.Release, m.Op)
}

func decode(m *beside.Message, into any) error {
	if err := json.Unmarshal(m.Args, into); err != nil {
		return fault.New(fault.Invalid, "volumes: %s: %w", m.Op, err)
	}
	return nil
}

// container does what the worker asks of a container's volumes.
func (s *session) container(ctx context.Context, op string, args containerArgs) (any, error) {
	p := s.process
	switch op {
	case opAdopt:
		return p.adopt(s, args.ContainerID)
	case opEnd:
		return p.ends(ctx, args.ContainerID), nil
	default:
		return p.commit(ctx, args, op == opReload)
	}
}

// greet begins with a worker. The one before it, if it is still connected, has ended or is to.
func (s *session) greet(m *beside.Message) (beside.Reply, error) {
	var theirs hello
	if err := decode(m, &theirs); err != nil {
		return beside.Reply{}, err
	}
	p := s.process
	if theirs.Protocol != protocol {
		return beside.Reply{}, fault.New(fault.Precondition, "volumes of release %s: speaks protocol %d, release %s speaks %d", p.cfg.Release,
			protocol, theirs.Release, theirs.Protocol)
	}
	s.once.Do(func() {
		p.mu.Lock()
		before := p.session
		p.session, p.known = s, map[string]bool{}
		p.mu.Unlock()
		if before != nil {
			before.peer.Close()
		}
		p.worker.Connect(s.peer)
		p.event()
		close(s.greeted)
	})
	return beside.Reply{Args: hello{Protocol: protocol, Release: p.cfg.Release}}, nil
}

// settle ends the volumes of containers that the worker doesn't know.
func (p *Process) settle(s *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != s {
		return beside.ErrEnded
	}
	for _, m := range p.mounts {
		if !p.known[m.ContainerID] {
			p.finish(m)
		}
	}
	return nil
}

// stop ends the process if there is no volume, or whatever is not committed.
func (p *Process) stop(s *session, drop bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != s {
		return beside.ErrEnded
	}
	if len(p.mounts) > 0 && !drop {
		return fault.New(fault.Precondition, "volumes: %d are mounted, or not committed yet", len(p.mounts))
	}
	p.stopping = true
	p.event()
	return nil
}
