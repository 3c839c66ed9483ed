package tunnel

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
)

// sandbox is what a Service keeps of one, under the service's lock.
type sandbox struct {
	id, label string
	info      Sandbox         // its State is 0 until it was heard of
	changed   chan struct{}   // closed when info changes, or the sandbox ends
	tunnels   map[uint16]*way // open to all
	guards    map[uint16]*way // addresses of their own for visitors with tokens
	closed    map[uint16]bool // ports of the definition that somebody has closed
	grants    map[string]Grant
	visits    map[*visit]struct{}
	loopback  netip.Addr
	stored    bool // the store has, or will have, something of it
}

// way is an open way in.
type way struct {
	key      WayKey
	kind     Kind
	addr     netip.AddrPort // zero: it is found by host name
	listener route.Listener
	err      error // it could not be opened
}

func (w *way) record() *Way { return &Way{WayKey: w.key, Kind: w.kind, Addr: w.addr} }

// entry returns what is kept of a sandbox, made if needed. The lock is held.
func (s *Service) entry(id string) *sandbox {
	if sb := s.sandboxes[id]; sb != nil {
		return sb
	}
	sb := &sandbox{
		id: id, label: Label(id), changed: make(chan struct{}), tunnels: map[uint16]*way{}, guards: map[uint16]*way{},
		closed: map[uint16]bool{}, grants: map[string]Grant{}, visits: map[*visit]struct{}{},
	}
	s.sandboxes[id], s.labels[sb.label] = sb, sb
	return sb
}

// Update tells of a sandbox that is new, or of which something has changed; it is called for every one that has not ended, also after a start
// of the gateway, and once more when it ends. It opens the ports of its definition and does not wait for any store.
func (s *Service) Update(info Sandbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update(info)
}

// hear is Update for what was asked for: what was told meanwhile is newer.
func (s *Service) hear(info Sandbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sb := s.sandboxes[info.ID]; sb != nil && sb.info.State == 0 {
		s.update(info)
	}
}

func (s *Service) update(info Sandbox) {
	if s.closed {
		return
	}
	if info.State == Ended {
		if sb := s.sandboxes[info.ID]; sb != nil {
			s.forget(sb)
		}
		return
	}
	sb := s.entry(info.ID)
	sb.info = info
	for _, p := range info.Ports {
		if sb.tunnels[p.Number] == nil && !sb.closed[p.Number] && !info.NoNetwork && len(sb.tunnels) < MaxTunnels {
			s.open(sb, p)
		}
	}
	for v := range sb.visits {
		if info.NoNetwork || !sb.allows(v.addr) {
			v.cancel(errNotAllowed)
		}
	}
	close(sb.changed)
	sb.changed = make(chan struct{})
}

// forget forgets a sandbox that has ended. The lock is held.
func (s *Service) forget(sb *sandbox) {
	sb.info.State = Ended
	s.shut(sb, errEnded)
	close(sb.changed)
	delete(s.sandboxes, sb.id)
	delete(s.labels, sb.label)
	delete(s.loopbacks, sb.loopback)
	if sb.stored {
		s.journal.add(Change{Forget: sb.id})
	}
}

// shut closes all ways in and ends all visits. The lock is held.
func (s *Service) shut(sb *sandbox, cause error) {
	for _, ways := range []map[uint16]*way{sb.tunnels, sb.guards} {
		for _, w := range ways {
			s.unlisten(w)
		}
	}
	for v := range sb.visits {
		v.cancel(cause)
	}
}

// open opens a port to all and has it stored. The lock is held.
func (s *Service) open(sb *sandbox, p Port) *way {
	w := &way{key: WayKey{SandboxID: sb.id, Port: p.Number}, kind: p.Kind}
	sb.tunnels[p.Number] = w
	s.listen(sb, w, 0)
	// The definition says what has no address of its own.
	if w.addr.IsValid() {
		s.keep(sb, Change{Way: w.record()})
	}
	return w
}

// keep has a change stored. The lock is held.
func (s *Service) keep(sb *sandbox, changes ...Change) uint64 {
	sb.stored = true
	return s.journal.add(changes...)
}

// maxTries is how many ports of the range are tried: in one of which half is free, that finds one.
const maxTries = 256

