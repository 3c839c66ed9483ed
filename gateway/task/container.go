package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/gateway/autoscale"
	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// state is where a container is in its life.
type state uint8

const (
	preparing state = iota // what it is started with is being found out
	waiting                // for a worker with room
	starting
	ready
	draining // takes no more inputs
	ended
)

// Container is one container, from the wish for it to its end. It hears the worker as Events. All of it is guarded by the Scheduler's
// mutex.
type Container struct {
	id          string
	s           *Scheduler
	pool        *pool
	fn          *function.Function // the version it runs
	state       state
	createdAt   time.Time
	readyAt     time.Time
	idleSince   time.Time
	busySince   time.Time // since when its first input has run
	served      bool      // it has had an output
	slow        bool      // inputs have waited too long here; until the next output it gets one at a time
	spec        *Spec
	reservation *fleet.Reservation
	handle      Handle         // nil until it is on a worker
	inputs      []*Input       // given and without outcome, in order
	batch       []*Input       // being given
	units       int            // shares of the container that inputs have: an input or a batch each
	batches     map[uint32]int // inputs of each batch that have no outcome
	slots       int            // as the container wants it; 0: as the function says
}

var _ Events = (*Container)(nil)

// prepared is what containers of one version of a function are started with, beside their ids.
type prepared struct {
	image       Image
	functionIDs map[string]string
}

// add makes a container to be started.
func (p *pool) add() *Container {
	now := p.s.d.Clock.Now()
	c := &Container{id: ident.New(ident.Container), s: p.s, pool: p, fn: p.fn, createdAt: now, state: preparing}
	p.containers = append(p.containers, c)
	p.s.containers[c.id] = c
	p.s.starts.Add(1)
	return c
}

func (c *Container) info() Info {
	i := Info{
		ID: c.id, Environment: c.fn.Environment, AppID: c.fn.AppID, AppName: c.fn.AppName, FunctionID: c.fn.ID, FunctionName: c.fn.Definition.Name,
		CreatedAt: c.createdAt, ReadyAt: c.readyAt, Running: len(c.inputs),
	}
	if c.reservation != nil {
		i.WorkerID = c.reservation.WorkerID
	}
	return i
}

func (c *Container) identity() Identity {
	return Identity{
		AppID: c.fn.AppID, AppName: c.fn.AppName, FunctionID: c.fn.ID, FunctionName: c.fn.Definition.Name, Environment: c.fn.Environment,
	}
}

// prepare finds out what the container is started with and has it placed. It runs in a goroutine of its own, one per start.
func (c *Container) prepare() {
	defer c.s.starts.Done()
	c.s.mu.Lock()
	prep := c.pool.prep
	c.s.mu.Unlock()
	// Bounded, as stores answer fast or not at all; not ended with the caller, who only happened to need the container first.
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	var err error
	if prep == nil {
		prep, err = c.s.prepare(ctx, c.fn)
	}
	var secretEnv map[string]string
	var buckets []function.BucketCredentials
	if err == nil {
		secretEnv, err = c.s.secretEnv(ctx, c.fn)
	}
	if err == nil {
		buckets, err = c.s.buckets(ctx, c.fn)
	}
	if err != nil {
		c.Exited(prepareFailed(err))
		return
	}
	var fx effects
	c.s.mu.Lock()
	if c.state == preparing {
		if c.pool.fn == c.fn {
			c.pool.prep = prep
		}
		c.spec = &Spec{
			ContainerID: c.id, Function: c.fn, Image: prep.image, SecretEnv: secretEnv, Buckets: buckets, AppFunctionIDs: prep.functionIDs,
		}
		c.state = waiting
		c.s.waiting = append(c.s.waiting, c)
		c.s.place()
		if c.state == waiting && !c.s.makeRoom(c) {
			c.explain(&fx)
		}
	}
	c.s.mu.Unlock()
	c.s.perform(&fx)
}

const prepareTimeout = 30 * time.Second

