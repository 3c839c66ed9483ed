package tunnel

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/lifecycle"
)

const (
	// storeAgain is how long the journal waits after a failure of the store.
	storeAgain = time.Second
	// storeLast is how long the last changes may take at a stop.
	storeLast = 5 * time.Second
)

// journal writes changes behind, in their order and together; who has to know that one is stored waits for it.
type journal struct {
	store Store
	log   *slog.Logger
	wake  chan struct{}

	mu      sync.Mutex
	pending []Change
	put     uint64        // changes that were put, ever
	stored  uint64        // changes that are stored
	moved   chan struct{} // closed when stored grows
}

func newJournal(store Store, log *slog.Logger) *journal {
	return &journal{store: store, log: log, wake: make(chan struct{}, 1), moved: make(chan struct{})}
}

// add has changes stored soon, and returns what await is called with.
func (j *journal) add(changes ...Change) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = append(j.pending, changes...)
	j.put += uint64(len(changes))
	if len(changes) > 0 {
		j.again()
	}
	return j.put
}

// await waits until changes are stored, or ctx ends.
func (j *journal) await(ctx context.Context, mark uint64) error {
	for {
		j.mu.Lock()
		done, moved := j.stored >= mark, j.moved
		j.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// run stores until ctx ends, and then what is left.
func (j *journal) run(ctx context.Context) error {
	for {
		select {
		case <-j.wake:
		case <-ctx.Done():
			last, cancel := lifecycle.Detach(ctx, storeLast)
			defer cancel()
			return j.flush(last)
		}
		if err := j.flush(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn("tunnels are not stored yet", "error", err, "again_in", storeAgain)
			timer := time.NewTimer(storeAgain)
			select {
			case <-timer.C:
				j.again()
			case <-ctx.Done():
				timer.Stop()
			}
		}
	}
}

func (j *journal) again() {
	select {
	case j.wake <- struct{}{}:
	default: // it is awake
	}
}

// flush stores what is pending. What can't be stored stays pending.
func (j *journal) flush(ctx context.Context) error {
	j.mu.Lock()
	batch := j.pending
	j.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	if err := j.store.ChangeTunnels(ctx, batch); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pending = j.pending[len(batch):]
	if len(j.pending) == 0 {
		j.pending = nil // the array goes too
	}
	j.stored += uint64(len(batch))
	close(j.moved)
	j.moved = make(chan struct{})
	return nil
}
