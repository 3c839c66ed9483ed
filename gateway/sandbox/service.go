package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Apps finds apps. Implemented by gateway/app.
type Apps interface {
	// Find returns an app by its id or name. Errors: fault.Invalid, fault.NotFound.
	Find(ctx context.Context, environment, key string) (*app.App, error)
}

// Images finds images. Implemented in gateway/server.
type Images interface {
	// SandboxImage returns an image, or a fault.NotFound.
	SandboxImage(ctx context.Context, id string) (Image, error)
}

// Secrets opens secrets. Implemented in gateway/server.
type Secrets interface {
	// Variables opens secrets of an app and merges them, later ones over earlier ones; they are not for logs. Errors: fault.NotFound.
	Variables(ctx context.Context, appID string, ids []string) (map[string]string, error)
}

// Trees finds trees of files. Implemented by gateway/mount.
type Trees interface {
	// Check returns a fault.NotFound for a tree that is not stored.
	Check(ctx context.Context, digest string) error
}

// Volumes finds volumes. Implemented by gateway/volume.
type Volumes interface {
	// CheckVolume returns a fault.NotFound for a volume that the environment has not.
	CheckVolume(ctx context.Context, environment, id string) error
}

// Output is told of containers whose output is to be expected. Implemented in gateway/server.
type Output interface {
	// Opened says that a sandbox of the app begins to write.
	Opened(appID, sandboxID, name string)
	// Closed says that it has ended.
	Closed(sandboxID string)
}

// Follower is told of every sandbox that a worker has taken: when it is known, whenever something of it changes, and when it has ended.
// Implemented in gateway/server.
type Follower interface {
	// Follow takes a sandbox as it is now. It is called in order, and may not call back.
	Follow(sb Sandbox)
}

// Deps are the parts of a Service. All are required.
type Deps struct {
	Store   Store
	Apps    Apps
	Images  Images
	Secrets Secrets
	Trees   Trees
	Volumes Volumes
	Output  Output
	Fleet   *fleet.Fleet
	Follow  Follower
	Log     *slog.Logger
}

// Service makes, finds and ends sandboxes. It is safe for concurrent use; its mutex is never held over I/O.
type Service struct {
	d       Deps
	journal *journal

	mu       sync.Mutex
	entries  map[string]*entry
	links    map[string]*link // by worker id
	lastLink uint64
	settled  bool // what there is, is known
	settling *time.Timer
	readers  map[*subscription]struct{}
	idle     map[string][]chan struct{} // by app: closed when its last sandbox has ended
	closed   bool
}

// New returns a Service without workers. Load is to be called before the first worker joins.
func New(d Deps) *Service {
	s := &Service{
		d: d, entries: map[string]*entry{}, links: map[string]*link{}, readers: map[*subscription]struct{}{}, idle: map[string][]chan struct{}{},
	}
	s.journal = newJournal(s)
	return s
}

// Load reads what an earlier gateway knew. Sandboxes are where they were until their workers say otherwise.
func (s *Service) Load(ctx context.Context) error {
	list, err := s.d.Store.LiveSandboxes(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sb := range list {
		e := &entry{Sandbox: sb, placed: true}
		s.entries[sb.ID] = e
		s.absent(e)
		s.d.Follow.Follow(sb)
	}
	s.settling = time.AfterFunc(SettleTime, s.settle)
	return nil
}

// Run writes what changes to the store until ctx ends, and then what is left.
func (s *Service) Run(ctx context.Context) error {
	err := s.journal.run(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.settling != nil {
		s.settling.Stop()
	}
	for _, e := range s.entries {
		e.stopAbsence()
	}
	for r := range s.readers {
		r.end(fault.New(fault.Unavailable, "the gateway is stopping; try again"))
	}
	return err
}

func (s *Service) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = true
}

// unknown is the error for a sandbox that memory does not have. A worker that has yet to link may have it.
func (s *Service) unknown(what, key string) error {
	if !s.settled {
		return fault.New(fault.Unavailable, "%s %q: not known yet, for the gateway has just started; try again", what, key)
	}
	return fault.New(fault.NotFound, "%s %q: there is none", what, key)
}

// Get returns a sandbox, one that has ended within Kept as well. Errors: fault.Invalid, fault.NotFound, fault.Unavailable.
func (s *Service) Get(ctx context.Context, id string) (Sandbox, error) {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return Sandbox{}, err
	}
	s.mu.Lock()
	if e := s.entries[id]; e != nil {
		defer s.mu.Unlock()
		return e.clone(), nil
	}
	unknown := s.unknown("sandbox", id)
	s.mu.Unlock()
	stored, err := s.d.Store.Sandbox(ctx, id)
	if errors.Is(err, fault.NotFound) {
		return Sandbox{}, unknown
	}
	if err != nil {
		return Sandbox{}, err
	}
	return *stored, nil
}

