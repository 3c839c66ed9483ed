package task

import (
	"github.com/skerry-dev/skerry/gateway/autoscale"
	"github.com/skerry-dev/skerry/internal/payload"
)

// dispatch gives inputs that wait to containers with room, the emptiest container first.
func (p *pool) dispatch() {
	ahead := autoscale.Ahead(p.elapsed)
	var given []*Container
	for {
		in := p.peek()
		if in == nil {
			break
		}
		c := p.emptiest(in, ahead)
		if c == nil {
			break
		}
		p.next()
		if len(c.inputs) == 0 {
			c.busySince = p.s.d.Clock.Now()
		}
		in.container, in.ContainerID = c, c.id
		c.inputs = append(c.inputs, in)
		if len(c.batch) == 0 {
			given = append(given, c)
		}
		c.batch = append(c.batch, in)
	}
	for _, c := range given {
		c.handle.Send(c.batch)
		c.batch = nil
	}
}

// emptiest returns the container to give an input to, or nil. An input that was lost before gets a container for itself, so that if it is
// what brings containers down, it brings down nobody else.
func (p *pool) emptiest(in *Input, ahead int) *Container {
	var best *Container
	for _, c := range p.containers {
		if c.state != ready || (best != nil && len(c.inputs) >= len(best.inputs)) {
			continue
		}
		if len(c.inputs) == 0 {
			return c
		}
		if in.Attempt == 0 && !c.slow && len(c.inputs) <= ahead && c.inputs[0].Attempt == 0 {
			best = c
		}
	}
	return best
}

// Cancel cancels inputs that were offered; each gets its outcome, which is Cancelled unless it has just ended.
func (s *Scheduler) Cancel(functionID string, keys []payload.Key) {
	var fx effects
	s.mu.Lock()
	if p, ok := s.pools[functionID]; ok {
		p.cancel(keys, &fx)
	}
	s.mu.Unlock()
	s.perform(&fx)
}

func (p *pool) cancel(keys []payload.Key, fx *effects) {
	wanted := make(map[payload.Key]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	kept := make([]*Input, 0, p.backlog())
	for _, in := range p.drain() {
		if wanted[in.Key] {
			fx.finish(p.fn.ID, Outcome{in, cancelledByUser})
		} else {
			kept = append(kept, in)
		}
	}
	p.again = kept
	for _, c := range p.containers {
		var running []payload.Key
		for _, in := range c.inputs {
			if wanted[in.Key] {
				in.cancelled = true
				running = append(running, in.Key)
			}
		}
		if running != nil {
			c.handle.Cancel(running)
		}
	}
	p.balance(fx)
}

var cancelledByUser = payload.Failed(payload.Cancelled, "input was cancelled by the user")

// Terminate stops the containers that run inputs of a call.
func (s *Scheduler) Terminate(callID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.snapshot() {
		for _, in := range c.inputs {
			if in.Key.CallID == callID {
				s.halt(c, false)
				break
			}
		}
	}
}

// Holders returns the containers that run inputs of a call, by index.
func (s *Scheduler) Holders(callID string) map[uint32]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	holders := map[uint32]string{}
	for _, c := range s.containers {
		for _, in := range c.inputs {
			if in.Key.CallID == callID {
				holders[in.Key.Index] = c.id
			}
		}
	}
	return holders
}
