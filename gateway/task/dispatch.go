package task

import (
	"github.com/skerry-dev/skerry/gateway/autoscale"
	"github.com/skerry-dev/skerry/internal/payload"
)

// maxUnits is how many inputs, or batches, the function lets a container have at a time.
func (c *Container) maxUnits() int { return max(1, c.fn.Definition.Concurrency.Max) }

// room is how many units the container takes at a time now.
func (c *Container) room() int {
	if c.slots > 0 {
		return c.slots
	}
	return c.maxUnits()
}

// batchSize is how many inputs a unit may have.
func (p *pool) batchSize() int {
	if b := p.fn.Definition.Batching; b != nil {
		return max(1, b.Size)
	}
	return 1
}

// dispatch gives inputs that wait to containers with room, the emptiest container first.
func (p *pool) dispatch() {
	var given []*Container
	if p.fn.Definition.Batching != nil {
		given = p.dispatchBatches()
	} else {
		given = p.dispatchInputs()
	}
	for _, c := range given {
		c.handle.Send(c.batch)
		c.batch = nil
		if c.fn.Definition.SingleUse {
			p.s.halt(c, true)
		}
	}
}

func (p *pool) dispatchInputs() (given []*Container) {
	ahead := 0
	if d := &p.fn.Definition; d.Concurrency.Max <= 1 && !d.SingleUse {
		ahead = autoscale.Ahead(p.elapsed)
	}
	for {
		in := p.peek()
		if in == nil {
			return given
		}
		c := p.emptiest(in, ahead)
		if c == nil {
			return given
		}
		p.next()
		if c.give(in, 0) {
			given = append(given, c)
		}
	}
}

// give gives the container an input of a batch (0: of none), and says whether it is the first that goes with the next Send.
func (c *Container) give(in *Input, batch uint32) (first bool) {
	if len(c.inputs) == 0 {
		c.busySince = c.s.d.Clock.Now()
	}
	in.container, in.ContainerID, in.Batch = c, c.id, batch
	c.inputs = append(c.inputs, in)
	if batch == 0 {
		c.units++
	} else {
		if c.batches == nil {
			c.batches = map[uint32]int{}
		}
		if c.batches[batch]++; c.batches[batch] == 1 {
			c.units++
		}
	}
	c.batch = append(c.batch, in)
	return len(c.batch) == 1
}

// emptiest returns the container to give an input to, or nil: one with a free slot or, while inputs are short, one where it can wait
// behind the running one. An input that was lost before gets a container for itself, so that if it is what brings containers down, it
// brings down nobody else.
func (p *pool) emptiest(in *Input, ahead int) *Container {
	var best *Container
	for _, c := range p.containers {
		if c.state != ready || (best != nil && c.units >= best.units) {
			continue
		}
		if len(c.inputs) == 0 {
			return c
		}
		if in.Attempt > 0 || c.inputs[0].Attempt > 0 || c.fn.Definition.SingleUse {
			continue
		}
		if c.units < c.room() || !c.slow && ahead > 0 && c.units <= ahead {
			best = c
		}
	}
	return best
}

// dispatchBatches gives out batches: full ones, and what waits once its first input has waited long enough.
func (p *pool) dispatchBatches() (given []*Container) {
	for {
		first := p.peek()
		if first == nil {
			return given
		}
		c := p.emptiest(first, 0)
		if c == nil {
			return given
		}
		size := min(p.backlog(), p.batchSize())
		if first.Attempt > 0 {
			size = 1 // by itself, as one that was lost before
		} else if size < p.batchSize() && p.lingers(first) {
			return given
		}
		p.lastBatch = max(1, p.lastBatch+1) // 0, which it comes to in the end, is none
		for range size {
			if in := p.peek(); in.Attempt > 0 && in != first {
				break
			}
			if c.give(p.next(), p.lastBatch) {
				given = append(given, c)
			}
		}
	}
}

// lingers says whether a batch that begins with the input is to wait for more, and plans its end.
func (p *pool) lingers(first *Input) bool {
	left := first.QueuedAt.Add(p.fn.Definition.Batching.Wait).Sub(p.s.d.Clock.Now())
	if left <= 0 {
		return false
	}
	if p.linger == nil {
		p.linger = p.s.d.Clock.AfterFunc(left, func() {
			var fx effects
			p.s.mu.Lock()
			p.linger = nil
			p.balance(&fx)
			p.s.mu.Unlock()
			p.s.perform(&fx)
		})
	}
	return true
}

// Cancel cancels inputs that were offered, also those for which there is no room yet; each gets its outcome, which is Cancelled unless it has just ended.
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
	if len(keys) == 0 {
		return
	}
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
	for key, in := range p.offered {
		if wanted[key] {
			in.cancelled = true
			p.wakeOffers()
		}
	}
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
