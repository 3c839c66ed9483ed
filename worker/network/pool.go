package network

import (
	"context"

	"github.com/skerry-dev/skerry/internal/fault"
)

// errEnded is what Acquire returns after Run.
var errEnded = fault.New(fault.Unavailable, "the worker's network has ended")

// pool keeps endpoints ready. One goroutine makes them and blocks while the pool is full, so each that is taken is replaced at once.
type pool struct {
	ready  chan *endpoint
	failed chan error // unbuffered: a failure to make one is told to somebody who waits, and is the cue to try again
}

func newPool(size int) *pool {
	// The endpoint that fill holds in its hand while the channel is full counts as well.
	return &pool{ready: make(chan *endpoint, size-1), failed: make(chan error)}
}

// fill makes endpoints until ctx ends. Those that nobody has taken by then are left to Network.Close.
func (p *pool) fill(ctx context.Context, create func() (*endpoint, error)) error {
	for ctx.Err() == nil {
		e, err := create()
		if err != nil {
			select {
			case p.failed <- err:
			case <-ctx.Done():
			}
			continue
		}
		select {
		case p.ready <- e:
		case <-ctx.Done():
		}
	}
	return nil
}

// take returns an endpoint, waiting for one to be made if need be.
func (p *pool) take(ctx context.Context, ended <-chan struct{}) (*endpoint, error) {
	select {
	case e := <-p.ready:
		return e, nil
	default:
	}
	select {
	case e := <-p.ready:
		return e, nil
	case err := <-p.failed:
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-ended:
		return nil, errEnded
	}
}
