package gatewaylink

import (
	"context"
	"math/rand/v2"
	"time"
)

// Bounds of the pause between attempts to reach the gateway. A gateway that restarts is up again in well under a second.
const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
	// steady is how long a connection must have held for the next pause to be the shortest again.
	steady = 10 * time.Second
)

// backoff grows the pause with every attempt that fails, and spreads workers of one gateway apart.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: minPause} }

// pause waits before the next attempt; held is how long the last connection was there. It returns early when ctx ends.
func (b *backoff) pause(ctx context.Context, held time.Duration) {
	if held >= steady {
		b.next = minPause
	}
	d := b.next/2 + rand.N(b.next) //nolint:gosec // spreading needs no secrecy
	b.next = min(b.next*2, maxPause)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
