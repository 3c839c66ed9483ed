package sandbox

import (
	"context"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/sidecar"
)

// Sandbox is one sandbox. It is safe for concurrent use.
type Sandbox struct {
	host *Host
	spec Spec

	saving    sync.Mutex       // held while the record is written
	forgotten bool             // guarded by mu: there is no record any more
	journal   *command.Journal // of its command's output
	sidecars  *sidecar.Set
	policing  sync.Mutex // held while what it may reach is changed

	stop     chan *command.End // holds why it is to end, once
	stops    sync.Once         // of stop
	pauses   chan pausing
	resuming sync.Mutex    // held while it is resumed, or ends while it is paused
	leave    chan struct{} // closed when this process is to leave it to the next
	poke     chan struct{} // holds a token when the life is to look at its timers

	mu        sync.Mutex // guards what follows
	state     command.State
	end       *command.End
	ending    *command.End // it ends, and what it has is given back
	ready     bool
	adopted   bool
	expires   time.Time
	record    []byte
	policy    policy.Policy // what it may reach
	repoliced bool          // its box has yet to get policy
	trusts    bool          // its programs are to trust what opens HTTPS for secrets, whatever policy says
	box       *box.Box
	moved     chan struct{} // closed when state, box or ending may have changed
	uses      int           // streams of clients
	frozen    int           // checkpoints that are being taken
	remaining time.Duration // of its life, while it is paused; 0: without a limit
	processes int           // of clients
	besides   sidecar.Use   // of its sidecars
	idleSince time.Time     // zero: in use, or not running
}

func newSandbox(h *Host, spec Spec) *Sandbox {
	s := &Sandbox{
		host: h, spec: spec, stop: make(chan *command.End, 1), leave: make(chan struct{}), pauses: make(chan pausing), poke: make(chan struct{}, 1),
		journal: command.NewJournal(h.files.journal(spec.ID)),
		policy:  spec.Network,
		state:   command.Starting, expires: spec.ExpiresAt, record: spec.Record, moved: make(chan struct{}),
	}
	s.sidecars = sidecar.NewSet(sidecar.Config{
		SandboxID: spec.ID, Base: s.base, Logs: h.cfg.Logs, Log: h.cfg.Log, Journal: h.files.journal, Save: s.save, Changed: s.sidecarsChanged,
		Reading: &h.reading, LinkTimeout: h.cfg.LinkTimeout,
	})
	return s
}

// Status returns the sandbox as it is.
func (s *Sandbox) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		ID: s.spec.ID, State: s.state, End: s.end, Ready: s.ready, Adopted: s.adopted, ExpiresAt: s.expires,
		IdleSince: s.idleSince, Record: s.record, Spec: &s.spec,
	}
	if s.state == command.Ended {
		st.Sidecars = s.sidecars.List()
	}
	return st
}

// update changes what mu guards, keeps it on the disk, and tells those who watch.
func (s *Sandbox) update(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	if err := s.save(); err != nil {
		s.host.cfg.Log.Error("sandbox not recorded", "sandbox", s.spec.ID, "error", err)
	}
	s.mu.Lock()
	s.move()
	s.mu.Unlock()
	s.notify()
}

// notify tells those who watch, and the life for its timers.
func (s *Sandbox) notify() {
	s.host.changed(s)
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Stop ends the sandbox at once, for the first reason that is given. It does not wait for the end.
func (s *Sandbox) Stop(why *command.End) {
	s.stops.Do(func() { s.stop <- why })
}

// Terminate ends it for a reason of the gateway's.
func (s *Sandbox) Terminate(r command.Reason) error {
	message := map[command.Reason]string{
		command.TimedOut: "its timeout has passed", command.IdleTimeout: "nobody has used it for its idle timeout", command.Terminated: "it was terminated",
	}[r]
	end := command.NewEnd(r, message)
	if paused, err := s.endPaused(end); paused || err != nil {
		return err
	}
	s.Stop(end)
	return nil
}

// Change changes it, also while it starts. Errors: fault.Precondition if it has ended or the change needs what it has not, fault.Invalid,
// fault.Unimplemented.
func (s *Sandbox) Change(ctx context.Context, c Change) error {
	if err := s.hasNotEnded(); err != nil {
		return err
	}
	if c.Network != nil || c.Secrets != nil {
		if err := s.changeNetwork(ctx, c); err != nil {
			return err
		}
	}
	s.update(func() {
		if !c.ExpiresAt.IsZero() {
			s.expires = c.ExpiresAt
		}
		if len(c.Record) > 0 {
			s.record = c.Record
		}
	})
	return nil
}

// move wakes those who wait for the sandbox to be another; the mutex is held.
func (s *Sandbox) move() {
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *Sandbox) hasNotEnded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == command.Ended {
		return fault.New(fault.Precondition, "sandbox %q: has ended: %s", s.spec.ID, s.end.Message)
	}
	return nil
}

