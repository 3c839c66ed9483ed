package container

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Container is one container. Run is its life; the other methods may be called at any time, from any goroutine.
type Container struct {
	host   *Host
	spec   Spec
	events Events

	// notes tells the goroutine of Run what has happened; over is closed when it no longer listens.
	notes chan note
	over  chan struct{}
	// stop is closed by an ungraceful stop, drained when a graceful one has nothing more to wait for.
	stop, drained         chan struct{}
	stopOnce, drainedOnce sync.Once
	lost                  chan string // why something is gone that it needs; has room for one
	loseOnce              sync.Once

	// emit is held during calls of events, so that they come one at a time.
	emit sync.Mutex

	mu          sync.Mutex // guards what follows
	guest       Guest
	runner      Runner
	early       []Input              // submitted before there was a runner
	outstanding map[payload.Key]bool // submitted and not ended
	draining    bool                 // a graceful stop was asked for
	ended       bool                 // inputs are no longer taken
}

// note is something that happened to a container.
type note struct {
	kind    noteKind
	err     error
	end     ProcessEnd
	remote  payload.RemoteError
	sandbox Sandbox
}

type noteKind uint8

const (
	noteSandbox     noteKind = iota // the runtime has started the sandbox, or failed to
	noteProcess                     // init has started the runner's process, or failed to
	noteConnected                   // the runner has dialled
	noteReady                       // the runner has loaded the code
	noteStartFailed                 // the runner could not load it
	noteOverran                     // an input ran too long
	noteLeaving                     // the runner was interrupted and ends
	noteProcessEnd                  // the runner's process ended, or the link to init broke
	noteSession                     // the conversation with the runner ended
	noteBucketLost                  // a bucket can't be used any more
)

// New returns a container that has yet to run. Its id must not be in use.
func (h *Host) New(spec Spec, events Events) *Container {
	if spec.EphemeralDiskMiB == 0 {
		spec.EphemeralDiskMiB = h.cfg.DiskMiB
	}
	if spec.StartupTimeout == 0 {
		spec.StartupTimeout = spec.Timeout
	}
	if spec.StartupTimeout == 0 {
		spec.StartupTimeout = DefaultStartupTimeout
	}
	return &Container{
		host: h, spec: spec, events: events,
		notes:       make(chan note),
		over:        make(chan struct{}),
		stop:        make(chan struct{}),
		drained:     make(chan struct{}),
		lost:        make(chan string, 1),
		outstanding: make(map[payload.Key]bool),
	}
}

// Run starts the container, feeds its runner and returns when it has ended and nothing of it is left on the host; when ctx ends it is
// killed. All events have been delivered by then. The error says what could not be cleared away; the exit holds all the same.
func (c *Container) Run(ctx context.Context) (Exit, error) {
	if !c.host.add(c) {
		return Exit{Reason: NotStarted, Message: fmt.Sprintf("container %q: there is one with this id", c.spec.ID)}, nil
	}
	defer c.host.remove(c)
	l := &life{Container: c, undo: lifecycle.NewCleanup(), began: time.Now()}
	exit := l.live(ctx)
	l.undo.Run()
	return exit, errors.Join(l.failed...)
}

// Submit queues inputs. After the container's end they are dropped; the caller knows what it gave and did not get back.
func (c *Container) Submit(inputs []Input) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	for _, in := range inputs {
		c.outstanding[in.Key] = true
	}
	runner := c.runner
	if runner == nil {
		c.early = append(c.early, inputs...)
	}
	c.mu.Unlock()
	if runner != nil {
		runner.Submit(inputs)
	}
}

// Cancel cancels inputs; each that had not ended gets a Cancelled output.
func (c *Container) Cancel(keys []payload.Key) {
	c.mu.Lock()
	runner := c.runner
	c.mu.Unlock()
	if runner == nil {
		runner = c.cancelEarly(keys)
	}
	if runner != nil {
		runner.Cancel(keys)
	}
}

