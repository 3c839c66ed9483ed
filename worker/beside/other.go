package beside

import (
	"context"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Other is the worker that is connected, if one is. It is safe for concurrent use.
type Other struct {
	patience time.Duration

	mu      sync.Mutex
	peer    *Peer
	arrived chan struct{} // closed when peer is there
}

// NewOther returns an Other for which those who ask wait so long.
func NewOther(patience time.Duration) *Other {
	return &Other{patience: patience, arrived: make(chan struct{})}
}

// Connect has a worker be there.
func (o *Other) Connect(p *Peer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.peer == nil {
		close(o.arrived)
	}
	o.peer = p
}

// Disconnect says that a worker has gone.
func (o *Other) Disconnect(p *Peer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.peer == p {
		o.peer, o.arrived = nil, make(chan struct{})
	}
}

// Call asks the worker that is connected, waiting for one. Errors: fault.Unavailable, and those of Peer.Call.
func (o *Other) Call(ctx context.Context, q Request, into any) (data []byte, err error) {
	p, err := o.await(ctx)
	if err != nil {
		return nil, err
	}
	data, _, err = p.Call(ctx, q, into)
	return data, err
}

func (o *Other) await(ctx context.Context) (*Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	for {
		o.mu.Lock()
		p, arrived := o.peer, o.arrived
		o.mu.Unlock()
		if p != nil {
			return p, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, "no worker is connected: %w", context.Cause(ctx))
		}
	}
}
