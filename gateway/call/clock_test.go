package call_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/task"
)

// clock is time in the test's hands. It begins now, for the flow has a clock of its own.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*timer
	change chan struct{} // closed when a timer is planned
}

type timer struct {
	c  *clock
	at time.Time
	d  time.Duration
	f  func()
}

func newClock() *clock { return &clock{now: time.Now(), change: make(chan struct{})} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) AfterFunc(d time.Duration, f func()) task.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{c, c.now.Add(d), d, f}
	c.timers = append(c.timers, t)
	close(c.change)
	c.change = make(chan struct{})
	return t
}

func (t *timer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	i := slices.Index(t.c.timers, t)
	if i >= 0 {
		t.c.timers = slices.Delete(t.c.timers, i, i+1)
	}
	return i >= 0
}

// planned waits until n timers of exactly a duration are planned.
func (c *clock) planned(t testing.TB, d time.Duration, n int) {
	t.Helper()
	for {
		c.mu.Lock()
		found, change := 0, c.change
		for _, p := range c.timers {
			if p.d == d {
				found++
			}
		}
		c.mu.Unlock()
		if found >= n {
			return
		}
		select {
		case <-change:
		case <-t.Context().Done():
			t.Fatalf("no timer of %s", d)
		}
	}
}

// advance moves time and calls what is due, in this goroutine and in order.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	end := c.now.Add(d)
	c.mu.Unlock()
	for {
		c.mu.Lock()
		var due *timer
		for _, t := range c.timers {
			if !t.at.After(end) && (due == nil || t.at.Before(due.at)) {
				due = t
			}
		}
		if due == nil {
			c.now = end
			c.mu.Unlock()
			return
		}
		if due.at.After(c.now) {
			c.now = due.at
		}
		c.mu.Unlock()
		if due.Stop() {
			due.f()
		}
	}
}
