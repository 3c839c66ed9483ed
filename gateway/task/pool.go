package task

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/gateway/autoscale"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// pool is one function: the inputs that wait and the containers. All of it is guarded by the Scheduler's mutex.
type pool struct {
	s       *Scheduler
	fn      *function.Function
	stopped bool
	why     string    // it is stopped, in words
	used    bool      // asked for since ForgetIdle was called last
	idled   bool      // forgotten by ForgetIdle: the function may have another pool
	prep    *prepared // what containers of this version are started with; nil: to be found out

	again      []*Input // to be run before the queue, for they have waited longest
	queue      []*Input
	head       int                    // of queue
	behind     int                    // how many inputs are in the flow after those in the queue
	space      chan struct{}          // closed when Offer may go on; nil: nobody waits
	offered    map[payload.Key]*Input // that wait for space
	containers []*Container           // that start or run, in order of asking
	elapsed    time.Duration          // of an input, estimated; 0: not known

	failedStarts int       // containers in a row that could not be made
	countedAt    time.Time // when the last of them was counted
	crashes      int       // starts in a row that user code failed
	failure      *failure
	recheck      Timer
	idle         Timer
	recent       autoscale.Recent // how many containers were wanted
	retry        Timer            // after which containers for no input at all are tried again
	linger       Timer            // after which a batch goes that is not full
	lastBatch    uint32
}

// failure is why inputs accepted up to a time fail: the start of a container failed, and would fail again.
type failure struct {
	until  time.Time
	result payload.Result
}

// Offer hands an input over; it blocks while the function's queue is full, until ctx ends. It returns a fault.NotFound if the function is
// gone; then the input has no outcome.
func (s *Scheduler) Offer(ctx context.Context, functionID string, in *Input) error {
	p, err := s.pool(ctx, functionID)
	if err != nil {
		return err
	}
	for {
		wait, err := p.offer(in)
		if errors.Is(err, errIdled) {
			if p, err = s.pool(ctx, functionID); err != nil {
				return err
			}
			continue
		}
		if err != nil || wait == nil {
			return err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			s.mu.Lock()
			delete(p.offered, in.Key)
			s.mu.Unlock()
			return ctx.Err()
		}
	}
}

var errIdled = errors.New("the pool is forgotten")

// offer takes the input, or returns what to wait for.
func (p *pool) offer(in *Input) (wait <-chan struct{}, err error) {
	var fx effects
	p.s.mu.Lock()
	defer func() {
		p.s.mu.Unlock()
		p.s.perform(&fx)
	}()
	delete(p.offered, in.Key)
	if p.idled {
		return nil, errIdled
	}
	if p.stopped {
		return nil, p.stoppedError()
	}
	if w, ok := in.Handle.(Withdrawer); in.cancelled || ok && w.Withdrawn() { // Cancel may have looked before it was here
		fx.finish(p.fn.ID, Outcome{in, cancelledByUser})
		return nil, nil
	}
	if f := p.failure; f != nil && !in.QueuedAt.After(f.until) {
		fx.finish(p.fn.ID, Outcome{in, f.result})
		return nil, nil
	}
	if p.backlog() >= p.queueLimit() {
		if p.space == nil {
			p.space = make(chan struct{})
		}
		if p.offered == nil {
			p.offered = map[payload.Key]*Input{}
		}
		p.offered[in.Key] = in
		return p.space, nil
	}
	p.queue = append(p.queue, in)
	p.behind = in.Behind
	p.balance(&fx)
	return nil, nil
}

// queueLimit is how many inputs wait in memory: two batches at least, or the largest would never be full.
func (p *pool) queueLimit() int {
	if b := p.fn.Definition.Batching; b != nil {
		return max(QueueLimit, 2*b.Size)
	}
	return QueueLimit
}

// backlog is how many inputs wait here.
func (p *pool) backlog() int { return len(p.again) + len(p.queue) - p.head }

// next takes the first input that waits, or returns nil.
func (p *pool) next() *Input {
	var in *Input
	switch {
	case len(p.again) > 0:
		in = p.again[0]
		p.again[0] = nil
		if p.again = p.again[1:]; len(p.again) == 0 {
			p.again = nil // an empty slice would keep all that was behind it
		}
	case p.head < len(p.queue):
		in = p.queue[p.head]
		p.queue[p.head] = nil
		p.head++
		if p.head == len(p.queue) {
			p.queue, p.head = p.queue[:0], 0
		} else if p.head >= QueueLimit {
			kept := copy(p.queue, p.queue[p.head:])
			clear(p.queue[kept:])
			p.queue, p.head = p.queue[:kept], 0
		}
	default:
		return nil
	}
	if p.backlog() <= p.queueLimit()/2 {
		p.wakeOffers()
	}
	return in
}

// wakeOffers has those look again that wait for space.
func (p *pool) wakeOffers() {
	if p.space != nil {
		close(p.space)
		p.space = nil
	}
}

func (p *pool) peek() *Input {
	if len(p.again) > 0 {
		return p.again[0]
	}
	if p.head < len(p.queue) {
		return p.queue[p.head]
	}
	return nil
}

// drain takes all inputs that wait.
func (p *pool) drain() []*Input {
	var all []*Input
	for in := p.next(); in != nil; in = p.next() {
		all = append(all, in)
	}
	return all
}

