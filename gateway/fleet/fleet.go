// Package fleet is the noun of the workers that are connected: what each offers, and what of it is reserved. It lives in memory; the
// worker has the last word.
package fleet

import (
	"slices"
	"sync"

	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Worker is a connected host.
type Worker struct {
	ID       string // "wk-..."
	Hostname string
	Version  string
	Capacity placement.Needs
	Labels   map[string]string
}

// Fleet keeps the connected workers and their reservations. Safe for concurrent use; no method blocks.
type Fleet struct {
	mu      sync.Mutex
	members []*member // in order of joining
}

type member struct {
	Worker
	reserved placement.Needs
	retired  bool
}

// New returns an empty fleet.
func New() *Fleet { return &Fleet{} }

// Join adds a worker. It returns fault.Exists while a worker with that id is there: its old link has to end first.
func (f *Fleet) Join(w Worker) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.member(w.ID) != nil {
		return fault.New(fault.Exists, "worker %q: is connected already; stop the other skerryd of its data folder", w.ID)
	}
	f.members = append(f.members, &member{Worker: w})
	return nil
}

// Leave removes a worker; its reservations are void. Unknown ids are ignored.
func (f *Fleet) Leave(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.members {
		if m.ID == id {
			f.members = append(f.members[:i], f.members[i+1:]...)
			return
		}
	}
}

// Retire has a worker take nothing new until it has left. Unknown ids are ignored.
func (f *Fleet) Retire(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(id); m != nil {
		m.retired = true
	}
}

func (f *Fleet) member(id string) *member {
	for _, m := range f.members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// Reservation is a share of one worker, held until Release.
type Reservation struct {
	WorkerID string
	fleet    *Fleet
	member   *member
	needs    placement.Needs
	once     sync.Once
}

// Reserve chooses a worker and takes a share of it, or returns a fault.Exhausted that says why there is no room.
func (f *Fleet) Reserve(d placement.Demand) (*Reservation, error) {
	return f.ReserveWhere(d, func(string) bool { return true })
}

// ReserveWhere is Reserve among the workers that allowed admits by their ids.
func (f *Fleet) ReserveWhere(d placement.Demand, allowed func(workerID string) bool) (*Reservation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	workers := slices.DeleteFunc(f.snapshot(), func(w placement.Worker) bool { return !allowed(w.ID) })
	i, err := placement.Choose(&d, workers)
	if err != nil {
		return nil, err
	}
	return f.hold(f.member(workers[i].ID), d.Needs), nil
}

// Hold takes a share of a worker for what it has already, whether or not there is room. It returns nil where the worker is not connected.
func (f *Fleet) Hold(workerID string, needs placement.Needs) *Reservation {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(workerID)
	if m == nil {
		return nil
	}
	return f.hold(m, needs)
}

func (f *Fleet) hold(m *member, needs placement.Needs) *Reservation {
	m.reserved.CPUMilli += needs.CPUMilli
	m.reserved.MemoryMiB += needs.MemoryMiB
	return &Reservation{WorkerID: m.ID, fleet: f, member: m, needs: needs}
}

// Release gives the share back, once.
func (r *Reservation) Release() {
	r.once.Do(func() {
		r.fleet.mu.Lock()
		defer r.fleet.mu.Unlock()
		r.member.reserved.CPUMilli -= r.needs.CPUMilli
		r.member.reserved.MemoryMiB -= r.needs.MemoryMiB
	})
}

// Workers returns the connected workers in order of joining.
func (f *Fleet) Workers() []Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Worker, len(f.members))
	for i, m := range f.members {
		out[i] = m.Worker
	}
	return out
}

// Snapshot returns the fleet as placement sees it: without workers that have retired.
func (f *Fleet) Snapshot() []placement.Worker {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshot()
}

func (f *Fleet) snapshot() []placement.Worker {
	out := make([]placement.Worker, 0, len(f.members))
	for _, m := range f.members {
		if !m.retired {
			out = append(out, placement.Worker{ID: m.ID, Capacity: m.Capacity, Reserved: m.reserved, Labels: m.Labels})
		}
	}
	return out
}
