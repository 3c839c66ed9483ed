package call

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/gateway/gather"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/gateway/lineage"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Deps are the parts a Service works with. All are required.
type Deps struct {
	Flow interface {
		Flow
		Outputs
		item.Log
	}
	Records interface {
		Records
		Expiry
		Lineage
	}
	Blobs      Blobs
	Dispatcher Dispatcher
	Clock      task.Clock
	Log        *slog.Logger
}

// Times of a Service.
const (
	// HeartbeatInterval is how often the flow is told that inputs are still in hand.
	HeartbeatInterval = 10 * time.Second
	// ReconcileInterval is how often records without output are compared with the flow, old ones deleted, and functions forgotten that have
	// not been used since the time before.
	ReconcileInterval = 5 * time.Minute
	// retryInterval is how long to wait after a store has failed before trying again.
	retryInterval = time.Second
)

// Service runs calls. It is the Scheduler's Sink. Safe for concurrent use.
type Service struct {
	d        Deps
	running  chan struct{} // closed once Run has recovered what was there
	items    *item.Keeper
	accepts  *gather.Queue[accept]
	ends     *gather.Queue[ending] // of SPAWN inputs
	failures *gather.Queue[failed]
	purges   *gather.Queue[purge]
	work     *gather.Queue[work]

	mu        sync.Mutex
	group     *lifecycle.Group
	calls     map[string]*callState
	hand      map[payload.Key]*held
	subs      map[string]*subscribing // by function
	retrying  map[string]*retrying    // by function
	cancelled map[string]bool         // SPAWN calls that have just been cancelled
	doubtful  map[payload.Key]doubt   // put into the flow again, though they may have ended meanwhile
	recorded  map[payload.Key]bool    // pending at the start and not delivered since, so certainly without output
	traces    *lineage.Memory
}

// callState is a SYNC call with unfinished inputs or somebody watching, or a SPAWN call with somebody watching.
type callState struct {
	id, functionID, appID string
	kind                  Kind
	createdAt             time.Time
	unfinished            map[uint32]bool // of a SYNC call; true: a client has sent it since the start, and is given the output
	wanted                int             // how many of unfinished are true
	resumed               map[uint32]bool // of unfinished: sent again by a client that came back, and perhaps put again behind its own end
	inputs, finished      uint32          // of a SYNC call
	cancelled             bool
	watchers              []*watcher
	vanished              task.Timer              // cancels a SYNC call that nobody watches
	released              bool                    // the last client that watched has all it wants
	generators            map[uint32]*item.Stream // of inputs that yield items
	yields                bool                    // generators has had some
	ended                 chan struct{}           // closed, and then nil, when a SYNC call has no unfinished inputs; nil: nobody waits
}

// held is an input that the flow has delivered and that has no stored output. FunctionID and kind are constant, the rest is guarded by the
// Service's mutex.
type held struct {
	functionID string
	kind       Kind
	ticket     Ticket
	cancelled  atomic.Bool // its call was cancelled while it was in hand
	failures   int         // that were not stored, for it is run again
	waiting    *task.Input // for its retry
	timer      task.Timer  // that ends waiting
}

// Withdrawn implements task.Withdrawer.
func (h *held) Withdrawn() bool { return h.cancelled.Load() }

// ending is the outcome of an input on its way to the store; held is nil where the flow has not delivered it.
type ending struct {
	output Output
	held   *held
}

