package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// Bounds of a Warm.
const (
	// WarmMiB is about what a sandbox takes that waits without an image: sentry and gofer. Measured: 8 in its control group.
	WarmMiB = 9
	// MaxWarm is how many wait at most, whatever memory there is.
	MaxWarm = 16
)

// Machines boots sandboxes without an image. Implemented by worker/gvisor through worker/agent.
type Machines interface {
	// Boot boots one and returns when it runs. Nothing is left behind when it fails or ctx ends.
	Boot(ctx context.Context, p container.SandboxParams) (Machine, error)
}

// Machine is a sandbox without an image.
type Machine interface {
	container.Sandbox
	// Weigh sets its weight, in thousandths of a core. Errors: fault.Precondition if it has run into a limit.
	Weigh(cpuMilli uint32) error
	// Add starts a container in it. Errors: fault.Unavailable if it has ended.
	Add(ctx context.Context, p container.SandboxParams) error
}

// Endpoints are the worker's network.
type Endpoints interface {
	// AcquireWith takes an endpoint with a policy.
	AcquireWith(ctx context.Context, id string, p policy.Policy) (*container.Endpoint, error)
	// Release removes it.
	Release(e *container.Endpoint) error
}

// WarmConfig is what a Warm needs.
type WarmConfig struct {
	Machines Machines
	Network  Endpoints
	Dir      string // a folder per sandbox; what is in it goes
	Max      int    // that wait; 0: none
	NewID    func() string
	Memory   func() (Memory, error) // they give way where it is short; nil: only their number is bounded
	Log      *slog.Logger
}

// Warm keeps sandboxes booted that have no image yet, while Run runs: whoever starts a container takes one and adds the container to it. As
// many wait as were taken lately. It is safe for concurrent use.
type Warm struct {
	cfg  WarmConfig
	wake chan struct{} // holds a token when there may be something to do
	work sync.WaitGroup

	leaving atomic.Int64 // those that are being deleted

	mu      sync.Mutex
	demand  demand
	gauge   gauge
	ready   []*warmed
	booting int
	failed  time.Time // when one could not be made
	closed  bool
	more    chan struct{} // closed when another waits
}

var _ container.Ahead = (*Warm)(nil)

