package process

import "sync"

// Activity counts what clients have running. It is safe for concurrent use.
type Activity struct {
	mu      sync.Mutex
	running int
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// Begin counts one more.
func (a *Activity) Begin() { a.add(1) }

// End counts one less.
func (a *Activity) End() { a.add(-1) }

func (a *Activity) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running += n
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// Now says how many run; changed is closed when that changes.
func (a *Activity) Now() (running int, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.running, a.changed
}
