package task

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds.
const (
	// QueueLimit is how many inputs of a function wait in memory; Offer blocks beyond.
	QueueLimit = 512
	// MaxReruns is how often an input is run again after infrastructure has lost it.
	MaxReruns = 5
	// MaxFailedStarts is how often in a row a function's containers may fail to be made before the inputs that wait fail.
	MaxFailedStarts = 5
	// IdentityKept is how long an ended container can be identified, for output that is still on its way.
	IdentityKept = 15 * time.Minute
	// stopTimeout bounds how long Run waits for containers to end.
	stopTimeout = 10 * time.Second
)

// Deps are the parts a Scheduler works with. All are required but Notices.
type Deps struct {
	Functions Functions
	Images    Images
	Secrets   Secrets
	Fleet     *fleet.Fleet
	Notices   Notices
	Clock     Clock
	Log       *slog.Logger
}

// Scheduler runs inputs. Safe for concurrent use. Its one mutex guards all state, of pools and containers too, and is never held over
// I/O: what is to be done outside is collected in effects and done after.
type Scheduler struct {
	d    Deps
	sink Sink

	mu         sync.Mutex
	pools      map[string]*pool
	containers map[string]*Container
	workers    map[string]Worker
	waiting    []*Container // resolved, without a worker, in order of asking
	room       Timer        // after which room is made for those that wait
	past       []departed   // in order of ending
	done       map[string][]chan struct{}
	changes    uint64 // counts publications, removals and stops
	closing    bool
	quiet      chan struct{} // closed when closing and the last container has ended
	starts     sync.WaitGroup
}

type departed struct {
	id       string
	identity Identity
	at       time.Time
}

// New returns a Scheduler without workers. SetSink is to be called before the first Offer.
func New(d Deps) *Scheduler {
	return &Scheduler{
		d: d, pools: map[string]*pool{}, containers: map[string]*Container{}, workers: map[string]Worker{},
		done: map[string][]chan struct{}{}, quiet: make(chan struct{}),
	}
}

// SetSink says where outcomes go.
func (s *Scheduler) SetSink(sink Sink) { s.sink = sink }

// Run blocks until ctx ends; then it stops all containers and waits for their end, for a limited time. Inputs that are in hand then get no
// outcome: the flow still has them.
func (s *Scheduler) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.closing = true
	if s.room != nil {
		s.room.Stop()
	}
	for _, p := range s.pools {
		p.stopTimers()
	}
	if len(s.containers) == 0 {
		close(s.quiet)
	}
	for _, c := range s.snapshot() {
		s.halt(c, false) // the last one that goes closes quiet
	}
	s.mu.Unlock()
	expired := make(chan struct{})
	defer s.d.Clock.AfterFunc(stopTimeout, func() { close(expired) }).Stop()
	select {
	case <-s.quiet:
	case <-expired:
		s.d.Log.Warn("containers did not end in time; their links are cut", "limit", stopTimeout)
	}
	s.starts.Wait()
	return context.Cause(ctx)
}

// snapshot returns the containers, so that the map may change meanwhile.
func (s *Scheduler) snapshot() []*Container {
	all := make([]*Container, 0, len(s.containers))
	for _, c := range s.containers {
		all = append(all, c)
	}
	return all
}

// Join adds a connected worker. Leave is to be called when its link has ended, after the Exited of all its containers. It returns a
// fault.Exists while a worker of that id is connected.
func (s *Scheduler) Join(info fleet.Worker, w Worker) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.d.Fleet.Join(info); err != nil {
		return nil, err
	}
	s.workers[info.ID] = w
	s.place()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.workers, info.ID)
		s.d.Fleet.Leave(info.ID)
	}, nil
}

// Function returns a function that inputs may be sent to, or a fault.NotFound.
func (s *Scheduler) Function(ctx context.Context, id string) (*function.Function, error) {
	p, err := s.pool(ctx, id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.stopped {
		return nil, p.stoppedError()
	}
	return p.fn, nil
}

// pool returns the function's pool, made if need be.
func (s *Scheduler) pool(ctx context.Context, id string) (*pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if p, ok := s.pools[id]; ok {
			p.used = true
			return p, nil
		}
		seen := s.changes
		s.mu.Unlock()
		fn, err := s.d.Functions.Function(ctx, id)
		s.mu.Lock()
		if err != nil {
			return nil, err
		}
		if s.changes == seen { // else it may be another version by now, or gone
			return s.adopt(fn), nil
		}
	}
}