// listen gives a way the address that it needs, with a port if that is free; what is wrong is kept with the way. The lock is held.
func (s *Service) listen(sb *sandbox, w *way, port uint16) {
	w.addr, w.err = netip.AddrPort{}, nil
	host, needed, err := s.address(sb, w)
	if err != nil || !needed {
		w.err = err
		return
	}
	leads := s.end(sb, w.key.Port)
	leads.demand = w.key.Guarded
	to := route.Route{Backend: leads, Protocol: route.Raw}
	if w.key.Guarded {
		to.Protocol = sb.protocol(w.key.Port)
	}
	if port != 0 && s.listenAt(w, netip.AddrPortFrom(host, port), to) {
		return
	}
	if s.cfg.FirstPort == 0 {
		s.listenAt(w, netip.AddrPortFrom(host, 0), to)
		return
	}
	n := int(s.cfg.LastPort) - int(s.cfg.FirstPort) + 1
	start := rand.IntN(n)
	for i := range min(n, maxTries) {
		if s.listenAt(w, netip.AddrPortFrom(host, s.cfg.FirstPort+uint16((start+i)%n)), to) || !errors.Is(w.err, fault.Unavailable) {
			return
		}
	}
	w.err = fault.New(fault.Exhausted, "port %d of sandbox %q: no port from %d to %d is free; give tunnel_ports a wider range",
		w.key.Port, sb.id, s.cfg.FirstPort, s.cfg.LastPort)
}

func (s *Service) listenAt(w *way, at netip.AddrPort, to route.Route) bool {
	w.listener, w.err = s.deps.Listeners.Listen(at, to)
	if w.err != nil {
		w.listener = nil
		return false
	}
	w.addr = w.listener.Addr()
	return true
}

// address says at which address of this host a way has to listen, if at any. The lock is held.
func (s *Service) address(sb *sandbox, w *way) (host netip.Addr, needed bool, err error) {
	switch {
	case s.cfg.Domain == "" && w.key.Guarded:
		return s.loopbackOf(sb), true, nil
	case s.cfg.Domain == "":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true, nil
	case w.kind != Unencrypted || w.key.Guarded:
		return host, false, s.checkDomain(sb.info.CustomDomain)
	case s.cfg.FirstPort == 0:
		return host, false, fault.New(fault.Precondition, "port %d of sandbox %q: unencrypted ports need the setting tunnel_ports", w.key.Port, sb.id)
	default:
		return s.cfg.RawAddr, true, nil
	}
}

// checkDomain returns a fault.Precondition where host names can't be under a sandbox's domain.
func (s *Service) checkDomain(custom string) error {
	if custom == "" || custom == s.cfg.Domain || (s.cfg.Covers != nil && s.cfg.Covers(custom)) {
		return nil
	}
	return fault.New(fault.Precondition, "custom domain %.200q: the gateway has no certificate for its names; add one for *.%.200s to ingress_cert", custom, custom)
}

// unlisten takes no more connections.
func (s *Service) unlisten(w *way) {
	if w.listener == nil {
		return
	}
	if err := w.listener.Close(); err != nil {
		s.deps.Log.Warn("listener of a tunnel is not closed in good order", "sandbox", w.key.SandboxID, "port", w.key.Port, "error", err)
	}
	w.listener = nil
}

// allows says whether visitors from an address may come in. The lock is held.
func (sb *sandbox) allows(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return !sb.info.Restricted || slices.ContainsFunc(sb.info.Inbound, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// heard waits until a sandbox has been heard of and f has nothing against it; f is called under the lock and says whether to wait on. Errors:
// fault.NotFound, fault.Precondition (it has ended), errStarting after the limit, what f returns, and why ctx ended.
func (s *Service) heard(ctx context.Context, limit time.Duration, id string, f func(sb *sandbox) (wait bool, err error)) error {
	waiting, cancel := context.WithTimeoutCause(ctx, limit, errStarting)
	defer cancel()
	for {
		s.mu.Lock()
		sb, closed := s.sandboxes[id], s.closed
		if sb == nil || closed {
			s.mu.Unlock()
			if closed {
				return errStopping
			}
			return s.missing(ctx, id)
		}
		if sb.info.State != 0 {
			if wait, err := f(sb); !wait || err != nil {
				s.mu.Unlock()
				return err
			}
		}
		changed := sb.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-waiting.Done():
			return context.Cause(waiting)
		}
	}
}

// missing says why there is nothing of a sandbox.
func (s *Service) missing(ctx context.Context, id string) error {
	info, err := s.deps.Sandboxes.Sandbox(ctx, id)
	switch {
	case err != nil:
		return err
	case info.State == Ended:
		return fault.New(fault.Precondition, "sandbox %q: has ended", id)
	default:
		return fault.New(fault.Unavailable, "sandbox %q: the gateway has just started and will know of it soon; try again", id)
	}
}