// cancelEarly takes inputs out of the queue of those that wait for the runner, and says so. It returns the runner if there is one by now,
// and has done nothing then.
func (c *Container) cancelEarly(keys []payload.Key) Runner {
	c.emit.Lock() // from before they are taken: the container's end waits for it, and tells of no input twice, and of none too late
	defer c.emit.Unlock()
	outputs, runner := c.takeEarly(keys)
	if len(outputs) > 0 {
		c.events.Outputs(outputs)
		c.settledOutputs(outputs)
	}
	return runner
}

func (c *Container) takeEarly(keys []payload.Key) ([]Output, Runner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runner != nil {
		return nil, c.runner
	}
	var kept []Input
	var outputs []Output
	for _, in := range c.early {
		if slices.Contains(keys, in.Key) {
			outputs = append(outputs, Output{Key: in.Key, Result: payload.Failed(payload.Cancelled, "input was cancelled")})
		} else {
			kept = append(kept, in)
		}
	}
	c.early = kept
	return outputs, nil
}

// Stop ends the container: gracefully when the inputs it has are done, else at once, with those that had not begun given back. It
// does not wait for the end.
func (c *Container) Stop(graceful bool) {
	if !graceful {
		c.stopOnce.Do(func() { close(c.stop) })
		return
	}
	c.mu.Lock()
	c.draining = true
	idle := len(c.outstanding) == 0
	c.mu.Unlock()
	if idle {
		c.drainedOnce.Do(func() { close(c.drained) })
	}
}

// Guest returns the container's init. Errors: fault.Unavailable while it is not up.
func (c *Container) Guest() (Guest, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guest == nil || c.ended {
		return nil, fault.New(fault.Unavailable, "container %q: is not running yet or any more", c.spec.ID)
	}
	return c.guest, nil
}

// Environment returns the environment, and the working directory, that commands in the container get.
func (c *Container) Environment() (env map[string]string, workdir string) {
	return environment(&c.spec), workdirOf(&c.spec)
}

// note tells Run's goroutine; after the end nobody listens.
func (c *Container) note(n note) {
	select {
	case c.notes <- n:
	case <-c.over:
	}
}

// heard is the container as its runner's session sees it.
type heard struct{ *Container }

var _ RunnerEvents = heard{}

func (h heard) Ready()                              { h.note(note{kind: noteReady}) }
func (h heard) StartFailed(err payload.RemoteError) { h.note(note{kind: noteStartFailed, remote: err}) }
func (h heard) Outputs(outputs []Output)            { h.outputs(outputs) }
func (h heard) Returned(keys []payload.Key)         { h.returned(keys) }

func (h heard) Items(key payload.Key, first uint64, values []*payload.Payload) {
	h.emit.Lock()
	defer h.emit.Unlock()
	h.events.Items(key, first, values)
}

func (h heard) Slots(n int) {
	h.emit.Lock()
	defer h.emit.Unlock()
	h.events.Slots(n)
}

func (h heard) Ending(why Ending) {
	kind := noteOverran
	if why == Leaving {
		kind = noteLeaving
	}
	h.note(note{kind: kind})
}

// outputs hands outputs on, and ends a graceful stop with the last one.
func (c *Container) outputs(outputs []Output) {
	if len(outputs) == 0 {
		return
	}
	c.emit.Lock()
	c.events.Outputs(outputs)
	c.emit.Unlock()
	c.settledOutputs(outputs)
}

func (c *Container) settledOutputs(outputs []Output) {
	keys := make([]payload.Key, len(outputs))
	for i, o := range outputs {
		keys[i] = o.Key
	}
	c.settled(keys)
}

func (c *Container) returned(keys []payload.Key) {
	if len(keys) == 0 {
		return
	}
	c.emit.Lock()
	c.events.Returned(keys)
	c.emit.Unlock()
	c.settled(keys)
}

func (c *Container) settled(keys []payload.Key) {
	c.mu.Lock()
	for _, k := range keys {
		delete(c.outstanding, k)
	}
	drained := c.draining && len(c.outstanding) == 0 && !c.ended
	c.mu.Unlock()
	if drained {
		c.drainedOnce.Do(func() { close(c.drained) })
	}
}
