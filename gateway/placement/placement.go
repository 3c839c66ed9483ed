// Package placement chooses a worker for a container. It is pure: a snapshot of the fleet goes in, a choice or a reason comes out.
package placement

import (
	"fmt"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Needs is what one container reserves on its worker.
type Needs struct {
	CPUMilli  uint32 // thousandths of a core
	MemoryMiB uint32
}

// Worker is one host as placement sees it.
type Worker struct {
	ID       string
	Capacity Needs // what it offers
	Reserved Needs // what containers have of it
}

// fits says whether n fits into what is free, and what is short if not.
func (w *Worker) fits(n Needs) (ok bool, short string) {
	switch {
	case w.Reserved.CPUMilli+n.CPUMilli > w.Capacity.CPUMilli:
		return false, "cpu"
	case w.Reserved.MemoryMiB+n.MemoryMiB > w.Capacity.MemoryMiB:
		return false, "memory"
	}
	return true, ""
}

// load is the fuller of the worker's two resources after the container is there, from 0 to 1.
func (w *Worker) load(n Needs) float64 {
	cpu := float64(w.Reserved.CPUMilli+n.CPUMilli) / float64(max(w.Capacity.CPUMilli, 1))
	mem := float64(w.Reserved.MemoryMiB+n.MemoryMiB) / float64(max(w.Capacity.MemoryMiB, 1))
	return max(cpu, mem)
}

// Choose returns the position in workers of the one that is least full once the container is on it; ties go to the earlier one. It
// returns a fault.Exhausted that says why where none has room.
func Choose(n Needs, workers []Worker) (int, error) {
	best, bestLoad := -1, 0.0
	short := map[string]int{}
	for i := range workers {
		ok, why := workers[i].fits(n)
		if !ok {
			short[why]++
			continue
		}
		if load := workers[i].load(n); best < 0 || load < bestLoad {
			best, bestLoad = i, load
		}
	}
	if best >= 0 {
		return best, nil
	}
	return -1, noRoom(n, workers, short)
}

// noRoom explains why nothing fits: what is short where, and whether waiting can help.
func noRoom(n Needs, workers []Worker, short map[string]int) error {
	want := fmt.Sprintf("%.3g cpu and %d MiB", float64(n.CPUMilli)/1000, n.MemoryMiB)
	if len(workers) == 0 {
		return fault.New(fault.Exhausted, "no room for %s: no worker is connected; start one with skerryd worker", want)
	}
	if Hopeless(n, workers) {
		return fault.New(fault.Exhausted, "no room for %s: no worker is that large; ask for less or add a larger worker", want)
	}
	var parts []string
	for _, what := range []string{"cpu", "memory"} {
		if short[what] > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d workers short of %s", short[what], len(workers), what))
		}
	}
	return fault.New(fault.Exhausted, "no room for %s: %s; it starts when a container ends", want, strings.Join(parts, ", "))
}

// Hopeless says whether the container would fit on none of the workers even if they were empty.
func Hopeless(n Needs, workers []Worker) bool {
	for i := range workers {
		empty := Worker{Capacity: workers[i].Capacity}
		if ok, _ := empty.fits(n); ok {
			return false
		}
	}
	return true
}
