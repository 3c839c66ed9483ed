package logs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Limits and defaults.
const (
	// MaxTail is the most past entries that can be asked for with Query.Tail.
	MaxTail = 20_000
	// EOFGrace is how long a container that has ended may take to send the rest of its output, where its worker may be lost.
	EOFGrace = 5 * time.Second
	// LateKept is how long it is remembered how far the output of a container has come that is closed: frames may come again, or late.
	LateKept = 15 * time.Minute
	// CallGrace is how long the last output of a call may take to come once it has ended.
	CallGrace = 500 * time.Millisecond
)

// Containers tells whose containers are. Implemented by gateway/task.
type Containers interface {
	// Origin returns whose output a container's is, for containers that live or ended in the last minutes.
	Origin(containerID string) (Origin, bool)
}

// Apps tells when apps have stopped. Implemented by gateway/app.
type Apps interface {
	// Done returns a channel that is closed when the app has stopped with all its containers, or a fault.NotFound.
	Done(ctx context.Context, appID string) (<-chan struct{}, error)
}

// Calls tells when calls have ended. Implemented by gateway/call.
type Calls interface {
	// AwaitEnd returns once all inputs of a call have ended; at once for a call that is not known any more.
	AwaitEnd(ctx context.Context, callID string) error
	// Began says which function a call is of and when it was made; false for a call that is not known any more.
	Began(ctx context.Context, callID string) (functionID string, at time.Time, known bool)
}

// Sandboxes tells when sandboxes have ended. Implemented in gateway/server.
type Sandboxes interface {
	// AwaitSandboxEnd returns once a sandbox has ended; at once for one that is not known.
	AwaitSandboxEnd(ctx context.Context, sandboxID string) error
}

// Deps are the parts of a Service. All are required.
type Deps struct {
	Stream     Stream
	Sandboxes  Sandboxes
	Containers Containers
	Apps       Apps
	Calls      Calls
	Log        *slog.Logger
}

// Service stores what containers write and reads it back. It is safe for concurrent use.
type Service struct {
	d Deps

	mu   sync.Mutex
	open map[string]*output // by container, from its first frame to its EOF
	late map[string]*output // by container, those that were closed lately
	past []closed           // those in late, in order of closing
}

type closed struct {
	containerID string
	at          time.Time
}

// output is what memory holds of a container that has not sent EOF.
type output struct {
	origin   Origin
	sandbox  string // that it is a further container of; or empty
	sequence uint64 // of the last frame that is stored
	parts    int    // of the next one that are stored already
	lasting  bool   // it outlives the gateway: its frames are marked where they are stored
	looked   bool   // how far an earlier gateway had come is known
	ended    chan struct{}
	writing  sync.Mutex // frames of a container are stored one after the other
}

// New returns a Service.
func New(d Deps) *Service {
	return &Service{d: d, open: map[string]*output{}, late: map[string]*output{}}
}

// Frame is some output of one container. Sequence counts its frames from 1. Entries need no Origin.
type Frame struct {
	ContainerID string
	SandboxID   string // that the container is a further one of; else empty
	Sequence    uint64
	Entries     []Entry
	EOF         bool
}

// Owner is what the gateway knows the container by: its sandbox, or itself.
func (f *Frame) Owner() string { return cmp.Or(f.SandboxID, f.ContainerID) }

// Push stores a frame; it is stored when Push returns. A frame that was stored before is dropped. Errors: fault.NotFound for a container
// that is not known, fault.Denied for one that is another sandbox's.
func (s *Service) Push(ctx context.Context, f Frame) error {
	o, err := s.output(&f)
	if err != nil {
		return err
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := s.look(ctx, o, f.ContainerID); err != nil {
		return err
	}
	if f.Sequence <= o.sequence {
		return nil
	}
	for i := range f.Entries {
		f.Entries[i].Origin, f.Entries[i].ContainerID = o.origin, f.ContainerID
	}
	if len(f.Entries) > 0 {
		if err := s.append(ctx, o, f); err != nil {
			return err
		}
	}
	o.sequence, o.parts = f.Sequence, 0
	if f.EOF {
		s.close(f.ContainerID)
	}
	return nil
}

// look finds out how far an earlier gateway had come with the output of a container that has outlived it.
func (s *Service) look(ctx context.Context, o *output, containerID string) error {
	if o.looked || !o.lasting {
		return nil
	}
	m, err := s.d.Stream.Stored(ctx, o.origin.AppID, containerID)
	if err != nil {
		return err
	}
	if o.sequence = m.Sequence; !m.Whole && m.Sequence > 0 {
		o.sequence, o.parts = m.Sequence-1, m.Parts
	}
	o.looked = true
	return nil
}

func (s *Service) append(ctx context.Context, o *output, f Frame) error {
	if !o.lasting {
		return s.d.Stream.Append(ctx, f.Entries)
	}
	m := Mark{Sequence: f.Sequence}
	if f.Sequence == o.sequence+1 {
		m.Parts = o.parts
	}
	return s.d.Stream.AppendFrame(ctx, f.Entries, m)
}

// Open says that a container is to start whose output will come. Calling it is what makes followers of its app wait for its EOF.
func (s *Service) Open(containerID string, origin Origin) { s.begin(containerID, "", origin) }

// begin expects output of a container, which may be a further one of a sandbox.
func (s *Service) begin(containerID, sandboxID string, origin Origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[containerID] == nil {
		s.open[containerID] = &output{
			origin: origin, sandbox: sandboxID, ended: make(chan struct{}), lasting: sandboxID != "" || isSandbox(containerID),
		}
	}
}

// Ended says that a container has ended, and with a sandbox its further ones. Their EOF is waited for no longer than EOFGrace from now on.
func (s *Service) Ended(containerID string) {
	time.AfterFunc(EOFGrace, func() {
		for _, id := range s.further(containerID) {
			s.close(id)
		}
		s.close(containerID)
	})
}

// further returns the further containers of a sandbox whose output is open.
func (s *Service) further(sandboxID string) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, o := range s.open {
		if o.sandbox == sandboxID {
			ids = append(ids, id)
		}
	}
	return ids
}

