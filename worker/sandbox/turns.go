package sandbox

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// turnTime is how long something that starts counts as one of the few at most: what is slow holds up nobody.
	turnTime = 100 * time.Millisecond
	// turnWait is how long anything waits for its turn at most.
	turnWait = 3 * time.Second
)

// turns has what is asked for at once be done a few at a time, in order. All together would take as long, but none of them would be done before
// the last. Processes go before new sandboxes, for who waits for one has waited for the sandbox before; what is given back goes last, for nobody
// waits for that. It is safe for concurrent use.
type turns struct {
	mu   sync.Mutex
	free int
	// those who wait, in order, each with what is closed at its turn
	processes, sandboxes, ends []chan struct{}
}

// newTurns returns turns for as many as there are processors, which one after the other they keep busy.
func newTurns() *turns { return &turns{free: runtime.GOMAXPROCS(0)} }

// sandbox waits until a new sandbox may be begun. What is returned ends its turn, which ends by itself after turnTime.
func (t *turns) sandbox(ctx context.Context) (end func()) { return t.take(ctx, &t.sandboxes) }

// process is sandbox for a process to be started in one.
func (t *turns) process(ctx context.Context) (end func()) { return t.take(ctx, &t.processes) }

// ended is sandbox for one to be given back.
func (t *turns) ended(ctx context.Context) (end func()) { return t.take(ctx, &t.ends) }

func (t *turns) take(ctx context.Context, queue *[]chan struct{}) (end func()) {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return t.begun()
	}
	turn := make(chan struct{})
	*queue = append(*queue, turn)
	t.mu.Unlock()
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case <-turn:
		return t.begun()
	case <-timer.C:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(*queue, turn); i >= 0 {
		*queue = slices.Delete(*queue, i, i+1)
		return func() {} // it goes on beside the others
	}
	return t.begun() // it came meanwhile
}

// begun returns what ends a turn.
func (t *turns) begun() (end func()) {
	once := sync.OnceFunc(t.pass)
	timer := time.AfterFunc(turnTime, once)
	return func() {
		timer.Stop()
		once()
	}
}

// pass hands a turn that is over to the next.
func (t *turns) pass() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, queue := range []*[]chan struct{}{&t.processes, &t.sandboxes, &t.ends} {
		if len(*queue) > 0 {
			close((*queue)[0])
			*queue = slices.Delete(*queue, 0, 1)
			return
		}
	}
	t.free++
}
