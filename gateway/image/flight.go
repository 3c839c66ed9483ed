package image

import (
	"context"
	"sync"
)

// Bounds of the log that late listeners get from a flight's start, in lines and in bytes; older lines are left out, steps are not. Lines have
// no length of their own: a step may write without ends of lines.
const (
	maxKeptLines = 20_000
	maxKeptBytes = 4 << 20
)

// flight is one build under way and all its events so far.
type flight struct {
	id        string
	force     bool
	listeners int // under Service.mu

	abandoned context.Context //nolint:containedctx // its end is that of the last listener
	abandon   context.CancelFunc

	mu     sync.Mutex
	events []Event
	first  int // number of events that were left out before events[0]
	lines  int
	bytes  int // of lines
	ended  bool
	err    error
	more   chan struct{} // closed, and replaced, when something is new
}

func newFlight(id string, force bool) *flight {
	f := &flight{id: id, force: force, more: make(chan struct{})}
	f.abandoned, f.abandon = context.WithCancel(context.Background())
	return f
}

// add appends an event for all listeners.
func (f *flight) add(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
	if e.Log != nil {
		f.lines += len(e.Log.Lines)
		f.bytes += e.Log.size()
		f.trim()
	}
	f.wake()
}

// trim leaves out the oldest output once there is twice as much as is kept, so that its cost is spread.
func (f *flight) trim() {
	if f.lines < 2*maxKeptLines && f.bytes < 2*maxKeptBytes {
		return
	}
	kept := f.events[:0:0]
	for _, e := range f.events {
		if e.Log != nil && (f.lines > maxKeptLines || f.bytes > maxKeptBytes) {
			f.lines -= len(e.Log.Lines)
			f.bytes -= e.Log.size()
			continue
		}
		kept = append(kept, e)
	}
	f.first += len(f.events) - len(kept)
	f.events = kept
}

// size is how much memory the lines take, about, in bytes.
func (l *Log) size() (n int) {
	for _, line := range l.Lines {
		n += len(line)
	}
	return n
}

func (f *flight) finish(end Event, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.events = append(f.events, end)
	}
	f.ended, f.err = true, err
	f.wake()
}

func (f *flight) wake() {
	close(f.more)
	f.more = make(chan struct{})
}

// follow hands all events to emit, from the first, until the flight's end.
func (f *flight) follow(ctx context.Context, emit func(Event) error) error {
	next := 0
	for {
		f.mu.Lock()
		batch := f.events[max(0, min(next-f.first, len(f.events))):]
		next = f.first + len(f.events)
		ended, err, more := f.ended, f.err, f.more
		f.mu.Unlock()
		for _, e := range batch {
			if err := emit(e); err != nil {
				return err
			}
		}
		if ended {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
