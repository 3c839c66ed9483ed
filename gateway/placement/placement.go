// Package placement chooses a worker for a container. It is pure: a snapshot of the fleet goes in, a choice or a reason comes out.
package placement

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Needs is what one container reserves on its worker.
type Needs struct {
	CPUMilli  uint32 // thousandths of a core
	MemoryMiB uint32
}

// Where says which workers may have a container, by their labels; empty lists are all.
type Where struct {
	Regions        []string // label region; "us" is also that of "us-east"
	Clouds         []string // label cloud
	NonPreemptible bool     // none with the label preemptible=true
}

// Demand is what one container needs, and where it may be.
type Demand struct {
	Needs
	Where
}

// Worker is one host as placement sees it.
type Worker struct {
	ID       string
	Capacity Needs // what it offers
	Reserved Needs // what containers have of it
	Labels   map[string]string
}

// allows says whether the place admits a worker of the labels.
func (p *Where) allows(labels map[string]string) bool {
	if p.NonPreemptible && labels["preemptible"] == "true" {
		return false
	}
	region := labels["region"]
	inRegion := len(p.Regions) == 0 || slices.ContainsFunc(p.Regions, func(r string) bool {
		return region == r || strings.HasPrefix(region, r+"-")
	})
	return inRegion && (len(p.Clouds) == 0 || slices.Contains(p.Clouds, labels["cloud"]))
}

// fits says whether d fits into what is free, and what is short if not.
func (w *Worker) fits(d *Demand) (ok bool, short string) {
	n := d.Needs
	switch {
	case !d.allows(w.Labels):
		return false, "place"
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
func Choose(d *Demand, workers []Worker) (int, error) {
	best, bestLoad := -1, 0.0
	short := map[string]int{}
	for i := range workers {
		ok, why := workers[i].fits(d)
		if !ok {
			short[why]++
			continue
		}
		if load := workers[i].load(d.Needs); best < 0 || load < bestLoad {
			best, bestLoad = i, load
		}
	}
	if best >= 0 {
		return best, nil
	}
	return -1, noRoom(d, workers, short)
}

// Held is a container that may be ended to make room.
type Held struct {
	WorkerID string
	Needs    Needs
}

// Evict returns the positions in held, which is in the order in which they are to go, of the containers to end so that the demand fits on a
// worker: as few as can be, ties go to the earlier worker. Nil if there is no worker on which that helps.
func Evict(d *Demand, workers []Worker, held []Held) []int {
	var best []int
	for i := range workers {
		w := workers[i]
		if !d.allows(w.Labels) {
			continue
		}
		var picks []int
		for j := range held {
			if ok, _ := w.fits(d); ok {
				break
			}
			if h := &held[j]; h.WorkerID == w.ID {
				w.Give(h.Needs)
				picks = append(picks, j)
			}
		}
		if ok, _ := w.fits(d); !ok {
			continue
		}
		if picks = spare(d, w, held, picks); best == nil || len(picks) < len(best) {
			best = picks
		}
	}
	return best
}

// spare takes those out of picks without which d fits as well: what came first may have given too little of what is short.
func spare(d *Demand, w Worker, held []Held, picks []int) []int {
	return slices.DeleteFunc(picks, func(j int) bool {
		with := w
		with.Take(held[j].Needs)
		ok, _ := with.fits(d)
		if ok {
			w = with
		}
		return ok
	})
}

// Take reserves n.
func (w *Worker) Take(n Needs) {
	w.Reserved.CPUMilli += n.CPUMilli
	w.Reserved.MemoryMiB += n.MemoryMiB
}

// Give gives n back.
func (w *Worker) Give(n Needs) {
	w.Reserved.CPUMilli -= min(n.CPUMilli, w.Reserved.CPUMilli)
	w.Reserved.MemoryMiB -= min(n.MemoryMiB, w.Reserved.MemoryMiB)
}

// noRoom explains why nothing fits: what is short where, and whether waiting can help.
func noRoom(d *Demand, workers []Worker, short map[string]int) error {
	want := fmt.Sprintf("%.3g cpu and %d MiB", float64(d.CPUMilli)/1000, d.MemoryMiB)
	switch {
	case len(workers) == 0:
		return fault.New(fault.Exhausted, "no room for %s: no worker is connected; start one with skerryd worker", want)
	case short["place"] == len(workers):
		return fault.New(fault.Exhausted, "no worker is %s; there are: %s", d.text(), labels(workers))
	case Hopeless(d, workers):
		return fault.New(fault.Exhausted, "no room for %s: no worker is that large; ask for less or add a larger worker", want)
	}
	var parts []string
	for _, what := range []string{"cpu", "memory"} {
		if short[what] > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d workers short of %s", short[what], len(workers), what))
		}
	}
	if short["place"] > 0 {
		parts = append(parts, fmt.Sprintf("%d elsewhere", short["place"]))
	}
	return fault.New(fault.Exhausted, "no room for %s: %s; it starts when a container ends", want, strings.Join(parts, ", "))
}

// text says the place in words.
func (p *Where) text() string {
	var parts []string
	if len(p.Regions) > 0 {
		parts = append(parts, "in region "+strings.Join(p.Regions, " or "))
	}
	if len(p.Clouds) > 0 {
		parts = append(parts, "in cloud "+strings.Join(p.Clouds, " or "))
	}
	if p.NonPreemptible {
		parts = append(parts, "not preemptible")
	}
	return strings.Join(parts, " and ")
}

// shownWorkers is how many workers a message names.
const shownWorkers = 5

// labels names the workers by what placement goes by.
func labels(workers []Worker) string {
	var parts []string
	for i := range workers {
		if i == shownWorkers {
			parts = append(parts, fmt.Sprintf("and %d more", len(workers)-i))
			break
		}
		var own []string
		for _, key := range []string{"region", "cloud", "preemptible"} {
			if v := workers[i].Labels[key]; v != "" {
				own = append(own, key+"="+v)
			}
		}
		if own == nil {
			own = []string{"no labels"}
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", workers[i].ID, strings.Join(own, " ")))
	}
	return strings.Join(parts, ", ")
}

// Hopeless says whether the container would fit on none of the workers even if they were empty.
func Hopeless(d *Demand, workers []Worker) bool {
	for i := range workers {
		empty := Worker{Capacity: workers[i].Capacity, Labels: workers[i].Labels}
		if ok, _ := empty.fits(d); ok {
			return false
		}
	}
	return true
}
