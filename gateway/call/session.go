package call

import (
	"context"
	"errors"
	"sync"

	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Frame is what a session has for its client: all that is there, up to a size.
type Frame struct {
	Outputs  []Output
	Accepted []Acceptance
	Refused  []Refusal
	States   []State
	Items    []item.Batch // all of an input are in this or an earlier frame than its output
}

// Acceptance says that inputs of a SPAWN call are recorded.
type Acceptance struct {
	CallID  string
	Indexes []uint32
}

// Refusal says that nothing more comes for a call. Err has a kind of package fault; without one it is internal.
type Refusal struct {
	CallID string
	Err    error
}

// Bounds of one Frame, and of the outputs of SPAWN calls that wait for Next.
const (
	frameOutputs  = 1000
	frameBytes    = 4 << 20
	queuedOutputs = 4 * frameOutputs
	queuedBytes   = 4 * frameBytes
)

// maxRecording is how many bytes of SPAWN inputs of a session wait to be recorded; Submit waits while there are more.
const maxRecording = 32 << 20

// Session is one client's stream of inputs and outputs. Submit, Watch, Seen and Release are for one goroutine, Next for another; Close ends both.
//
// What is wrong with a call refuses the call. What is wrong with the gateway (a store is away, it is stopping) breaks the session: Next
// returns it, and the client comes again over another session.
type Session struct {
	s *Service

	watched map[string]bool // calls; guarded by the Service's mutex
	gone    bool            // guarded likewise

	mu        sync.Mutex
	out       Frame
	feeds     map[string]map[uint32]*feed // of generators, by call and index
	ready     []*feed                     // that may have something
	bytes     int                         // of out.Outputs
	recording int                         // bytes of SPAWN inputs that wait to be recorded
	recorded  chan struct{}               // closed when there is room for more; nil: nobody waits
	behind    map[string]bool             // SPAWN calls of which there is more than out could take; the records have it
	broken    error                       // why there is nothing more to come
	wake      chan struct{}               // holds a token while there is something for Next
}

var errClosed = fault.New(fault.Unavailable, "session: closed")

// NewSession begins a session. The caller closes it.
func (s *Service) NewSession() *Session {
	return &Session{s: s, watched: map[string]bool{}, feeds: map[string]map[uint32]*feed{}, behind: map[string]bool{},
		wake: make(chan struct{}, 1)}
}

// Next returns what there is for the client, waiting until there is something. Errors: ctx's own; fault.Unavailable once the session is
// closed or broken.
func (x *Session) Next(ctx context.Context) (Frame, error) {
	for {
		select {
		case <-x.wake:
		case <-ctx.Done():
			return Frame{}, ctx.Err()
		}
		f, feeds, room, err := x.take()
		if err != nil {
			return Frame{}, err
		}
		if err := x.fill(ctx, &f, feeds, room); err != nil {
			if ctx.Err() != nil {
				return Frame{}, ctx.Err()
			}
			x.end(fault.Wrap(fault.Unavailable, err)) // its client comes again for what this frame had
			return Frame{}, err
		}
		if err := x.catchUp(ctx); err != nil {
			if ctx.Err() != nil {
				return Frame{}, ctx.Err()
			}
			x.end(fault.Wrap(fault.Unavailable, err))
			return Frame{}, err
		}
		if len(f.Outputs)+len(f.Accepted)+len(f.Refused)+len(f.States)+len(f.Items) > 0 {
			return f, nil
		}
	}
}

// take removes a frame's worth, and says which feeds to look at for how many bytes more.
func (x *Session) take() (f Frame, feeds []*feed, room int, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken != nil {
		x.signal() // for the next Next
		return Frame{}, nil, 0, x.broken
	}
	n, size := 0, 0
	for n < len(x.out.Outputs) && n < frameOutputs && size < frameBytes {
		size += inlineSize(&x.out.Outputs[n].Result)
		n++
	}
	f = x.out
	f.Outputs = x.out.Outputs[:n:n]
	x.bytes -= size
	x.out = Frame{Outputs: x.out.Outputs[n:]}
	if len(x.out.Outputs) == 0 {
		x.out.Outputs = nil
	} else {
		x.signal()
	}
	feeds, x.ready = x.ready, nil
	return f, feeds, frameBytes - size, nil
}

func inlineSize(r *payload.Result) int {
	n := 0
	if r.Value != nil {
		n += len(r.Value.Inline)
	}
	if r.Error != nil && r.Error.Exception != nil {
		n += len(r.Error.Exception.Inline)
	}
	return n
}

// signal wakes Next. The session's mutex is held.
func (x *Session) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// add changes what is to go out.
func (x *Session) add(change func(*Frame)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken == nil {
		change(&x.out)
		x.signal()
	}
}

// push gives the client an output, behind the items of its input. One that is recorded is refused, and looked up later, where too many wait.
func (x *Session) push(o Output, recorded bool) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken != nil {
		return false
	}
	if fd := x.feeds[o.Key.CallID][o.Key.Index]; fd != nil {
		fd.output = &o
		x.enqueue(fd)
		return true
	}
	if recorded && (len(x.out.Outputs) >= queuedOutputs || x.bytes >= queuedBytes) {
		x.behind[o.Key.CallID] = true
		return false
	}
	x.out.Outputs = append(x.out.Outputs, o)
	x.bytes += inlineSize(&o.Result)
	x.signal()
	return true
}

