package item

import (
	"context"
	"sync"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Stream is the items of one input, from the generator to its readers. Safe for concurrent use; Add and End are for the one container that
// runs the input at a time.
type Stream struct {
	k   *Keeper
	key payload.Key

	mu      sync.Mutex
	loaded  bool               // stored is known
	stored  uint64             // items in the log: those with numbers up to this
	putting []*payload.Payload // the next ones, on their way there
	waiting []*payload.Payload // those after
	size    int                // of waiting
	queued  bool               // the keeper will look
	room    chan struct{}      // closed when Add may go on; nil: it does not wait
	end     func(last uint64)
	readers []*Reader
	tail    []*payload.Payload // the last stored ones, while there are readers
	tailing int                // size of tail
}

// Add takes items that the generator yielded, in order; those that an earlier run of the input has yielded are dropped. It blocks while
// too many wait to be stored. Errors: ctx's own; fault.Internal where items before these are missing.
func (s *Stream) Add(ctx context.Context, first uint64, values []*payload.Payload) error {
	if err := s.insist(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.size > MaxWaiting {
		if err := s.await(ctx); err != nil {
			return err
		}
	}
	next := s.stored + uint64(len(s.putting)+len(s.waiting)) + 1
	if first > next {
		return fault.New(fault.Internal, "items of call %q, input %d: number %d came where %d was to come", s.key.CallID, s.key.Index, first, next)
	}
	if known := next - first; known < uint64(len(values)) {
		for _, v := range values[known:] {
			s.waiting = append(s.waiting, v)
			s.size += size(v)
		}
		s.hasWork()
	}
	return nil
}

// await waits for room. The mutex is held, but not meanwhile.
func (s *Stream) await(ctx context.Context) error {
	if s.room == nil {
		s.room = make(chan struct{})
	}
	room := s.room
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// End has f called with the number of the last item once all that were added are stored, from a goroutine that may block for a while.
func (s *Stream) End(f func(last uint64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = f
	s.hasWork()
}

// hasWork has the keeper look, now or when the put that is under way has ended. The mutex is held.
func (s *Stream) hasWork() {
	if s.putting == nil && !s.queued {
		s.queued = true
		s.k.enqueue(s)
	}
}

// step puts what waits, or tells the end. It is called by the keeper alone.
func (s *Stream) step(ctx context.Context) {
	s.mu.Lock()
	s.queued = false
	if len(s.waiting) == 0 {
		end := s.end
		s.end = nil
		s.mu.Unlock()
		if end != nil {
			s.tell(ctx, end)
		}
		return
	}
	b := Batch{s.key, s.stored + 1, s.waiting}
	s.putting, s.waiting, s.size = s.waiting, nil, 0
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	s.mu.Unlock()
	s.k.d.Log.PutItems(b, s.put)
}

// tell tells the end. Where nothing was added since the stream was taken up, only the log knows how far it came.
func (s *Stream) tell(ctx context.Context, end func(last uint64)) {
	err := s.load(ctx)
	s.mu.Lock()
	last := s.stored
	if err != nil {
		s.end = end
		s.later()
	}
	s.mu.Unlock()
	if err != nil {
		s.k.failed(s.key, err)
		return
	}
	end(last)
}

// later has the keeper look after a while. The mutex is held.
func (s *Stream) later() {
	s.queued = true
	s.k.d.Clock.AfterFunc(retryInterval, func() { s.k.enqueue(s) })
}

// put hears what became of the batch that was under way.
func (s *Stream) put(err error) {
	s.mu.Lock()
	if err != nil {
		s.again()
		s.mu.Unlock()
		s.k.failed(s.key, err)
		return
	}
	s.stored += uint64(len(s.putting))
	if len(s.readers) > 0 {
		s.keep(s.putting)
	}
	s.putting = nil
	if len(s.waiting) > 0 || s.end != nil {
		s.hasWork()
	}
	for _, r := range s.readers {
		r.wake()
	}
	s.mu.Unlock()
}

// again has the failed batch put again after a while. The mutex is held.
func (s *Stream) again() {
	for _, v := range s.putting {
		s.size += size(v)
	}
	s.waiting = append(s.putting, s.waiting...)
	s.putting = nil
	s.later()
}

// keep adds stored items to the tail, and drops the oldest of it. The mutex is held.
func (s *Stream) keep(values []*payload.Payload) {
	s.tail = append(s.tail, values...)
	for _, v := range values {
		s.tailing += size(v)
	}
	n := 0
	for n < len(s.tail) && s.tailing > MaxTail {
		s.tailing -= size(s.tail[n])
		n++
	}
	if n > 0 {
		// Copied to the front, for what a slice has left behind stays in memory.
		kept := copy(s.tail, s.tail[n:])
		clear(s.tail[kept:])
		s.tail = s.tail[:kept]
	}
}

// load finds out what the log has.
func (s *Stream) load(ctx context.Context) error {
	s.mu.Lock()
	loaded := s.loaded
	s.mu.Unlock()
	if loaded {
		return nil
	}
	n, err := s.k.d.Log.LastItem(ctx, s.key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded {
		s.loaded, s.stored = true, n
	}
	return nil
}

// insist is load that asks a log that fails again, until ctx ends.
func (s *Stream) insist(ctx context.Context) error {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.k.failed(s.key, err)
		if err := s.k.pause(ctx); err != nil {
			return err
		}
	}
}