func (p *pool) counts() Counts {
	n := Counts{Backlog: p.backlog() + p.behind, Containers: len(p.containers)}
	for _, c := range p.containers {
		n.Running += len(c.inputs)
		if c.state == ready {
			n.Headroom += max(0, c.room()-c.units) * p.batchSize()
		}
	}
	return n
}

// publish makes fn the current version.
func (p *pool) publish(fn *function.Function, recreate bool) {
	changed := fn.Version != p.fn.Version
	p.fn, p.prep = fn, nil
	if !changed {
		return
	}
	p.failure, p.failedStarts, p.crashes, p.elapsed, p.recent = nil, 0, 0, 0, autoscale.Recent{}
	p.stopRetry()
	for _, c := range append([]*Container(nil), p.containers...) {
		p.s.halt(c, !recreate)
	}
}

// stop ends all containers, with graceful after the inputs they have, and cancels all inputs that no container has then.
func (p *pool) stop(why string, graceful bool, fx *effects) {
	p.stopped, p.why = true, why
	p.stopTimers()
	for _, in := range p.drain() {
		fx.finish(p.fn.ID, Outcome{in, p.cancelledByStop()})
	}
	for _, c := range append([]*Container(nil), p.containers...) {
		p.s.halt(c, graceful)
	}
	p.forget()
}

// forget drops a stopped pool that has nothing left. If the function is published again, it begins anew.
func (p *pool) forget() {
	if p.stopped && len(p.containers) == 0 && p.s.pools[p.fn.ID] == p {
		delete(p.s.pools, p.fn.ID)
		p.wakeOffers() // they see that the pool is stopped
	}
}

func (p *pool) cancelledByStop() payload.Result {
	return payload.Failed(payload.Cancelled, "input was cancelled: "+p.why)
}

func (p *pool) stoppedError() error {
	return fault.New(fault.NotFound, "function %q: %s; deploy or run it again", p.fn.Definition.Name, p.why)
}

func (p *pool) stopTimers() {
	for _, t := range []*Timer{&p.recheck, &p.idle, &p.linger} {
		if *t != nil {
			(*t).Stop()
			*t = nil
		}
	}
	p.stopRetry()
}

func (p *pool) stopRetry() {
	if p.retry != nil {
		p.retry.Stop()
		p.retry = nil
	}
}

// balance gives inputs to containers with room, and makes the number of containers what it is to be. It is called after every event.
func (p *pool) balance(fx *effects) {
	if p.stopped || p.s.closing {
		return
	}
	p.dispatch()
	n, recheck := p.wanted()
	live := p.live()
	switch {
	case live < n:
		p.grow(n-live, fx)
	case live > n:
		p.dropWaiting(live - n)
	}
	p.setRecheck(recheck)
	p.setIdle(n)
}

// wanted returns how many containers there are to be, and when to ask again.
func (p *pool) wanted() (n int, recheck time.Duration) { return autoscale.Wanted(p.load(), p.limits()) }

func (p *pool) limits() autoscale.Limits {
	a := p.fn.Definition.Autoscaler
	return autoscale.Limits{Min: a.MinContainers, Max: a.MaxContainers, Buffer: a.BufferContainers}
}

func (p *pool) load() autoscale.Load {
	d := &p.fn.Definition
	l := autoscale.Load{
		Backlog: p.backlog(), Elapsed: p.elapsed, Per: max(1, d.Concurrency.Target) * p.batchSize(), Single: d.SingleUse,
	}
	now := p.s.d.Clock.Now()
	for _, c := range p.containers {
		if c.state == draining {
			continue // what it has needs no other container
		}
		l.Running += len(c.inputs)
		if c.state == ready {
			l.Ready++
		}
		if len(c.inputs) > 0 && (l.Backlog > 0 || d.Concurrency.Target > 1) {
			l.Oldest = max(l.Oldest, now.Sub(c.busySince))
		}
	}
	return l
}

// live counts the containers that take or will take inputs.
func (p *pool) live() int {
	n := 0
	for _, c := range p.containers {
		if c.state != draining {
			n++
		}
	}
	return n
}

// grow asks for n more containers. After starts have failed it is held back for a while, unless inputs wait that nobody else runs: those
// shall run or fail now.
func (p *pool) grow(n int, fx *effects) {
	if p.retry != nil && (p.backlog() == 0 || p.anyReady()) {
		return
	}
	if a := p.fn.Definition.Autoscaler; a.MaxContainers > 0 {
		// Those that drain count too: the limit is the user's, often for the sake of something outside.
		n = min(n, a.MaxContainers-len(p.containers))
	}
	for range n {
		fx.starts = append(fx.starts, p.add())
	}
}

// dropWaiting takes back up to n containers that have no worker yet, the last asked for first.
func (p *pool) dropWaiting(n int) {
	for i := len(p.containers) - 1; i >= 0 && n > 0; i-- {
		if c := p.containers[i]; c.state == waiting || c.state == preparing {
			p.s.remove(c)
			n--
		}
	}
}

// setRecheck plans a balance for when the time that has passed tells more.
func (p *pool) setRecheck(d time.Duration) {
	if d == 0 || p.recheck != nil {
		return // one that is planned comes early enough, and plans the next
	}
	p.recheck = p.s.d.Clock.AfterFunc(d, func() {
		var fx effects
		p.s.mu.Lock()
		p.recheck = nil
		p.balance(&fx)
		p.s.mu.Unlock()
		p.s.perform(&fx)
	})
}