// NewWarm returns an empty one and makes its folder, without what an earlier process left in it.
func NewWarm(cfg WarmConfig) (*Warm, error) {
	cfg.Max = min(cfg.Max, MaxWarm)
	err := os.RemoveAll(cfg.Dir)
	if err == nil {
		err = os.MkdirAll(cfg.Dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("sandboxes ahead: %w", err)
	}
	return &Warm{
		cfg: cfg, wake: make(chan struct{}, 1), more: make(chan struct{}),
		gauge: gauge{read: cfg.Memory, size: WarmMiB, most: cfg.Max, log: cfg.Log},
	}, nil
}

// Take implements container.Ahead. It counts as demand, whether or not there is one.
func (w *Warm) Take() container.Booted {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cfg.Max == 0 || w.closed {
		return nil
	}
	w.demand.note(time.Now())
	defer w.signal()
	for len(w.ready) > 0 {
		m := w.ready[0]
		w.ready = w.ready[1:]
		if m.runs() {
			return m
		}
		w.discard(m)
	}
	return nil
}

// AwaitReady returns when at least n wait, or ctx ends.
func (w *Warm) AwaitReady(ctx context.Context, n int) error {
	for {
		w.mu.Lock()
		have, more := len(w.ready), w.more
		w.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *Warm) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run keeps sandboxes ready until ctx ends, and then has none left.
func (w *Warm) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(w.step(ctx, time.Now()))
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	w.mu.Lock()
	w.closed = true
	for _, m := range w.ready {
		w.discard(m)
	}
	w.ready = nil
	w.mu.Unlock()
	w.work.Wait()
	return nil
}

// step gives back those of which there are too many, or boots one that is missing, as a start goes on only where less than half are left. It
// returns after how long there may be something to do that nobody will tell.
func (w *Warm) step(ctx context.Context, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := idleStep
	n, next := w.demand.wanted(now)
	if n > 0 && !next.IsZero() {
		wait = min(wait, max(0, next.Sub(now))+time.Millisecond)
	}
	if n > 0 && w.cfg.Memory != nil {
		wait = min(wait, look)
	}
	keep, most := w.gauge.room(now, len(w.ready)+int(w.leaving.Load()))
	n = min(n, keep)
	for len(w.ready) > n {
		w.discard(w.ready[len(w.ready)-1])
		w.ready = w.ready[:len(w.ready)-1]
	}
	if busy := now.Sub(w.demand.last()) < quiet; busy {
		wait = min(wait, quiet)
		n = (n + 1) / 2
	}
	if d := w.failed.Add(retry).Sub(now); d > 0 {
		return min(wait, d+time.Millisecond)
	}
	if w.booting == 0 && len(w.ready) < min(n, most) {
		w.booting++
		w.work.Go(func() { w.boot(ctx) })
	}
	return wait
}

// boot makes one.
func (w *Warm) boot(ctx context.Context) {
	m, err := w.make(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.signal()
	w.booting--
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		w.failed = time.Now()
		w.cfg.Log.Warn("no sandbox booted ahead", "error", err)
	case w.closed:
		w.discard(m)
	default:
		w.ready = append(w.ready, m)
		close(w.more)
		w.more = make(chan struct{})
	}
}

func (w *Warm) make(ctx context.Context) (*warmed, error) {
	id := w.cfg.NewID()
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	e, err := w.cfg.Network.AcquireWith(ctx, id, policy.Policy{})
	if err != nil {
		return nil, err
	}
	undo.Add(func() {
		if err := w.cfg.Network.Release(e); err != nil {
			w.cfg.Log.Error("sandbox ahead left something behind", "sandbox", id, "error", err)
		}
	})
	dir := filepath.Join(w.cfg.Dir, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	undo.Add(func() { _ = os.RemoveAll(dir) }) // the next start does so as well
	m, err := w.cfg.Machines.Boot(ctx, container.SandboxParams{
		ID: id, Dir: dir, NetnsPath: e.NetnsPath, Hostname: box.Hostname(id), CPUMilli: bootMilli,
	})
	if err != nil {
		return nil, err
	}
	undo.Release()
	return &warmed{Machine: m, endpoint: e, dir: dir}, nil
}

// discard gives one back that nobody has, behind the caller's back.
func (w *Warm) discard(m *warmed) {
	w.leaving.Add(1)
	w.work.Go(func() {
		defer w.leaving.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), box.DeleteTimeout)
		defer cancel()
		if err := errors.Join(m.Delete(ctx), w.cfg.Network.Release(m.endpoint)); err != nil {
			w.cfg.Log.Error("sandbox ahead left something behind", "dir", m.dir, "error", err)
		}
	})
}

// warmed is a sandbox that waits, or has been taken.
type warmed struct {
	Machine
	endpoint *container.Endpoint
	dir      string
	deleted  sync.Once
	err      error
}

var _ container.Booted = (*warmed)(nil)

func (m *warmed) runs() bool {
	select {
	case <-m.Done():
		return false
	default:
		return true
	}
}

// Endpoint implements container.Booted.
func (m *warmed) Endpoint() *container.Endpoint { return m.endpoint }

// Add implements container.Booted.
func (m *warmed) Add(ctx context.Context, p container.SandboxParams) (container.Sandbox, error) {
	if err := m.Weigh(cmp.Or(p.CPUMilli, box.DefaultWeightMilli)); err != nil {
		return nil, err
	}
	if err := m.Machine.Add(ctx, p); err != nil {
		return nil, err
	}
	return m, nil
}

// Delete implements container.Booted.
func (m *warmed) Delete(ctx context.Context) error {
	m.deleted.Do(func() { m.err = errors.Join(m.Machine.Delete(ctx), os.RemoveAll(m.dir)) })
	return m.err
}
