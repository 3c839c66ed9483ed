// Package runner is the host's end of the runner protocol (docs/runner-protocol.md): it feeds inputs to the language runner inside one
// container and takes their outcomes. The runner is user code as far as the host is concerned: nothing it says is trusted.
package runner

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
)

// Defaults of a Config.
const (
	// DefaultCancelGrace is how long a running input may take to end after it was cancelled.
	DefaultCancelGrace = time.Second
	// DefaultReturnAfter is how long an input waits behind a running one before it is given back.
	DefaultReturnAfter = 20 * time.Millisecond
	// DefaultStopGrace is how long an idle runner may take to end in good order, with the exit hooks of user code.
	DefaultStopGrace = 30 * time.Second
)

// Config says what the runner is to load and how inputs are run.
type Config struct {
	ContainerID, Environment string
	AppID, AppName           string
	FunctionID, FunctionName string
	FunctionIDs              map[string]string // the app's functions by name
	Module, Qualname         string
	Serialized               *payload.Payload // the pickled function, or nil to import Module
	Class                    *container.Class // nil: a function
	Generator                bool
	ModalNames, Interactive  bool
	// Slots is how many inputs, or batches, the runner has at a time (default 1); Batched says that it has batches.
	Slots   int
	Batched bool

	// Timeout bounds how long one input runs, from the moment it is handed to a runner that has no other, or the outputs of those before
	// it came; 0 means no limit.
	Timeout time.Duration
	// Signal signals the runner's process, so that a cancelled input is interrupted.
	Signal func(sig int) error
	// CancelGrace, ReturnAfter and StopGrace default to the constants above.
	CancelGrace, ReturnAfter, StopGrace time.Duration
}

// Session speaks with one runner, which works on one input at a time and in order; the others wait here. While inputs are short, several
// are handed to the runner at once, and their outputs come together: a wake-up each way costs more than they do. Those that turn out to
// wait behind a slow one are withdrawn.
//
// An input that was submitted ends in exactly one way: by an output, by being given back (Returned), by TakeQueued, or, when Run has
// returned, by being listed in Running. Outputs are Success or Failure as the runner says; Cancelled for one that Cancel named;
// TimedOut when it ran longer than Config.Timeout. After a TimedOut output, and after a Cancelled one whose input didn't end within
// CancelGrace, Ending(Overran) is called: the runner is stuck in user code, and the container is to be killed. Where it is stuck with several
// inputs and doesn't answer, nobody knows which of them runs: then it comes without an output, and Running lists them all.
//
// Its methods but Run are safe for concurrent use and neither block nor call events; events come from Run alone.
type Session struct {
	cfg    Config
	conn   net.Conn
	blobs  container.Blobs
	events container.RunnerEvents

	mu          sync.Mutex
	ready       bool
	finished    bool // Run has ended: nobody hears of anything more
	queue       []queued
	handed      []*handed     // what the runner has, in order; one of them runs
	handedBytes int           // of their arguments
	since       time.Time     // when the runner got the first of handed, or last gave outputs: none of handed began before
	moved       bool          // the first of handed has had its output since then
	average     time.Duration // how long inputs take, estimated; 0: not known
	withdrawal  withdrawal
	slow        bool      // inputs have been withdrawn from behind the one that runs: it gets no others
	over        bool      // Ending was called, or Interrupt: nothing more is handed over
	interrupt   bool      // the runner is to be told to end at once
	slots       int       // of a wide session: units that the runner takes at a time
	units       int       // that it has
	lastItems   *itemRun  // the last of pending, if it is items
	pending     []func()  // events to deliver, in order
	returns     timerOnce // gives back what waits too long
	limits      timerOnce // ends what runs too long

	feed   chan struct{} // there may be something to hand over
	notify chan struct{} // there may be something pending

	writeMu sync.Mutex // held while an input is handed over and while a frame is written
	out     []byte     // guarded by writeMu
	eventMu sync.Mutex // held while an event is delivered
}

type queued struct {
	container.Input
	at time.Time
}

// handed is an input that the runner has.
type handed struct {
	key       payload.Key
	size      int       // of its arguments, if they are inline
	alone     bool      // nothing is handed over behind it
	cancelled time.Time // zero unless it was
	told      bool      // the runner has been told that it was cancelled
	dead      bool      // its output has been given; the runner's own is ignored
	items     uint64    // that it has yielded
	began     time.Time // of a wide session
	unit      *unit     // of a wide session
	timedOut  bool      // it was cancelled because it has run too long
}

