package item

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/payload"
)

// retryInterval is how long to wait after the log has failed before trying again.
const retryInterval = time.Second

// Deps are the parts a Keeper works with. All are required.
type Deps struct {
	Log   Log
	Clock task.Clock
	// Failed hears that the log failed; what was to be done is tried again.
	Failed func(key payload.Key, err error)
}

// Keeper stores the items of all streams: each has one put under way, and what comes meanwhile goes into the next, so batches grow with
// the load. Safe for concurrent use.
type Keeper struct {
	d Deps

	mu   sync.Mutex
	due  []*Stream     // with something to put, or an end to tell
	wake chan struct{} // holds a token while there are some
}

// NewKeeper returns a Keeper that stores nothing until Run.
func NewKeeper(d Deps) *Keeper { return &Keeper{d: d, wake: make(chan struct{}, 1)} }

// Run stores items until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		select {
		case <-k.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		k.mu.Lock()
		due := k.due
		k.due = nil
		k.mu.Unlock()
		for _, s := range due {
			s.step(ctx)
		}
	}
}

// enqueue has a stream looked at.
func (k *Keeper) enqueue(s *Stream) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.due = append(k.due, s)
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Stream returns a new stream of an input's items. Fresh says that the log has none of them. There is to be one stream of an input.
func (k *Keeper) Stream(key payload.Key, fresh bool) *Stream {
	return &Stream{k: k, key: key, loaded: fresh}
}

// pause waits before something that failed is tried again.
func (k *Keeper) pause(ctx context.Context) error {
	over := make(chan struct{})
	defer k.d.Clock.AfterFunc(retryInterval, func() { close(over) }).Stop()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failed tells of an error that is not the caller's going away.
func (k *Keeper) failed(key payload.Key, err error) {
	if !errors.Is(err, context.Canceled) {
		k.d.Failed(key, err)
	}
}
