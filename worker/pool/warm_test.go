package pool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// bench is a worker of a Warm under test: it counts what there is.
type bench struct {
	mu        sync.Mutex
	endpoints map[*container.Endpoint]bool
	machines  map[*fakeMachine]bool
	ids       int
	refuse    error // of Boot
	weight    uint32
}

func (b *bench) AcquireWith(context.Context, string, policy.Policy) (*container.Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &container.Endpoint{NetnsPath: "/netns"}
	b.endpoints[e] = true
	return e, nil
}

func (b *bench) Release(e *container.Endpoint) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.endpoints, e)
	return nil
}

func (b *bench) Boot(_ context.Context, p container.SandboxParams) (Machine, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return nil, b.refuse
	}
	m := &fakeMachine{bench: b, done: make(chan struct{})}
	b.machines[m] = true
	b.weight = p.CPUMilli
	return m, nil
}

func (b *bench) newID() string {
	b.ids++
	return "bx-" + strconv.Itoa(b.ids)
}

func (b *bench) left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.endpoints) + len(b.machines)
}

type fakeMachine struct {
	bench *bench
	done  chan struct{}
	added container.SandboxParams
}

func (m *fakeMachine) Done() <-chan struct{}               { return m.done }
func (m *fakeMachine) Kill() error                         { return nil }
func (m *fakeMachine) UsedUp() (container.Resource, error) { return container.Nothing, nil }
func (m *fakeMachine) Crash() string                       { return "" }

func (m *fakeMachine) Delete(context.Context) error {
	m.bench.mu.Lock()
	defer m.bench.mu.Unlock()
	delete(m.bench.machines, m)
	return nil
}

func (m *fakeMachine) Weigh(cpuMilli uint32) error {
	m.bench.mu.Lock()
	defer m.bench.mu.Unlock()
	m.bench.weight = cpuMilli
	return nil
}

func (m *fakeMachine) Add(_ context.Context, p container.SandboxParams) error {
	m.added = p
	return nil
}

func makeWarm(t *testing.T, b *bench, most int) *Warm {
	t.Helper()
	b.endpoints, b.machines = map[*container.Endpoint]bool{}, map[*fakeMachine]bool{}
	w, err := NewWarm(WarmConfig{
		Machines: b, Network: b, Dir: filepath.Join(t.TempDir(), "w"), Max: most, NewID: b.newID, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// newWarm returns one that runs. At the end of the test nothing may be left.
func newWarm(t *testing.T, b *bench, most int) *Warm {
	t.Helper()
	w := makeWarm(t, b, most)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
		left, err := os.ReadDir(w.cfg.Dir)
		if n := b.left(); n != 0 || err != nil || len(left) != 0 {
			t.Errorf("%d things and %d folders are left, %v", n, len(left), err)
		}
	})
	return w
}

// TestWarm takes sandboxes: there is none for the first who asks, and then there are some.
func TestWarm(t *testing.T) {
	var b bench
	w := newWarm(t, &b, MaxWarm)
	if w.Take() != nil {
		t.Error("there is one before anybody has asked")
	}
	if err := w.AwaitReady(t.Context(), few); err != nil {
		t.Fatal(err)
	}
	if b.weight != bootMilli {
		t.Errorf("weight %d while it waits", b.weight)
	}
	m := w.Take()
	if m == nil || m.Endpoint() == nil {
		t.Fatalf("took %v", m)
	}
	s, err := m.Add(t.Context(), container.SandboxParams{ID: "ta-1"})
	if err != nil {
		t.Fatal(err)
	}
	if b.weight != 1000 {
		t.Errorf("weight %d, want that of a container that says none", b.weight)
	}
	if err := errors.Join(s.Delete(t.Context()), m.Delete(t.Context()), b.Release(m.Endpoint())); err != nil {
		t.Error(err)
	}
}

// TestWarmDies: who asks does not get one that has ended while it waited.
func TestWarmDies(t *testing.T) {
	var b bench
	w := newWarm(t, &b, 1)
	w.Take()
	if err := w.AwaitReady(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	for m := range b.machines {
		close(m.done)
	}
	b.mu.Unlock()
	if w.Take() != nil {
		t.Error("took one that has ended")
	}
}

// TestWarmNone: a worker that has no memory for them boots none.
func TestWarmNone(t *testing.T) {
	var b bench
	w := newWarm(t, &b, 0)
	if w.Take() != nil || w.step(t.Context(), time.Now()) != idleStep || b.left() != 0 {
		t.Error("one is booted")
	}
}

// TestWarmRefused: where none can be booted it is tried again, after a while.
func TestWarmRefused(t *testing.T) {
	b := bench{refuse: errors.New("no room")}
	w := makeWarm(t, &b, MaxWarm)
	w.Take()
	w.step(t.Context(), time.Now())
	w.work.Wait()
	if w.failed.IsZero() || b.left() != 0 {
		t.Fatalf("failed at %s, %d things are left", w.failed, b.left())
	}
	if wait := w.step(t.Context(), time.Now()); wait > retry || w.booting != 0 {
		t.Errorf("looks again after %s, %d are booted", wait, w.booting)
	}
}

// TestWarmGivesWay has those that wait be given back as memory fills, and made again when there is enough.
func TestWarmGivesWay(t *testing.T) {
	var b bench
	w := makeWarm(t, &b, MaxWarm)
	used := 0 // besides what they take
	w.cfg.Memory = func() (Memory, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return Memory{Offered: 1000, Used: used + WarmMiB*len(b.machines), Available: 1000}, nil
	}
	w.gauge.read = w.cfg.Memory
	now := time.Now()
	for range 8 {
		w.demand.note(now)
	}
	step := func(others, want int) {
		t.Helper()
		b.mu.Lock()
		used = others
		b.mu.Unlock()
		for range MaxWarm { // one is booted at a time
			now = now.Add(quiet)
			if wait := w.step(t.Context(), now); wait > look {
				t.Errorf("looks again after %s", wait)
			}
			w.work.Wait()
		}
		if len(w.ready) != want || b.left() != 2*want {
			t.Errorf("with %d MiB used: %d wait, %d things are there, want %d", others, len(w.ready), b.left(), want)
		}
	}
	step(0, 10)
	step(850, 10) // 60 MiB are free: enough to keep them
	step(880, 7)  // 30 are, and 50 are to be
	step(830, 7)  // 107 are: not enough for another
	step(800, 10)
	step(1100, 0)
	step(850, 5)
}