// withdrawal is how far the runner has been asked to give inputs back that it has not begun. Until it has answered, it gets none.
type withdrawal uint8

const (
	noWithdrawal withdrawal = iota
	withdrawalDue
	withdrawalAsked
)

var _ container.Runner = (*Session)(nil)

// New returns a session on a connection that a runner dialled. It does nothing before Run; Run closes conn.
func New(conn net.Conn, cfg Config, blobs container.Blobs, events container.RunnerEvents) *Session {
	for d, def := range map[*time.Duration]time.Duration{
		&cfg.CancelGrace: DefaultCancelGrace, &cfg.ReturnAfter: DefaultReturnAfter, &cfg.StopGrace: DefaultStopGrace,
	} {
		if *d <= 0 {
			*d = def
		}
	}
	cfg.Slots = max(1, cfg.Slots)
	return &Session{
		cfg: cfg, conn: conn, blobs: blobs, events: events, slots: cfg.Slots,
		feed: make(chan struct{}, 1), notify: make(chan struct{}, 1),
	}
}

// Run speaks with the runner until ctx or the connection ends. When ctx ends and nothing runs, the runner is told to stop and given
// Config.StopGrace to end. It returns nil when the runner closed the connection between two frames, fault.Invalid when it broke the
// protocol, the context's cause when ctx ended it, and otherwise the failure of the connection or of the blob store; those are not user
// code's doing. Pending events have been delivered when it returns.
func (s *Session) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	unstop := context.AfterFunc(ctx, func() { defer close(stopped); s.stop() })
	var once sync.Once
	var why error
	end := func(err error) error {
		once.Do(func() { why = err }) // what follows has the closed connection as its cause
		_ = s.conn.Close()            // so that both reading and writing end
		return err
	}
	g := lifecycle.NewGroup(ctx)
	g.Go("feed", func(ctx context.Context) error {
		if err := s.feedLoop(ctx); err != nil {
			return end(err)
		}
		return nil
	})
	g.Go("notify", s.notifyLoop)
	g.Go("read", func(ctx context.Context) error {
		err := s.readLoop(ctx)
		if err == nil {
			err = errClosed
		}
		return end(err)
	})
	_ = g.Wait() // why says more
	if !unstop() {
		<-stopped
	}
	s.disarm()
	s.deliver()
	if errors.Is(why, errClosed) {
		return nil
	}
	if ctx.Err() != nil { // whatever broke did so because of it
		return context.Cause(ctx)
	}
	return why
}

// errClosed ends Run's goroutines when the runner has closed the connection in good order.
var errClosed = errors.New("closed by the runner")

// wide says whether the runner has several inputs at a time, or batches.
func (s *Session) wide() bool { return s.cfg.Slots > 1 || s.cfg.Batched }

// stop ends the connection when Run's context has ended.
func (s *Session) stop() {
	s.mu.Lock()
	idle := len(s.handed) == 0
	s.mu.Unlock()
	if !idle || !s.writeMu.TryLock() {
		_ = s.conn.Close() // user code would not notice anyway
		return
	}
	defer s.writeMu.Unlock()
	deadline := time.Now().Add(s.cfg.StopGrace)
	s.out = wire.AppendFrame(s.out[:0], wire.Frame{Kind: wire.Stop, Meta: []byte(`{"interrupt":false}`)})
	if s.conn.SetDeadline(deadline) != nil {
		return
	}
	if _, err := s.conn.Write(s.out); err != nil {
		_ = s.conn.Close()
	}
}

// feedLoop starts the runner, and hands inputs over whenever reading an output doesn't do so itself.
func (s *Session) feedLoop(ctx context.Context) error {
	if err := s.sendStart(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.feed:
			if err := s.handOver(ctx); err != nil {
				return err
			}
		}
	}
}

// notifyLoop delivers events that timers and callers of Cancel left, so that neither waits for the receiver nor calls it with a lock
// of its own held.
func (s *Session) notifyLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.notify:
			s.deliver()
		}
	}
}

func (s *Session) deliver() {
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	s.mu.Lock()
	pending := s.pending
	s.pending, s.lastItems = nil, nil
	s.mu.Unlock()
	for _, event := range pending {
		event()
	}
}

// post leaves an event for notifyLoop. The caller holds mu.
func (s *Session) post(event func()) {
	s.pending, s.lastItems = append(s.pending, event), nil
	s.kick(s.notify)
}

func (s *Session) kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // a kick is there already
	}
}
