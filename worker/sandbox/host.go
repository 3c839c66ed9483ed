package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
)

// Config is what sandboxes of a worker share. All fields without a default are needed.
type Config struct {
	Dir       string // of records; belongs to this host alone
	Boxes     Boxes
	Groups    Groups
	Snapshots Snapshots
	Logs      container.JournaledSink
	Log       *slog.Logger

	// Authority returns the certificates, in PEM, that sandboxes with secrets have to trust.
	Authority func() ([]byte, error)

	MemoryMiB uint32 // what all containers together may use, for messages
	// LinkTimeout is how long a sandbox may be out of reach before it is given up (default DefaultLinkTimeout).
	LinkTimeout time.Duration
}

// Groups are the control groups of boxes. Implemented by cgroup.Subtree.
type Groups interface {
	// Usage returns the processor time that a box has used, and the memory that it uses, in bytes.
	Usage(boxID string) (cpu time.Duration, memory uint64, err error)
}

// DefaultLinkTimeout is Config.LinkTimeout where nothing is said.
const DefaultLinkTimeout = 45 * time.Second

// Host has the sandboxes of a worker. It is safe for concurrent use.
type Host struct {
	cfg   Config
	files files
	turns *turns // of what is started
	life  sync.WaitGroup
	// reading are those who hand over output: one may wait for the sink when its sandbox has ended.
	reading sync.WaitGroup

	mu       sync.Mutex
	byID     map[string]*Sandbox
	closed   bool
	watchers map[*Watcher]struct{}
}

// NewHost returns a host without sandboxes. Adopt comes before anything else.
func NewHost(cfg Config) *Host {
	if cfg.LinkTimeout == 0 {
		cfg.LinkTimeout = DefaultLinkTimeout
	}
	return &Host{cfg: cfg, files: files{cfg.Dir}, turns: newTurns(), byID: map[string]*Sandbox{}, watchers: map[*Watcher]struct{}{}}
}

// Start takes a sandbox; what becomes of it is told to watchers. One that is there already is left as it is. Errors: fault.Invalid,
// fault.Unavailable once the host is closed.
func (h *Host) Start(spec Spec) error {
	if err := errors.Join(ident.Check(ident.Sandbox, spec.ID), spec.check()); err != nil {
		return err
	}
	s := newSandbox(h, spec)
	fresh, err := h.add(s)
	if err != nil || !fresh {
		return err
	}
	if err := s.save(); err != nil {
		h.drop(s)
		return err
	}
	h.changed(s)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		s.Stop(command.NewEnd(command.StartFailed, "the worker was stopped"))
	}
	h.life.Go(s.live)
	return nil
}

// add puts a sandbox among the others, unless it is there.
func (h *Host) add(s *Sandbox) (fresh bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byID[s.spec.ID] != nil {
		return false, nil
	}
	if h.closed {
		return false, fault.New(fault.Unavailable, "sandbox %q: the worker is stopping", s.spec.ID)
	}
	h.byID[s.spec.ID] = s
	return true, nil
}

func (h *Host) drop(s *Sandbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.byID, s.spec.ID)
}

// Get returns a sandbox, also one that has ended and was not forgotten. Errors: fault.NotFound.
func (h *Host) Get(id string) (*Sandbox, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.byID[id]; s != nil {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "sandbox %q: is not on this worker", id)
}

// Turn waits until a process may be started in a sandbox, a second at most. What is returned ends its turn, which ends by itself soon.
func (h *Host) Turn(ctx context.Context) (end func()) { return h.turns.process(ctx) }

// Forget drops a sandbox that has ended. One that is not there is no error. Errors: fault.Precondition if it has not ended.
func (h *Host) Forget(id string) error {
	h.mu.Lock()
	s := h.byID[id]
	h.mu.Unlock()
	if s == nil {
		return nil
	}
	if s.Status().State != command.Ended {
		return fault.New(fault.Precondition, "sandbox %q: has not ended", id)
	}
	if err := s.forget(); err != nil {
		return fmt.Errorf("sandbox %q: %w", id, err)
	}
	h.drop(s)
	return nil
}

// Wait waits until all output of sandboxes that have ended has been handed to the log sink.
func (h *Host) Wait(ctx context.Context) error {
	return await(ctx, &h.reading, "output of sandboxes not handed over")
}

// await waits for a group, or until ctx ends: then what has not happened is the error.
func await(ctx context.Context, wg *sync.WaitGroup, what string) error {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}

// Close takes no more sandboxes, ends those there are and waits for that until ctx ends. With leave, those that run go on without this process,
// and their number is returned.
func (h *Host) Close(ctx context.Context, leave bool) (left int, err error) {
	h.mu.Lock()
	h.closed = true
	var all []*Sandbox
	for _, s := range h.byID {
		if s.Status().State == command.Paused {
			continue // it stays on the disk
		}
		all = append(all, s)
		if leave {
			close(s.leave)
			continue
		}
		s.Stop(command.NewEnd(command.Terminated, "the worker was stopped"))
	}
	h.mu.Unlock()
	err = await(ctx, &h.life, "sandboxes have not ended")
	for _, s := range all {
		if s.Status().State != command.Ended {
			left++
		}
	}
	return left, err
}

// Watcher hears of changes of all sandboxes, in no order among them and each with its newest state.
type Watcher struct {
	host  *Host
	dirty map[*Sandbox]struct{}
	wake  chan struct{} // holds a token while dirty is not empty
}

// Lose ends the sandboxes whose root is one of these files, which can't be read any more.
func (h *Host) Lose(images []string, cause error) {
	for _, s := range h.all() {
		s.mu.Lock()
		b := s.box
		s.mu.Unlock()
		s.sidecars.Lose(images, cause)
		if b != nil && slices.Contains(images, b.Image()) {
			s.Stop(command.NewEnd(command.Lost, fmt.Sprintf("its image can't be read any more: %v; start it again", cause)))
		}
	}
}

func (h *Host) all() []*Sandbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.byID))
}

// LoseVolumes ends sandboxes and sidecars whose volumes can't be used any more.
func (h *Host) LoseVolumes(ids []string, cause error) {
	for _, id := range ids {
		if s, err := h.Get(id); err == nil {
			s.Stop(command.NewEnd(command.Lost, fmt.Sprintf("its volumes are lost: %v; start it again", cause)))
		}
	}
	for _, s := range h.all() {
		s.sidecars.LoseVolumes(ids, cause)
	}
}

// Watch returns a watcher that first hears of all sandboxes there are. Close ends it.
func (h *Host) Watch() *Watcher {
	w := &Watcher{host: h, dirty: map[*Sandbox]struct{}{}, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers[w] = struct{}{}
	for _, s := range h.byID {
		w.dirty[s] = struct{}{}
	}
	return w
}

// Changed is ready to receive from when there may be something to take.
func (w *Watcher) Changed() <-chan struct{} { return w.wake }

// Take returns those that have changed, as they are now.
func (w *Watcher) Take() []Status {
	w.host.mu.Lock()
	dirty := w.dirty
	w.dirty = map[*Sandbox]struct{}{}
	w.host.mu.Unlock()
	states := make([]Status, 0, len(dirty))
	for s := range dirty {
		states = append(states, s.Status())
	}
	return states
}

// Close ends the watching.
func (w *Watcher) Close() {
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	delete(w.host.watchers, w)
}

func (h *Host) changed(s *Sandbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changedLocked(s)
}

func (h *Host) changedLocked(s *Sandbox) {
	for w := range h.watchers {
		w.dirty[s] = struct{}{}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
