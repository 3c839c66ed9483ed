package call

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Deps are the parts a Service works with. All are required.
type Deps struct {
	Flow       Flow
	Records    Records
	Blobs      Blobs
	Dispatcher Dispatcher
	Clock      task.Clock
	Log        *slog.Logger
}

// Times of a Service.
const (
	// HeartbeatInterval is how often the flow is told that inputs are still in hand.
	HeartbeatInterval = 10 * time.Second
	// ReconcileInterval is how often records without output are compared with the flow, and old ones deleted.
	ReconcileInterval = 5 * time.Minute
	// retryInterval is how long to wait after a store has failed before trying again.
	retryInterval = time.Second
)

// Service runs calls. It is the Scheduler's Sink. Safe for concurrent use.
type Service struct {
	d       Deps
	running chan struct{} // closed once Run has recovered what was there
	accepts queue[accept]
	ends    queue[ending] // of SPAWN inputs

	mu        sync.Mutex
	group     *lifecycle.Group
	calls     map[string]*callState
	hand      map[payload.Key]*held
	subs      map[string]*subscribing // by function
	cancelled map[string]bool         // SPAWN calls that have just been cancelled
	doubtful  map[payload.Key]bool    // put into the flow again, though they may have ended meanwhile
	recorded  map[payload.Key]bool    // pending at the start and not delivered since, so certainly without output
}

// callState is a SYNC call with unfinished inputs or somebody watching, or a SPAWN call with somebody watching.
type callState struct {
	id, functionID, appID string
	kind                  Kind
	createdAt             time.Time
	unfinished            map[uint32]bool // of a SYNC call; true: a client has sent it since the start, and is given the output
	wanted                int             // how many of unfinished are true
	inputs, finished      uint32          // of a SYNC call
	cancelled             bool
	watchers              []*watcher
}

// watcher is a session's wish for the outputs of a call.
type watcher struct {
	session *Session
	from    uint32
	seen    map[uint32]bool // known to the client or sent; nil for SYNC calls, whose outputs come by once
}

// held is an input that the flow has delivered and that has no stored output. All but ticket is constant.
type held struct {
	functionID string
	kind       Kind
	ticket     Ticket // guarded by the Service's mutex
}

// ending is the outcome of an input on its way to the store; held is nil where the flow has not delivered it.
type ending struct {
	output Output
	held   *held
}

// New returns a Service that takes nothing until Run.
func New(d Deps) *Service {
	return &Service{
		d: d, running: make(chan struct{}), accepts: newQueue[accept](), ends: newQueue[ending](),
		calls: map[string]*callState{}, hand: map[payload.Key]*held{}, subs: map[string]*subscribing{},
		cancelled: map[string]bool{}, doubtful: map[payload.Key]bool{}, recorded: map[payload.Key]bool{},
	}
}

// Run puts what SQL calls pending into the flow again, takes up what the flow holds, and keeps calls going until ctx ends or a part fails
// for good. It is called once. Inputs that are in hand when it ends stay in the flow.
func (s *Service) Run(ctx context.Context) error {
	g := lifecycle.NewGroup(ctx)
	s.mu.Lock()
	s.group = g
	s.mu.Unlock()
	g.Go("calls", func(ctx context.Context) error {
		if err := s.recover(ctx); err != nil {
			return err
		}
		close(s.running)
		return s.monitor(ctx)
	})
	g.Go("acceptor", s.runAccepts)
	g.Go("recorder", s.runEnds)
	err := g.Wait()
	if cerr := s.closeSubscriptions(); cerr != nil {
		s.d.Log.Warn("subscriptions not closed", "error", cerr)
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// ready waits until Run has recovered.
func (s *Service) ready(ctx context.Context) error {
	select {
	case <-s.running:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// monitor keeps inputs in hand and compares records with the flow, each at its interval.
func (s *Service) monitor(ctx context.Context) error {
	beat, reconcile := s.every(ctx, HeartbeatInterval), s.every(ctx, ReconcileInterval)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat:
			s.heartbeat()
		case <-reconcile:
			if err := errors.Join(s.reconcile(ctx, true), s.d.Records.Expire(ctx, s.d.Clock.Now().Add(-Retention))); err != nil && ctx.Err() == nil {
				s.d.Log.Error("calls not reconciled", "next_try", ReconcileInterval, "error", err)
			}
		}
	}
}

// every returns a channel that gets a token at each interval, until ctx ends.
func (s *Service) every(ctx context.Context, d time.Duration) <-chan struct{} {
	ch := make(chan struct{}, 1)
	var again func()
	again = func() {
		select {
		case ch <- struct{}{}:
		default:
		}
		if ctx.Err() == nil {
			s.d.Clock.AfterFunc(d, again)
		}
	}
	s.d.Clock.AfterFunc(d, again)
	return ch
}

// pause waits before something that failed is tried again.
func (s *Service) pause(ctx context.Context) error {
	over := make(chan struct{})
	defer s.d.Clock.AfterFunc(retryInterval, func() { close(over) }).Stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) heartbeat() {
	s.mu.Lock()
	tickets := make([]Ticket, 0, len(s.hand))
	for _, h := range s.hand {
		tickets = append(tickets, h.ticket)
	}
	s.mu.Unlock()
	for _, t := range tickets {
		t.Working()
	}
}

// Get describes a call, or returns a fault.NotFound.
func (s *Service) Get(ctx context.Context, callID string) (State, error) {
	s.mu.Lock()
	if c, ok := s.calls[callID]; ok && c.kind == Sync {
		defer s.mu.Unlock()
		return c.state(), nil
	}
	s.mu.Unlock()
	return s.d.Records.Get(ctx, callID)
}

func (c *callState) state() State {
	return State{
		CallID: c.id, NumInputs: c.inputs, NumFinished: c.finished, FunctionID: c.functionID, AppID: c.appID, CreatedAt: c.createdAt,
	}
}

// unwatch ends a session's interest in a call. The mutex is held.
func (s *Service) unwatch(x *Session, callID string) {
	delete(x.watched, callID)
	c, ok := s.calls[callID]
	if !ok {
		return
	}
	for i, w := range c.watchers {
		if w.session == x {
			c.watchers = append(c.watchers[:i], c.watchers[i+1:]...)
			break
		}
	}
	s.drop(c)
}

// drop forgets a call that nobody watches and that has no unfinished inputs. The mutex is held.
func (s *Service) drop(c *callState) {
	if len(c.watchers) == 0 && len(c.unfinished) == 0 {
		delete(s.calls, c.id)
	}
}

// watch adds a session to a call's watchers, or returns the watcher it has. The mutex is held.
func (c *callState) watch(x *Session) *watcher {
	for _, w := range c.watchers {
		if w.session == x {
			return w
		}
	}
	w := &watcher{session: x}
	if !x.gone {
		c.watchers = append(c.watchers, w)
		x.watched[c.id] = true
	}
	return w
}

// hand out gives an output to those who watch. The mutex is held.
func (c *callState) handOut(o Output) {
	for _, w := range c.watchers {
		if o.Key.Index < w.from || w.seen[o.Key.Index] {
			continue
		}
		if w.seen != nil {
			w.seen[o.Key.Index] = true
		}
		w.session.push(o)
	}
}

// isKind is errors.Is for kinds, nil included.
func isKind(err error, k *fault.Kind) bool { return err != nil && errors.Is(err, k) }
