package task

import (
	"slices"
	"time"

	"github.com/skerry-dev/skerry/gateway/placement"
)

// idleBeforeMove is how long a container has to be idle before it ends to make room for one that waits: between two inputs it is idle as well.
const idleBeforeMove = time.Second

// makeRoom ends containers that are idle and not wanted, for those that wait for a worker, in order, and says whether c is among those that
// will have room. Without others that wait they would stay for their function's scaledown_window. The mutex is held.
func (s *Scheduler) makeRoom(c *Container) (provided bool) {
	if len(s.waiting) == 0 || s.closing {
		return false
	}
	workers := s.afterDrain()
	idle, later := s.surplus()
	for _, w := range s.waiting {
		if s.provide(w, workers, &idle) {
			provided = provided || w == c
		} else if later > 0 {
			s.planRoom(later)
		}
	}
	return provided
}

// planRoom has makeRoom called after a time, unless that is planned.
func (s *Scheduler) planRoom(d time.Duration) {
	if s.room != nil {
		return
	}
	s.room = s.d.Clock.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.room = nil
		s.makeRoom(nil)
	})
}

// afterDrain returns the workers as they will be when idle containers have ended that are ending.
func (s *Scheduler) afterDrain() []placement.Worker {
	workers := s.d.Fleet.Snapshot()
	for _, c := range s.containers {
		if c.state != draining || len(c.inputs) > 0 || c.reservation == nil {
			continue
		}
		if i := slices.IndexFunc(workers, func(w placement.Worker) bool { return w.ID == c.reservation.WorkerID }); i >= 0 {
			workers[i].Give(c.demand().Needs)
		}
	}
	return workers
}

// surplus returns the containers that may end, idle for longest first, and when to look again for one that may then; 0: there is none.
func (s *Scheduler) surplus() (idle []*Container, later time.Duration) {
	now := s.d.Clock.Now()
	for _, p := range s.pools {
		wanted, _ := p.wanted()
		excess := p.live() - wanted
		if excess <= 0 {
			continue
		}
		own := slices.DeleteFunc(slices.Clone(p.containers), func(c *Container) bool { return c.state != ready || len(c.inputs) > 0 })
		slices.SortStableFunc(own, longestIdle)
		for _, c := range own[:min(excess, len(own))] {
			if left := idleBeforeMove - now.Sub(c.idleSince); left <= 0 {
				idle = append(idle, c)
			} else if later == 0 || left < later {
				later = left
			}
		}
	}
	slices.SortStableFunc(idle, longestIdle)
	return idle, later
}

func longestIdle(a, b *Container) int { return a.idleSince.Compare(b.idleSince) }

// provide sees to it that there will be room for c, and says whether there will. It keeps workers and idle up to date.
func (s *Scheduler) provide(c *Container, workers []placement.Worker, idle *[]*Container) bool {
	d := c.demand()
	if i, err := placement.Choose(&d, workers); err == nil {
		workers[i].Take(d.Needs)
		return true
	}
	held := make([]placement.Held, len(*idle))
	for i, o := range *idle {
		held[i] = placement.Held{WorkerID: o.reservation.WorkerID, Needs: o.demand().Needs}
	}
	picks := placement.Evict(&d, workers, held)
	if len(picks) == 0 {
		return false
	}
	at := slices.IndexFunc(workers, func(w placement.Worker) bool { return w.ID == held[picks[0]].WorkerID })
	for _, j := range picks {
		workers[at].Give(held[j].Needs)
		s.halt((*idle)[j], true)
	}
	workers[at].Take(d.Needs)
	*idle = slices.DeleteFunc(*idle, func(o *Container) bool { return o.state != ready })
	return true
}