// New returns a Service that takes nothing until Run.
func New(d Deps) *Service {
	s := &Service{
		d: d, running: make(chan struct{}), accepts: gather.NewQueue[accept](), ends: gather.NewQueue[ending](), failures: gather.NewQueue[failed](),
		purges: gather.NewQueue[purge](), work: gather.NewQueue[work](),
		calls: map[string]*callState{}, hand: map[payload.Key]*held{}, subs: map[string]*subscribing{}, retrying: map[string]*retrying{},
		cancelled: map[string]bool{}, doubtful: map[payload.Key]doubt{}, recorded: map[payload.Key]bool{}, traces: lineage.NewMemory(),
	}
	s.items = item.NewKeeper(item.Deps{Log: d.Flow, Clock: d.Clock, Failed: s.itemsFailed})
	return s
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
	g.Go("reconciler", s.runReconciler)
	g.Go("acceptor", s.runAccepts)
	g.Go("recorder", s.runEnds)
	g.Go("retries", s.runFailures)
	g.Go("items", s.items.Run)
	g.Go("purger", s.runPurges)
	g.Go("background", func(ctx context.Context) error { return s.runWork(ctx, g) })
	err := g.Wait()
	s.stopTimers()
	if cerr := s.closeSubscriptions(); cerr != nil {
		s.d.Log.Warn("subscriptions not closed", "error", cerr)
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// stopTimers ends what is planned, once nobody is there to do it.
func (s *Service) stopTimers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hand {
		if h.timer != nil {
			h.timer.Stop()
		}
	}
	for _, c := range s.calls {
		c.expect()
	}
}

// work is something to be done in the background.
type work struct {
	name string
	do   func(context.Context) error
}

// runWork starts each piece of work in a goroutine of its own. A failure is logged.
func (s *Service) runWork(ctx context.Context, g *lifecycle.Group) error {
	for {
		batch, err := s.work.Take(ctx, maxCommit)
		if err != nil {
			return err
		}
		for _, w := range batch {
			g.Go(w.name, func(ctx context.Context) error {
				if err := w.do(ctx); err != nil && ctx.Err() == nil {
					s.d.Log.Error("background work failed", "work", w.name, "error", err)
				}
				return nil
			})
		}
	}
}

// detachTimeout bounds work that nobody waits for.
const detachTimeout = time.Minute

// detach does something in the background, for as long as the service runs and for a limited time.
func (s *Service) detach(name string, f func(context.Context) error) {
	s.work.Add(work{name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, detachTimeout)
		defer cancel()
		return f(ctx)
	}})
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

// monitor keeps inputs in hand.
func (s *Service) monitor(ctx context.Context) error {
	for beat := s.every(ctx, HeartbeatInterval); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat:
			s.heartbeat()
		}
	}
}

// runReconciler compares records with the flow, and forgets old ones and idle functions. It may take long, where there are millions.
func (s *Service) runReconciler(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	for tick := s.every(ctx, ReconcileInterval); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick:
			err := errors.Join(s.reconcile(ctx, true), s.forgetIdle(ctx), s.d.Records.Expire(ctx, s.d.Clock.Now().Add(-Retention)))
			if err != nil && ctx.Err() == nil {
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

// Get describes a call, or returns a fault.NotFound; also for one that the scope of ctx does not reach.
func (s *Service) Get(ctx context.Context, callID string) (State, error) {
	state, err := s.get(ctx, callID)
	if err == nil {
		err = s.permit(ctx, &state)
	}
	if err != nil {
		return State{}, err
	}
	return state, nil
}

// Find is Get for who decides what the caller may see. Errors: fault.NotFound.
func (s *Service) Find(ctx context.Context, callID string) (State, error) { return s.get(ctx, callID) }

func (s *Service) get(ctx context.Context, callID string) (State, error) {
	s.mu.Lock()
	if c, ok := s.calls[callID]; ok && c.kind == Sync {
		defer s.mu.Unlock()
		return c.state(), nil
	}
	s.mu.Unlock()
	return s.d.Records.Get(ctx, callID)
}

// Busy says whether an app has inputs without an outcome. It waits until those of before the start are known.
func (s *Service) Busy(ctx context.Context, appID string) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	var nameless []string // functions of calls that a gateway before took
	s.mu.Lock()
	for _, c := range s.calls {
		if c.kind != Sync || len(c.unfinished) == 0 {
			continue
		}
		if c.appID == appID {
			s.mu.Unlock()
			return true, nil
		}
		if c.appID == "" {
			nameless = append(nameless, c.functionID)
		}
	}
	s.mu.Unlock()
	for _, id := range nameless {
		if fn, err := s.d.Dispatcher.Function(ctx, id); err == nil && fn.AppID == appID {
			return true, nil
		} else if err != nil && !isKind(err, fault.NotFound) {
			return false, err
		}
	}
	spawned, err := s.d.Records.PendingOfApp(ctx, appID)
	return len(spawned) > 0, err
}

// permit refuses code in containers what concerns calls of other environments.
func (s *Service) permit(ctx context.Context, c *State) error {
	scope, limited := identity.ScopeOf(ctx)
	if !limited || scope.AppID == c.AppID {
		return nil
	}
	fn, err := s.d.Dispatcher.Function(ctx, c.FunctionID)
	if err == nil {
		err = identity.CheckEnvironment(ctx, "call", c.CallID, fn.Environment)
	}
	return err
}

func (c *callState) state() State {
	return State{
		CallID: c.id, NumInputs: c.inputs, NumFinished: c.finished, FunctionID: c.functionID, AppID: c.appID, CreatedAt: c.createdAt,
	}
}

// isKind is errors.Is for kinds, nil included.
func isKind(err error, k *fault.Kind) bool { return err != nil && errors.Is(err, k) }
