package task

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Published says that functions have a new current version, and at the gateway's start which deployed ones there are: min_containers are
// started at once, containers of older versions take no more inputs and end when they have none.
//
// With recreate they are stopped at once, and their inputs run again in new ones. Bound functions in use follow their base. A function of
// the version that is there, with other bounds of the number of containers, keeps its containers.
func (s *Scheduler) Published(ctx context.Context, fns []*function.Function, recreate bool) error {
	followers, gone, err := s.followers(ctx, fns)
	var fx effects
	s.mu.Lock()
	for _, fn := range append(followers, fns...) {
		p := s.adopt(fn)
		if fn.Version < p.fn.Version {
			continue // a publication that came later was faster
		}
		p.stopped = false
		p.publish(fn, recreate)
		p.balance(&fx)
	}
	s.retire(gone, recreate, &fx)
	s.mu.Unlock()
	s.perform(&fx)
	return err
}

// Removed says that an app does not have functions any more: their containers finish the inputs they have (with recreate they are stopped
// at once), all other inputs get the outcome Cancelled, and new ones are refused. Bound functions go with their base, but for those of a
// version that is pinned.
func (s *Scheduler) Removed(fns []*function.Function, recreate bool) {
	var fx effects
	s.mu.Lock()
	s.changes++
	ids := make([]string, 0, len(fns))
	for _, fn := range fns {
		if p, ok := s.pools[fn.ID]; ok && p.fn.Version > fn.Version {
			continue // a publication that came later has it again
		}
		ids = append(ids, fn.ID)
		for _, bound := range s.boundTo(fn.ID) {
			ids = append(ids, bound.ID)
		}
	}
	s.retire(ids, recreate, &fx)
	s.mu.Unlock()
	s.perform(&fx)
}

// retire stops pools of functions that are no more. The mutex is held.
func (s *Scheduler) retire(functionIDs []string, recreate bool, fx *effects) {
	for _, id := range functionIDs {
		if p, ok := s.pools[id]; ok && !p.stopped {
			p.stop("app "+p.fn.AppName+" does not have it any more", !recreate, fx)
		}
	}
}

// boundTo returns the functions in use that are bound to a base in its current version. The mutex is held.
func (s *Scheduler) boundTo(baseID string) []*function.Function {
	var bound []*function.Function
	for _, p := range s.pools {
		if b := p.fn.Binding; b != nil && b.Version == 0 && b.BaseID == baseID {
			bound = append(bound, p.fn)
		}
	}
	return bound
}

// followers returns the bound functions in use whose bases are given, as they are now, and the ids of those that are no more.
func (s *Scheduler) followers(ctx context.Context, fns []*function.Function) (list []*function.Function, gone []string, err error) {
	var bound []*function.Function
	s.mu.Lock()
	s.changes++
	for _, fn := range fns {
		bound = append(bound, s.boundTo(fn.ID)...)
	}
	s.mu.Unlock()
	for _, old := range bound {
		fn, ferr := s.d.Functions.Function(ctx, old.ID)
		switch {
		case ferr == nil:
			list = append(list, fn)
		case errors.Is(ferr, fault.NotFound) || errors.Is(ferr, fault.Invalid):
			gone = append(gone, old.ID)
		default:
			err = errors.Join(err, ferr)
		}
	}
	return list, gone, err
}
