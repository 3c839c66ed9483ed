package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// Defaults of Config.
const (
	// DefaultStartWait is how long visitors wait for a sandbox that starts.
	DefaultStartWait = 30 * time.Second
	// DefaultSettleTime is how long after the gateway's start a sandbox of its records may take to be heard of.
	DefaultSettleTime = 15 * time.Minute
)

// Config says by which addresses ports are reached.
type Config struct {
	// Domain is the parent of host names. Empty: ports are reached at loopback addresses.
	Domain string
	// DomainPort is the port in URLs of host names.
	DomainPort uint16
	// RawAddr is where unencrypted ports listen with a domain.
	RawAddr netip.Addr
	// FirstPort and LastPort are the range of ports of this host: needed for unencrypted ports with a domain; without one, 0 stands for any.
	FirstPort, LastPort uint16
	// Covers says whether there is a certificate for host names under a custom domain. Nil: for none.
	Covers func(domain string) bool
	// StartWait is how long visitors wait for a sandbox that starts. Default: DefaultStartWait.
	StartWait time.Duration
	// SettleTime is how long a sandbox of the records may take to be heard of. Default: DefaultSettleTime.
	SettleTime time.Duration
}

// Deps are what a Service works with. All but Now are required.
type Deps struct {
	Sandboxes Sandboxes
	Dialer    Dialer
	Store     Store
	Listeners route.Listeners
	Log       *slog.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Service keeps the tunnels of all sandboxes. It is safe for concurrent use. Restore comes first, then Run.
type Service struct {
	cfg     Config
	deps    Deps
	journal *journal

	mu        sync.Mutex
	sandboxes map[string]*sandbox
	labels    map[string]*sandbox
	loopbacks map[netip.Addr]*sandbox
	closed    bool
}

var _ route.Routes = (*Service)(nil)

// New returns a service without tunnels.
func New(cfg Config, deps Deps) *Service {
	if cfg.StartWait == 0 {
		cfg.StartWait = DefaultStartWait
	}
	if cfg.SettleTime == 0 {
		cfg.SettleTime = DefaultSettleTime
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	return &Service{
		cfg: cfg, deps: deps, journal: newJournal(deps.Store, deps.Log),
		sandboxes: map[string]*sandbox{}, labels: map[string]*sandbox{}, loopbacks: map[netip.Addr]*sandbox{},
	}
}

// Restore opens what was open before this gateway started, at the addresses it had, as far as they are free. Visitors wait there until
// Update has told of their sandbox.
func (s *Service) Restore(ctx context.Context) error {
	ways, grants, err := s.deps.Store.Tunnels(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range ways {
		sb := s.entry(r.SandboxID)
		sb.stored = true
		s.restore(sb, r)
	}
	now := s.deps.Now()
	for _, g := range grants {
		sb := s.entry(g.SandboxID)
		sb.stored = true
		if g.ExpiresAt.IsZero() || g.ExpiresAt.After(now) {
			sb.grants[g.Hash] = g
		}
	}
	return nil
}

// restore opens a way of the records. The lock is held.
func (s *Service) restore(sb *sandbox, r Way) {
	if r.Closed {
		sb.closed[r.Port] = true
		return
	}
	w := &way{key: r.WayKey, kind: r.Kind}
	if r.Guarded {
		if a := r.Addr.Addr(); s.cfg.Domain == "" && a.IsLoopback() && s.loopbacks[a] == nil && !sb.loopback.IsValid() {
			s.takeLoopback(sb, a)
		}
		sb.guards[r.Port] = w
	} else {
		sb.tunnels[r.Port] = w
	}
	s.listen(sb, w, r.Addr.Port())
	if w.addr != r.Addr && w.err == nil {
		s.journal.add(Change{Way: w.record()})
	}
}

// Run stores what changes until ctx ends, and forgets what is left of sandboxes that ended while no gateway ran.
func (s *Service) Run(ctx context.Context) error {
	g := lifecycle.NewGroup(ctx)
	g.Go("journal", s.journal.run)
	g.Go("leftovers", s.settle)
	<-g.Context().Done()
	return g.Stop()
}

// settle asks for sandboxes of the records that were not heard of.
func (s *Service) settle(ctx context.Context) error {
	s.ask(ctx, false)
	timer := time.NewTimer(s.cfg.SettleTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-timer.C:
		s.ask(ctx, true)
		return nil
	}
}

// ask asks for each sandbox that was not heard of whether it is there, and forgets those that are not: the record of one that is may still be
// on its way, so that only the last time is final.
func (s *Service) ask(ctx context.Context, final bool) {
	for _, id := range s.unheard() {
		info, err := s.deps.Sandboxes.Sandbox(ctx, id)
		if final && errors.Is(err, fault.NotFound) {
			info, err = Sandbox{ID: id, State: Ended}, nil
		}
		if err == nil {
			s.hear(info)
		} else if !errors.Is(err, fault.NotFound) {
			s.deps.Log.Warn("sandbox of a tunnel can't be asked for", "sandbox", id, "error", err)
		}
	}
}

func (s *Service) unheard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, sb := range s.sandboxes {
		if sb.info.State == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// Close closes all listeners, ends all visits and lets nobody in any more. What is recorded stays, for the next gateway.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, sb := range s.sandboxes {
		s.shut(sb, errStopping)
	}
}

var errStopping = fault.New(fault.Unavailable, "the gateway is stopping; try again")