// Notice appends a line of Skerry's own to a container's output, or, with an empty container, to that of a function.
func (s *Service) Notice(ctx context.Context, origin Origin, containerID, text string) error {
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	e := Entry{Time: time.Now(), Source: System, Text: text, Origin: origin, ContainerID: containerID}
	return s.d.Stream.Append(ctx, []Entry{e})
}

// isSandbox says whether a container is one that outlives its gateway.
func isSandbox(containerID string) bool { return ident.Check(ident.Sandbox, containerID) == nil }

func (s *Service) output(f *Frame) (*output, error) {
	o := s.known(f.ContainerID)
	if o == nil {
		origin, ok := s.d.Containers.Origin(f.Owner())
		if !ok {
			return nil, fault.New(fault.NotFound, "container %q: nothing is known of it", f.Owner())
		}
		s.begin(f.ContainerID, f.SandboxID, origin)
		o = s.known(f.ContainerID)
	}
	switch {
	case o == nil:
		return nil, fault.New(fault.NotFound, "container %q: its output has ended long ago", f.ContainerID)
	case o.sandbox != f.SandboxID:
		return nil, fault.New(fault.Denied, "container %q: is not one of sandbox %q", f.ContainerID, f.SandboxID)
	}
	return o, nil
}

// known returns the output of a container that is open or was closed lately, or nil. Nobody waits for the end of one that was.
func (s *Service) known(containerID string) *output {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.open[containerID]; o != nil {
		return o
	}
	return s.late[containerID]
}

func (s *Service) close(containerID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[containerID]
	if o == nil {
		return
	}
	close(o.ended)
	delete(s.open, containerID)
	now := time.Now()
	n := 0
	for n < len(s.past) && now.Sub(s.past[n].at) > LateKept {
		delete(s.late, s.past[n].containerID)
		n++
	}
	s.late[containerID] = o
	s.past = append(s.past[n:], closed{containerID, now})
}

// Drain returns when all containers have sent their EOF, or with ctx's error.
func (s *Service) Drain(ctx context.Context) error { return s.drained(ctx, "") }

// closedBy returns when a container has sent its EOF.
func (s *Service) closedBy(ctx context.Context, containerID string) error {
	s.mu.Lock()
	o := s.open[containerID]
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	select {
	case <-o.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drained returns when all containers of an app, or of all, that have begun have sent their EOF.
func (s *Service) drained(ctx context.Context, appID string) error {
	s.mu.Lock()
	var waits []<-chan struct{}
	for _, o := range s.open {
		if appID == "" || o.origin.AppID == appID {
			waits = append(waits, o.ended)
		}
	}
	s.mu.Unlock()
	for _, w := range waits {
		select {
		case <-w:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Query says what to read. The app is required; the rest selects.
type Query struct {
	Selection
	Until  time.Time // zero: no end
	Search string    // only entries that contain it
	Source Source    // 0: all
	Tail   int       // of the past, only the last N; 0: all
	Follow bool
}

// errEnough ends a Read that has all it wants.
var errEnough = errors.New("enough")

// Read hands entries to emit in order of arrival. With Follow it goes on until the app has stopped and all its containers' output has
// been sent. Errors: fault.Invalid, fault.NotFound, and those of emit.
func (s *Service) Read(ctx context.Context, q Query, emit func([]Entry) error) error {
	if q.Tail > MaxTail {
		return fault.New(fault.Invalid, "tail %d: at most %d", q.Tail, MaxTail)
	}
	r := &reader{s: s, q: q, emit: emit}
	if err := r.narrow(ctx); err != nil {
		return err
	}
	if !q.Follow {
		if err := s.d.Stream.Read(ctx, r.q.Selection, false, r.past); err != nil && !errors.Is(err, errEnough) {
			return err
		}
		return r.flush()
	}
	return r.follow(ctx)
}