// adopt returns the function's pool, made if need be.
func (s *Scheduler) adopt(fn *function.Function) *pool {
	p, ok := s.pools[fn.ID]
	if !ok {
		p = &pool{s: s, fn: fn, used: true}
		s.pools[fn.ID] = p
	}
	return p
}

// StopApp stops an app's containers and refuses its functions from here on, until they are published again. Inputs in hand get the outcome
// Cancelled. The app is to be marked as stopped before, so that Functions does not find its functions any more. Users call
// call.Service.StopApp, which also cancels what is not in hand, and calls this. It returns the functions that were in use.
func (s *Scheduler) StopApp(appID string) (functionIDs []string) {
	var fx effects
	s.mu.Lock()
	s.changes++
	for _, p := range s.pools {
		if p.fn.AppID == appID {
			functionIDs = append(functionIDs, p.fn.ID)
			p.stop("app "+p.fn.AppName+" was stopped", false, &fx)
		}
	}
	s.mu.Unlock()
	s.perform(&fx)
	return functionIDs
}

// CountByApp counts an app's work.
func (s *Scheduler) CountByApp(appID string) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	var n Counts
	for _, p := range s.pools {
		if p.fn.AppID == appID {
			c := p.counts()
			n.Backlog, n.Containers, n.Running = n.Backlog+c.Backlog, n.Containers+c.Containers, n.Running+c.Running
		}
	}
	return n
}

// CountByFunction counts a function's work.
func (s *Scheduler) CountByFunction(functionID string) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pools[functionID]; ok {
		return p.counts()
	}
	return Counts{}
}

// List returns the containers that start or run, newest first; of one app or (appID empty) of all.
func (s *Scheduler) List(appID string) []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Info
	for _, c := range s.containers {
		if appID == "" || c.pool.fn.AppID == appID {
			list = append(list, c.info())
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].CreatedAt.After(list[j].CreatedAt) })
	return list
}

// Stop stops a container; its inputs run elsewhere, unless graceful lets it finish them. It returns a fault.NotFound for one that is gone.
func (s *Scheduler) Stop(_ context.Context, containerID string, graceful bool) error {
	var fx effects
	s.mu.Lock()
	c, ok := s.containers[containerID]
	if ok {
		s.halt(c, graceful)
		c.pool.balance(&fx)
	}
	s.mu.Unlock()
	s.perform(&fx)
	if !ok {
		return goneError(containerID)
	}
	return nil
}

func goneError(containerID string) error {
	return fault.New(fault.NotFound, "container %q: does not run; skerry container list shows those that do", containerID)
}

// WorkerOf returns the id of the worker a container is on. Errors: fault.NotFound; fault.Precondition while it waits for a worker.
func (s *Scheduler) WorkerOf(containerID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[containerID]
	if !ok {
		return "", goneError(containerID)
	}
	if c.reservation == nil {
		return "", fault.New(fault.Precondition, "container %q: has no worker yet; try again once it has started", containerID)
	}
	return c.reservation.WorkerID, nil
}

// Identify says whose a container is, or was within the last minutes.
func (s *Scheduler) Identify(containerID string) (Identity, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.containers[containerID]; ok {
		return c.identity(), true
	}
	for i := len(s.past) - 1; i >= 0; i-- {
		if s.past[i].id == containerID {
			return s.past[i].identity, true
		}
	}
	return Identity{}, false
}

// AppDone returns a channel that is closed once no container of the app starts or runs.
func (s *Scheduler) AppDone(appID string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{})
	if s.appIdle(appID) {
		close(ch)
	} else {
		s.done[appID] = append(s.done[appID], ch)
	}
	return ch
}

func (s *Scheduler) appIdle(appID string) bool {
	for _, c := range s.containers {
		if c.pool.fn.AppID == appID {
			return false
		}
	}
	return true
}

// effects is what is to be done once the mutex is free.
type effects struct {
	finished map[string][]Outcome // by function
	starts   []*Container
	notices  []func()
}

func (fx *effects) finish(functionID string, o Outcome) {
	if fx.finished == nil {
		fx.finished = map[string][]Outcome{}
	}
	fx.finished[functionID] = append(fx.finished[functionID], o)
}

// perform does it. The mutex is free.
func (s *Scheduler) perform(fx *effects) {
	for id, outcomes := range fx.finished {
		s.sink.Finished(id, outcomes)
	}
	for _, c := range fx.starts {
		go c.prepare()
	}
	for _, notice := range fx.notices {
		notice()
	}
}