// Use returns the link to the sandbox's init, waiting while it starts, and resuming it if it is paused. The sandbox is in use until release is called. Errors:
// fault.Precondition if it has ended, fault.Unavailable if its box has.
func (s *Sandbox) Use(ctx context.Context) (g box.Guest, release func(), err error) {
	s.use(1) // before it is looked for: what is in use does not pause by itself
	release = sync.OnceFunc(func() { s.use(-1) })
	b, err := s.awake(ctx)
	if err != nil {
		release()
		return nil, nil, err
	}
	if g, err = b.Guest(ctx); err != nil {
		release()
		return nil, nil, s.Explain(ctx, err)
	}
	return g, release, nil
}

// Explain returns why the sandbox has ended where that is why err has come of its use, else err. It waits for an end that is under way, and for
// a pause.
func (s *Sandbox) Explain(ctx context.Context, err error) error {
	for {
		s.mu.Lock()
		b, ending, paused, moved := s.box, s.ending != nil, s.state == command.Paused, s.moved
		s.mu.Unlock()
		if ended := s.hasNotEnded(); ended != nil {
			return ended
		}
		if b == nil && paused {
			return err
		}
		if b != nil && !ending {
			select {
			case <-b.Done():
			default:
				return err
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return err
		}
	}
}

// awake is running, and resumes a sandbox that is paused, also one whose pause was under way.
func (s *Sandbox) awake(ctx context.Context) (*box.Box, error) {
	for {
		b, err := s.reach(ctx, true)
		if b != nil || err != nil {
			return b, err
		}
		c, cancel := lifecycle.Detach(ctx, resumeTimeout)
		err = s.Resume(c, Renewal{})
		cancel()
		if err != nil {
			return nil, err
		}
	}
}

// running waits until the sandbox can be used, also while it is paused.
func (s *Sandbox) running(ctx context.Context) (*box.Box, error) { return s.reach(ctx, false) }

// reach waits until the sandbox can be used; nil without an error: it is paused, where that is asked for.
func (s *Sandbox) reach(ctx context.Context, orPaused bool) (*box.Box, error) {
	for {
		s.mu.Lock()
		// A box that is there without its identity and its command is not the sandbox yet.
		b, usable, paused, moved := s.box, s.ending == nil && s.state != command.Starting, s.state == command.Paused, s.moved
		s.mu.Unlock()
		if paused && orPaused && b == nil {
			return nil, nil
		}
		if b != nil && usable {
			return b, nil
		}
		if err := s.hasNotEnded(); err != nil {
			return nil, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// use counts clients in and out. Whoever watches is told when that makes it used or idle.
func (s *Sandbox) use(n int) {
	s.mu.Lock()
	s.uses += n
	changed := s.settleIdle()
	s.mu.Unlock()
	s.told(changed)
}

// active notes how many processes of clients run.
func (s *Sandbox) active(processes int) {
	s.mu.Lock()
	s.processes = processes
	changed := s.settleIdle()
	s.mu.Unlock()
	s.told(changed)
}

// sidecarsChanged notes how sidecars are used.
func (s *Sandbox) sidecarsChanged(u sidecar.Use) {
	s.mu.Lock()
	s.besides = u
	changed := s.settleIdle()
	s.mu.Unlock()
	s.told(changed)
}

// settleIdle sets idleSince by what uses the sandbox; the mutex is held.
func (s *Sandbox) settleIdle() (changed bool) {
	unpausable := s.spec.PauseWhenIdle && (s.besides.Running > 0 || s.box != nil && s.box.Shows())
	idle := s.state == command.Running && s.uses == 0 && s.processes == 0 && s.besides.Processes == 0 && !unpausable
	if idle == !s.idleSince.IsZero() {
		return false
	}
	s.idleSince = time.Time{}
	if idle {
		s.idleSince = time.Now()
	}
	return true
}

// told tells those who watch, and the life for its timer. What happens many times a second to sandboxes that have no idle timeout is not told.
func (s *Sandbox) told(changed bool) {
	if changed && s.spec.IdleTimeout > 0 {
		s.notify()
	}
}

// idleDeadline returns when the sandbox has been idle for too long; zero: not while it is as it is.
func (s *Sandbox) idleDeadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spec.IdleTimeout == 0 || s.idleSince.IsZero() {
		return time.Time{}
	}
	return s.idleSince.Add(s.spec.IdleTimeout)
}

// deadline returns when the sandbox ends at the latest; zero: never.
func (s *Sandbox) deadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expires
}