// reserve waits for room for inputs that are to be recorded.
func (x *Session) reserve(ctx context.Context, size int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for x.recording > 0 && x.recording+size > maxRecording {
		if x.recorded == nil {
			x.recorded = make(chan struct{})
		}
		room := x.recorded
		x.mu.Unlock()
		var err error
		select {
		case <-room:
		case <-ctx.Done():
			err = ctx.Err()
		}
		x.mu.Lock()
		if err != nil {
			return err
		}
	}
	x.recording += size
	return nil
}

// unreserve gives back what reserve has taken.
func (x *Session) unreserve(size int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.recording -= size
	if x.recorded != nil {
		close(x.recorded)
		x.recorded = nil
	}
}

// fallBehind has outputs of a SPAWN call looked up, as there may be some that were not pushed.
func (x *Session) fallBehind(callID string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken == nil {
		x.behind[callID] = true
		x.signal()
	}
}

// catchUp looks up outputs of SPAWN calls that were too many, once those before are sent.
func (x *Session) catchUp(ctx context.Context) error {
	x.mu.Lock()
	if len(x.behind) == 0 || len(x.out.Outputs) > 0 {
		x.mu.Unlock()
		return nil
	}
	late := x.behind
	x.behind = map[string]bool{}
	x.mu.Unlock()
	for id := range late {
		if err := x.s.sendRecorded(ctx, x, id); err != nil {
			return err
		}
	}
	return nil
}

// fail tells the client what became of its request: a call is refused for what is wrong with it, the session is broken for what is wrong
// with the gateway, as the client's coming again helps.
func (x *Session) fail(callID string, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || isKind(err, fault.Unavailable) {
		x.end(fault.Wrap(fault.Unavailable, err))
		return
	}
	x.Refuse(callID, err)
	x.s.abandon(callID)
}

// Refuse tells the client that a call is refused; what comes for it later is not sent.
func (x *Session) Refuse(callID string, err error) {
	x.s.mu.Lock()
	x.s.unwatch(x, callID, false)
	x.s.mu.Unlock()
	x.add(func(f *Frame) { f.Refused = append(f.Refused, Refusal{callID, err}) })
}

// Release says that the client has all it wants from calls: nothing more is sent for them, and their items are forgotten. Inputs that have
// not ended go on.
func (x *Session) Release(callIDs []string) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	for _, id := range callIDs {
		x.s.unwatch(x, id, true)
	}
}

// Close ends the session; a Next that waits returns. Its calls go on, and another session may take them up.
func (x *Session) Close() {
	x.end(errClosed)
}

// end makes the session useless; the first reason counts.
func (x *Session) end(reason error) {
	x.s.mu.Lock()
	x.gone = true
	for id := range x.watched {
		x.s.unwatch(x, id, false)
	}
	x.s.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken == nil {
		x.broken, x.out, x.ready = reason, Frame{}, nil
	}
	x.signal()
}

// Spawn makes a SPAWN call without a session, for the gateway's own parts, and returns once it is recorded. The same call made again, whole
// or in part, is the same call: inputs that have ended are not run again. Errors: what refuses the call; fault.Unavailable; ctx's own.
func (s *Service) Spawn(ctx context.Context, m Submit) error {
	x := s.NewSession()
	defer x.Close()
	m.Kind, m.Resumed = Spawn, true
	x.Submit(ctx, m)
	for {
		f, err := x.Next(ctx)
		if err != nil {
			return err
		}
		for _, refusal := range f.Refused {
			return refusal.Err
		}
		if len(f.Accepted) > 0 {
			return nil
		}
	}
}