// Named returns the running sandbox of a deployed app that has a name. Errors: fault.Invalid, fault.NotFound, fault.Unavailable.
func (s *Service) Named(ctx context.Context, environment, appName, name string) (Sandbox, error) {
	if err := ident.CheckName("sandbox", name); err != nil {
		return Sandbox{}, err
	}
	a, err := s.d.Apps.Find(ctx, environment, appName)
	if err != nil {
		return Sandbox{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if e.AppID == a.ID && e.Definition.Name == name && e.State != Ended && e.placed {
			return e.clone(), nil
		}
	}
	if !s.settled {
		return Sandbox{}, s.unknown("sandbox", name)
	}
	return Sandbox{}, fault.New(fault.NotFound, "sandbox %q of app %q: none of that name runs", name, appName)
}

// await returns the sandbox once it is as wanted or has ended, or as it is after limit.
func (s *Service) await(ctx context.Context, id string, limit time.Duration, wanted func(*Sandbox) bool) (Sandbox, error) {
	timer := time.NewTimer(min(max(0, limit), MaxWait))
	defer timer.Stop()
	for {
		s.mu.Lock()
		e := s.entries[id]
		if e == nil {
			s.mu.Unlock()
			return s.Get(ctx, id) // it has ended, or never was
		}
		now, changed := e.clone(), e.watch()
		s.mu.Unlock()
		if now.State == Ended || wanted(&now) {
			return now, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return now, nil
		case <-ctx.Done():
			return now, context.Cause(ctx)
		}
	}
}

// Wait returns the sandbox once it has ended, or as it is after limit, at most MaxWait. Errors: fault.NotFound.
func (s *Service) Wait(ctx context.Context, id string, limit time.Duration) (Sandbox, error) {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return Sandbox{}, err
	}
	return s.await(ctx, id, limit, func(*Sandbox) bool { return false })
}

// WaitReady says whether the readiness probe has succeeded, at the latest after limit. Errors: fault.NotFound; fault.Precondition where it has
// ended or has no probe.
func (s *Service) WaitReady(ctx context.Context, id string, limit time.Duration) (bool, error) {
	sb, err := s.Get(ctx, id)
	if err == nil && sb.Definition.Probe == nil {
		err = fault.New(fault.Precondition, "sandbox %q: has no readiness probe; create it with one", id)
	}
	if err != nil {
		return false, err
	}
	if sb, err = s.await(ctx, id, limit, func(sb *Sandbox) bool { return sb.Ready }); err != nil {
		return false, err
	}
	if sb.State == Ended {
		return false, endedError(&sb)
	}
	return sb.Ready, nil
}

// WaitStarted returns the sandbox once it does not start any more, or as it is after limit. Errors: fault.NotFound, fault.Precondition.
func (s *Service) WaitStarted(ctx context.Context, id string, limit time.Duration) (Sandbox, error) {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return Sandbox{}, err
	}
	sb, err := s.await(ctx, id, limit, func(sb *Sandbox) bool { return sb.State != Starting })
	if err == nil && sb.State == Ended {
		err = endedError(&sb)
	}
	return sb, err
}

// WaitState returns the sandbox once it is in a state, which it is about to reach. Errors: fault.NotFound, fault.Precondition (it has ended),
// those of ctx.
func (s *Service) WaitState(ctx context.Context, id string, state State) (Sandbox, error) {
	for {
		sb, err := s.await(ctx, id, MaxWait, func(sb *Sandbox) bool { return sb.State == state })
		if err == nil && sb.State == Ended {
			err = endedError(&sb)
		}
		if err != nil || sb.State == state {
			return sb, err
		}
	}
}

// endedError says that, and how, a sandbox has ended.
func endedError(sb *Sandbox) error {
	how := ""
	if sb.End != nil {
		how = ": " + sb.End.describe()
	}
	return fault.New(fault.Precondition, "sandbox %q has ended%s", sb.ID, how)
}

// describe says how a sandbox ended, in words.
func (e *End) describe() string {
	var text string
	switch e.Reason {
	case Exited:
		text = fmt.Sprintf("its command exited with %d", e.ReturnCode)
	case TimedOut:
		text = "its timeout passed"
	case IdleTimeout:
		text = "nobody used it for its idle timeout"
	case Terminated:
		text = "it was terminated"
	case OutOfMemory:
		text = "it used more memory than it may"
	case StartFailed:
		text = "it could not be started"
	default:
		text = "it was lost"
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}