func (s *Scheduler) prepare(ctx context.Context, fn *function.Function) (*prepared, error) {
	image, err := s.d.Images.ContainerImage(ctx, fn.Definition.ImageID)
	if err != nil {
		return nil, fmt.Errorf("image of function %q: %w", fn.Definition.Name, err)
	}
	siblings, err := s.d.Functions.AppFunctions(ctx, fn.AppID)
	if err != nil {
		return nil, fmt.Errorf("app of function %q: %w", fn.Definition.Name, err)
	}
	ids := make(map[string]string, len(siblings))
	for _, f := range siblings {
		ids[f.Definition.Name] = f.ID
	}
	return &prepared{image, ids}, nil
}

// secretEnv opens the secrets of a function. It is done for each container, because they change.
func (s *Scheduler) secretEnv(ctx context.Context, fn *function.Function) (map[string]string, error) {
	if len(fn.Definition.SecretIDs) == 0 {
		return map[string]string{}, nil
	}
	env, err := s.d.Secrets.SecretEnv(ctx, fn.Definition.SecretIDs)
	if err != nil {
		return nil, fmt.Errorf("secrets of function %q: %w", fn.Definition.Name, err)
	}
	return env, nil
}

// prepareFailed is the end of a container that was never asked for: what is missing stays missing, anything else may pass.
func prepareFailed(err error) Exit {
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Invalid) || errors.Is(err, fault.Precondition) {
		return Exit{Reason: StartFailed, Message: err.Error(), Error: &payload.RemoteError{Message: err.Error()}}
	}
	return Exit{Reason: NotStarted, Message: err.Error()}
}

func (c *Container) demand() placement.Demand {
	r, p := c.fn.Definition.Resources, c.fn.Definition.Placement
	return placement.Demand{
		Needs: placement.Needs{CPUMilli: r.CPUMilli, MemoryMiB: r.MemoryMiB},
		Where: placement.Where{Regions: p.Regions, Clouds: p.Clouds, NonPreemptible: p.NonPreemptible},
	}
}

