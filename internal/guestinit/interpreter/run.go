package interpreter

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// MaxCode is how long a piece of code may be, in bytes.
	MaxCode = 4 << 20
	// MaxOutput is how much text a piece of code may write, in bytes; what is more is left out.
	MaxOutput = 64 << 20
	// maxResults is how many values a piece of code may show.
	maxResults = 1000
	// maxData is how large all forms of a value may be, in bytes.
	maxData = 16 << 20
	// maxError is how large each part of an error may be, in bytes.
	maxError = 256 << 10
	// grace is how long code may take to end once it was interrupted; then its interpreter is ended.
	grace = 5 * time.Second
)

// Event is something that comes of code: text, a value or an error.
type Event struct {
	Stdout, Stderr string
	Result         map[string]string // by MIME type
	Main           bool              // Result is the value of the last expression
	Error          *Error
}

// Error is how code failed.
type Error struct{ Name, Value, Traceback string }

// Done is how a piece of code ended.
type Done struct {
	Count    uint64 // pieces of code that the context has run
	TimedOut bool
}

// run is a piece of code under way.
type run struct {
	events  chan Event
	gone    <-chan struct{} // closed when nobody listens any more
	results int

	mu   sync.Mutex // two streams write
	left int        // bytes of text that may still be written; below 0: that there were more was told
}

func (r *run) tell(e Event) {
	select {
	case r.events <- e:
	case <-r.gone:
	}
}

// text tells of text, as much as there may be.
func (r *run) text(s string, wrap func(string) Event) {
	r.mu.Lock()
	most := r.left
	r.left -= len(s)
	r.mu.Unlock()
	switch {
	case len(s) <= most:
		r.tell(wrap(s))
	case most >= 0:
		r.tell(wrap(strings.ToValidUTF8(s[:most], "")))
		r.tell(Event{Stderr: "\n[more than the output that is shown of one run; write it to a file]\n"})
	}
}

// message tells of what the interpreter says, which code may have made up.
func (r *run) message(m message) {
	switch m.Type {
	case "result":
		size := 0
		for kind, form := range m.Data {
			size += len(kind) + len(form)
		}
		if r.results++; size <= maxData && r.results <= maxResults {
			r.tell(Event{Result: m.Data, Main: m.Main})
		}
	case "error":
		r.tell(Event{Error: &Error{shorten(m.Name), shorten(m.Value), shorten(m.Traceback)}})
	}
}

func shorten(s string) string {
	if len(s) > maxError {
		return strings.ToValidUTF8(s[:maxError], "") + "..."
	}
	return s
}

func valid(p []byte) string { return strings.ToValidUTF8(string(p), "\uFFFD") }

// Run runs code in a context, once what waits there has run, and calls f with what comes of it. If ctx ends the code goes on unheard. Errors:
// fault.Invalid, fault.Precondition when the interpreter has died, f's.
func (c *Context) Run(ctx context.Context, code string, timeout time.Duration, f func(Event) error) (Done, error) {
	if len(code) > MaxCode {
		return Done{}, fault.New(fault.Invalid, "code of %d bytes: want at most %d", len(code), MaxCode)
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return Done{}, context.Cause(ctx)
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	r := &run{events: make(chan Event, 16), gone: ctx.Done(), left: MaxOutput}
	type end struct {
		done Done
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		defer func() { <-c.turn }()
		done, err := c.execute(r, code, timeout)
		close(r.events)
		ended <- end{done, err}
	}()
	for {
		select {
		case <-ctx.Done():
			return Done{}, context.Cause(ctx)
		case e, more := <-r.events:
			if !more {
				e := <-ended
				return e.done, e.err
			}
			if err := f(e); err != nil {
				return Done{}, err
			}
		}
	}
}

// execute runs code in the context's interpreter, which it starts if there is none. The context's turn is held.
func (c *Context) execute(r *run, code string, timeout time.Duration) (Done, error) {
	k, err := c.awake()
	if err != nil {
		return Done{}, err
	}
	c.host.cfg.Table.Activity().Begin()
	defer c.host.cfg.Table.Activity().End()
	k.streams[0].to(func(s string) { r.text(s, func(s string) Event { return Event{Stdout: s} }) })
	k.streams[1].to(func(s string) { r.text(s, func(s string) Event { return Event{Stderr: s} }) })
	stop, timedOut := c.limit(k, timeout)
	err = k.converse(code, r.message)
	stop()
	for _, s := range k.streams {
		s.to(nil)
	}
	done := Done{Count: c.count.Add(1), TimedOut: timedOut.Load()}
	if err == nil {
		return done, nil
	}
	c.bury(k)
	switch {
	case done.TimedOut:
		return done, nil
	case fault.KindOf(err) != nil:
		return done, err
	default:
		return done, fault.New(fault.Precondition, "context %q: its interpreter has died; the next run has a fresh one", c.ID)
	}
}

// interrupt interrupts what runs, as Ctrl-C does.
func (c *Context) interrupt(k *kernel) {
	_ = c.host.cfg.Table.Signal(k.process, syscall.SIGINT, true) // it has ended
}
