package call

import (
	"context"
	"sync"
)

// queue gathers work for one goroutine, which takes all there is at a time: the busier it is, the larger its batches.
type queue[T any] struct {
	state *queueState[T]
}

type queueState[T any] struct {
	mu    sync.Mutex
	items []T
	wake  chan struct{} // holds a token while there are items
}

func newQueue[T any]() queue[T] {
	return queue[T]{&queueState[T]{wake: make(chan struct{}, 1)}}
}

func (q queue[T]) add(items ...T) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.items = append(q.state.items, items...)
	select {
	case q.state.wake <- struct{}{}:
	default:
	}
}

// take waits for items and returns up to limit of them.
func (q queue[T]) take(ctx context.Context, limit int) ([]T, error) {
	select {
	case <-q.state.wake:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	n := min(limit, len(q.state.items))
	taken := q.state.items[:n:n]
	q.state.items = q.state.items[n:]
	if len(q.state.items) == 0 {
		q.state.items = nil
	} else {
		select {
		case q.state.wake <- struct{}{}:
		default:
		}
	}
	return taken, nil
}
