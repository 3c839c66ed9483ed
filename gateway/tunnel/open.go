package tunnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// List waits until a sandbox runs and returns its tunnels by port. Limit is how long it may take; 0: it has to run now. Errors:
// fault.NotFound, fault.Precondition (it has ended), fault.Unavailable, context.DeadlineExceeded, and what kept a port from being opened.
func (s *Service) List(ctx context.Context, sandboxID string, limit time.Duration) ([]Tunnel, error) {
	var list []Tunnel
	var mark uint64
	err := s.heard(ctx, limit, sandboxID, func(sb *sandbox) (bool, error) {
		if sb.info.State == Starting {
			return true, nil
		}
		for _, w := range sb.tunnels {
			if w.err != nil {
				s.reopen(sb, w)
			}
			if w.err != nil {
				return false, w.err
			}
			list = append(list, s.present(sb, w))
		}
		mark = s.journal.add()
		return false, nil
	})
	if errors.Is(err, errStarting) {
		return nil, fmt.Errorf("sandbox %q: does not run yet: %w", sandboxID, context.DeadlineExceeded)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Tunnel) int { return int(a.Port) - int(b.Port) })
	return list, s.journal.await(ctx, mark)
}

// reopen tries again what failed. The lock is held.
func (s *Service) reopen(sb *sandbox, w *way) {
	if s.listen(sb, w, 0); w.err == nil {
		s.keep(sb, Change{Way: w.record()})
	}
}

// Open opens a port to all; of one that is open it says how it is, which may be in another way than the one asked for. Errors: fault.Invalid,
// fault.NotFound, fault.Precondition (the sandbox has ended, or has no network), fault.Exhausted, fault.Unavailable.
func (s *Service) Open(ctx context.Context, sandboxID string, p Port) (Tunnel, error) {
	if p.Number == 0 || p.Kind < Encrypted || p.Kind > Unencrypted {
		return Tunnel{}, fault.New(fault.Invalid, "port %d, kind %d: want a port from 1 to 65535 and a kind that is known", p.Number, p.Kind)
	}
	var t Tunnel
	var mark uint64
	err := s.heard(ctx, s.cfg.StartWait, sandboxID, func(sb *sandbox) (bool, error) {
		w, err := s.opened(sb, p)
		if err != nil {
			return false, err
		}
		t, mark = s.present(sb, w), s.journal.add()
		return false, nil
	})
	if err != nil {
		return Tunnel{}, err
	}
	return t, s.journal.await(ctx, mark)
}

// opened returns the tunnel of a port, opened if needed. The lock is held.
func (s *Service) opened(sb *sandbox, p Port) (*way, error) {
	if err := checkNetwork(sb); err != nil {
		return nil, err
	}
	w := sb.tunnels[p.Number]
	switch {
	case w != nil && w.err == nil:
		return w, nil
	case w == nil && len(sb.tunnels) >= MaxTunnels:
		return nil, fault.New(fault.Exhausted, "sandbox %q: %d of its ports are open, which is the most; close some", sb.id, MaxTunnels)
	case w == nil:
		w = &way{key: WayKey{SandboxID: sb.id, Port: p.Number}, kind: p.Kind}
	}
	if s.listen(sb, w, 0); w.err != nil {
		return nil, w.err
	}
	sb.tunnels[p.Number] = w
	delete(sb.closed, p.Number)
	s.keep(sb, Change{Way: w.record()})
	return w, nil
}

// CloseTunnel closes a port, and the connections through it. Visitors with tokens still come in. One that is not open is no error. Errors:
// fault.Invalid, fault.NotFound, fault.Unavailable.
func (s *Service) CloseTunnel(ctx context.Context, sandboxID string, port uint16) error {
	if port == 0 {
		return fault.New(fault.Invalid, "port: missing; give one from 1 to 65535")
	}
	var mark uint64
	err := s.heard(ctx, s.cfg.StartWait, sandboxID, func(sb *sandbox) (bool, error) {
		w := sb.tunnels[port]
		if w == nil {
			return false, nil
		}
		delete(sb.tunnels, port)
		s.unlisten(w)
		sb.cut(errClosed, func(v *visit) bool { return v.port == port && v.token == "" })
		change := Change{Close: &w.key}
		if slices.ContainsFunc(sb.info.Ports, func(p Port) bool { return p.Number == port }) {
			sb.closed[port] = true
			change = Change{Way: &Way{WayKey: w.key, Kind: w.kind, Closed: true}}
		}
		mark = s.keep(sb, change)
		return false, nil
	})
	if err != nil {
		return err
	}
	return s.journal.await(ctx, mark)
}
