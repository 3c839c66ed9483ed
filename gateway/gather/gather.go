// Package gather hands work from many goroutines to one, which takes all there is at a time: the busier it is, the larger its batches.
package gather

import (
	"context"
	"sync"
)

// Queue keeps work in order. Add is safe for concurrent use, Take is for one goroutine. It has no bound: who adds is held back elsewhere.
type Queue[T any] struct {
	mu    sync.Mutex
	items []T
	wake  chan struct{} // holds a token while there are items
}

// NewQueue returns an empty queue.
func NewQueue[T any]() *Queue[T] { return &Queue[T]{wake: make(chan struct{}, 1)} }

// Add appends work. It does not block.
func (q *Queue[T]) Add(items ...T) {
	if len(items) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, items...)
	q.signal()
}

// Take waits for work and returns up to limit pieces of it, or ctx's error.
func (q *Queue[T]) Take(ctx context.Context, limit int) ([]T, error) {
	select {
	case <-q.wake:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(limit, len(q.items))
	taken := q.items[:n:n]
	q.items = q.items[n:]
	if len(q.items) == 0 {
		q.items = nil
	} else {
		q.signal()
	}
	return taken, nil
}

// signal wakes Take. The mutex is held.
func (q *Queue[T]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