// place puts containers that wait on workers with room, in order; one that does not fit does not hold up those that do.
func (s *Scheduler) place() {
	if len(s.waiting) == 0 {
		return
	}
	kept := s.waiting[:0]
	for _, c := range s.waiting {
		if c.state == waiting && !c.launch() {
			kept = append(kept, c)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
}

// launch starts the container on a worker, if one has room.
func (c *Container) launch() bool {
	r, err := c.s.d.Fleet.Reserve(c.demand())
	if err != nil {
		return false
	}
	w, ok := c.s.workers[r.WorkerID]
	if !ok {
		r.Release()
		return false
	}
	c.reservation, c.state = r, starting
	c.handle = w.Start(c.spec, c)
	c.spec = nil
	return true
}

// explain tells the user why the container waits, if it is the first of its function that does.
func (c *Container) explain(fx *effects) {
	for _, other := range c.pool.containers {
		if other != c && other.state == waiting {
			return
		}
	}
	demand := c.demand()
	_, err := placement.Choose(&demand, c.s.d.Fleet.Snapshot())
	if err == nil || c.s.d.Notices == nil {
		return
	}
	fn, id, text := c.fn, c.id, "waiting for a worker: "+err.Error()+"\n"
	fx.notices = append(fx.notices, func() { c.s.d.Notices.Notice(fn, id, text) })
}

// halt ends a container, with graceful after the inputs it has. The mutex is held.
func (s *Scheduler) halt(c *Container, graceful bool) {
	switch c.state {
	case preparing, waiting:
		s.remove(c)
	case starting, ready, draining:
		c.state = draining
		c.handle.Stop(graceful)
	case ended:
	}
}

// Ready implements Events.
func (c *Container) Ready([]Phase) {
	var fx effects
	c.s.mu.Lock()
	c.readyAt = c.s.d.Clock.Now()
	c.idleSince = c.readyAt
	c.pool.failedStarts, c.pool.crashes = 0, 0
	c.pool.stopRetry()
	if c.state == starting {
		c.state = ready
		c.pool.failure = nil
		c.pool.balance(&fx)
		if len(c.s.waiting) > 0 {
			c.s.planRoom(idleBeforeMove)
		}
	}
	c.s.mu.Unlock()
	c.s.perform(&fx)
}

// take removes and returns an input that the container was given, or nil.
func (c *Container) take(k payload.Key) *Input {
	for i, in := range c.inputs {
		if in.Key != k {
			continue
		}
		if i == 0 {
			c.inputs[0] = nil
			c.inputs = c.inputs[1:]
		} else {
			c.inputs = append(c.inputs[:i], c.inputs[i+1:]...)
		}
		c.release(in)
		return in
	}
	return nil
}

// release ends an input's share of the container.
func (c *Container) release(in *Input) {
	in.container = nil
	if in.Batch == 0 {
		c.units--
		return
	}
	if c.batches[in.Batch]--; c.batches[in.Batch] <= 0 {
		delete(c.batches, in.Batch)
		c.units--
	}
	in.Batch = 0
}

// Outputs implements Events.
func (c *Container) Outputs(outputs []Output) {
	finished := make([]Outcome, 0, len(outputs))
	var fx effects
	c.s.mu.Lock()
	now := c.s.d.Clock.Now()
	for i := range outputs {
		o := &outputs[i]
		in := c.take(o.Key)
		if in == nil {
			continue // not its own, or twice
		}
		finished = append(finished, Outcome{in, o.Result})
		if o.Result.Status != payload.Cancelled {
			c.pool.elapsed = autoscale.Learn(c.pool.elapsed, o.Elapsed)
		}
	}
	c.served, c.slow, c.busySince, c.idleSince = true, false, now, now
	c.pool.balance(&fx)
	if len(c.s.waiting) > 0 {
		c.s.planRoom(idleBeforeMove) // c may be idle by then
	}
	c.s.mu.Unlock()
	if len(finished) > 0 {
		c.s.sink.Finished(c.fn.ID, finished)
	}
	c.s.perform(&fx)
}

// Items implements Events.
func (c *Container) Items(key payload.Key, first uint64, values []*payload.Payload) {
	c.s.mu.Lock()
	i := slices.IndexFunc(c.inputs, func(in *Input) bool { return in.Key == key })
	var in *Input
	if i >= 0 {
		in = c.inputs[i]
	}
	c.s.mu.Unlock()
	if in != nil { // else not its own
		c.s.sink.Items(c.fn.ID, in, first, values)
	}
}

// Slots implements Events.
func (c *Container) Slots(n int) {
	var fx effects
	c.s.mu.Lock()
	switch {
	case n <= 0 && (c.state == ready || c.state == starting):
		c.s.halt(c, true)
	case n > 0:
		c.slots = min(n, c.maxUnits())
	}
	c.pool.balance(&fx)
	c.s.mu.Unlock()
	c.s.perform(&fx)
}

// Returned implements Events.
func (c *Container) Returned(keys []payload.Key) {
	var fx effects
	c.s.mu.Lock()
	var back []*Input
	for _, k := range keys {
		if in := c.take(k); in != nil {
			back = append(back, in)
		}
	}
	c.slow = true
	if len(c.inputs) == 0 {
		c.idleSince = c.s.d.Clock.Now()
	}
	c.pool.putBack(back, &fx)
	c.pool.balance(&fx)
	c.s.mu.Unlock()
	c.s.perform(&fx)
}

// putBack has inputs run again before those that wait, but for those whose end is due.
func (p *pool) putBack(inputs []*Input, fx *effects) {
	var again []*Input
	for _, in := range inputs {
		in.container = nil
		switch {
		case p.s.closing: // the flow keeps it
		case p.stopped:
			fx.finish(p.fn.ID, Outcome{in, p.cancelledByStop()})
		case in.cancelled:
			fx.finish(p.fn.ID, Outcome{in, cancelledByUser})
		case in.Attempt > MaxReruns:
			fx.finish(p.fn.ID, Outcome{in, payload.Failed(payload.InternalFailure, fmt.Sprintf(
				"input was lost %d times with its container or worker, and is not run again; skerry app logs shows what the containers said", in.Attempt))})
		default:
			again = append(again, in)
		}
	}
	p.again = append(again, p.again...)
}
