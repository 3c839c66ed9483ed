package jetstream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// anchorSubject is of a message that stays in the inputs' stream.
const anchorSubject = "keep.in"

// anchorEvery is how many inputs are put before the anchor is moved: they and their removals fill a part of one of the server's files.
const anchorEvery = 4096

// anchor keeps one message near the end of the inputs' stream. Without it, the acknowledgement of the only input there is would leave the
// server's last file empty, and the server removes such a file and makes another: measured, that is a third of the time of a single call.
type anchor struct {
	e      *Engine
	put    atomic.Int64
	moving atomic.Bool
	wg     sync.WaitGroup
}

// count notes inputs that were put, and has the anchor moved now and then.
func (a *anchor) count(n int) {
	now := a.put.Add(int64(n))
	if now/anchorEvery == (now-int64(n))/anchorEvery || !a.moving.CompareAndSwap(false, true) {
		return
	}
	a.wg.Go(func() {
		defer a.moving.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		if err := a.drop(ctx); err != nil {
			a.e.log.Warn("calls may be slower", "error", err)
		}
	})
}

// drop puts the anchor at the end of the stream.
func (a *anchor) drop(ctx context.Context) error {
	if err := a.e.in.Purge(ctx, jetstream.WithPurgeSubject(anchorSubject)); err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	if _, err := a.e.js.Publish(ctx, anchorSubject, nil); err != nil {
		return fmt.Errorf("anchor: %w", err)
	}
	return nil
}
