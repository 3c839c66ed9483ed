package call

import (
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// feed is what a session gets of one generator: its items, then its output. All but the constants is guarded by the session's mutex.
type feed struct {
	key    payload.Key  // constant
	reader *item.Reader // constant once it is in the session
	output *Output      // to be sent once all items are
	queued bool         // is in ready
	closed bool
}

// Items implements task.Sink.
func (s *Service) Items(_ string, in *task.Input, first uint64, values []*payload.Payload) {
	s.mu.Lock()
	ctx, stream := s.group.Context(), s.generator(in.Key)
	s.mu.Unlock()
	if stream == nil {
		return // it has an output already, or none who could read items
	}
	if err := stream.Add(ctx, first, values); err != nil && ctx.Err() == nil {
		s.d.Log.Error("items are lost", "call", in.Key.CallID, "input", in.Key.Index, "error", err)
	}
}

func (s *Service) itemsFailed(key payload.Key, err error) {
	s.d.Log.Error("items not stored or read; trying again", "call", key.CallID, "input", key.Index, "error", err)
}

// generator returns the stream of an unfinished input of a SYNC call, made if need be, or nil. The mutex is held.
func (s *Service) generator(k payload.Key) *item.Stream {
	c, ok := s.calls[k.CallID]
	if !ok || c.kind != Sync {
		return nil
	}
	if _, open := c.unfinished[k.Index]; !open {
		return nil
	}
	return s.streamOf(c, k, false)
}

// yielding returns the stream of an input that ends; of one that says how many items it yielded, or that has yielded some.
func (s *Service) yielding(k payload.Key, generated bool) *item.Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generated {
		return s.generator(k)
	}
	if c, ok := s.calls[k.CallID]; ok {
		return c.generators[k.Index]
	}
	return nil
}

func (s *Service) streamOf(c *callState, k payload.Key, fresh bool) *item.Stream {
	stream, ok := c.generators[k.Index]
	if !ok {
		stream = s.items.Stream(k, fresh)
		if c.generators == nil {
			c.generators = map[uint32]*item.Stream{}
		}
		c.generators[k.Index], c.yields = stream, true
	}
	return stream
}

// feed has the items of an input sent to a session, from those after the ones it has seen. The Service's mutex is held.
func (s *Service) feed(x *Session, c *callState, k payload.Key, fresh bool, seen uint64) {
	if !x.watched[c.id] {
		return // the session has ended
	}
	if fd := x.feedOf(k); fd != nil {
		fd.reader.Seen(seen)
		return
	}
	fd := &feed{key: k}
	fd.reader = s.streamOf(c, k, fresh).Read(seen, func() { x.offer(fd) })
	x.mu.Lock()
	defer x.mu.Unlock()
	byIndex, ok := x.feeds[k.CallID]
	if !ok {
		byIndex = map[uint32]*feed{}
		x.feeds[k.CallID] = byIndex
	}
	byIndex[k.Index] = fd
	if !fresh {
		x.enqueue(fd) // the log may have items of it
	}
}

// finished completes the outcome of an input that yields items: the output says how many the client is to get.
func finished(e ending, last uint64) ending {
	r := &e.output.Result
	switch {
	case !r.Generated:
	case r.Items > last:
		*r = payload.Failed(payload.InternalFailure, fmt.Sprintf("generator yielded %d items, of which %d arrived; call it again", r.Items, last))
	default:
		r.Items = last // an earlier run may have come further than the one that ended
	}
	return e
}

// Seen says how many items of an input the client has, from the first.
func (x *Session) Seen(k payload.Key, count uint64) {
	if fd := x.feedOf(k); fd != nil {
		fd.reader.Seen(count)
	}
}

func (x *Session) feedOf(k payload.Key) *feed {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.feeds[k.CallID][k.Index]
}

// offer has Next look at a feed. It is called by the feed's stream, whose mutex is held.
func (x *Session) offer(fd *feed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.enqueue(fd)
}

// enqueue is offer with the session's mutex held.
func (x *Session) enqueue(fd *feed) {
	if !fd.queued && !fd.closed && x.broken == nil {
		fd.queued = true
		x.ready = append(x.ready, fd)
		x.signal()
	}
}

// closeFeeds ends the feeds of a call.
func (x *Session) closeFeeds(callID string) {
	x.mu.Lock()
	feeds := x.feeds[callID]
	delete(x.feeds, callID)
	for _, fd := range feeds {
		fd.closed = true
	}
	x.mu.Unlock()
	for _, fd := range feeds {
		fd.reader.Close()
	}
}

// fill adds what the feeds have to a frame, up to room bytes. It is called by Next.
func (x *Session) fill(ctx context.Context, f *Frame, feeds []*feed, room int) error {
	for i, fd := range feeds {
		if room <= 0 {
			x.mu.Lock()
			for _, late := range feeds[i:] {
				late.queued = false
				x.enqueue(late)
			}
			x.mu.Unlock()
			return nil
		}
		x.mu.Lock()
		fd.queued = false // before it is looked at, so that what comes meanwhile queues it again
		closed := fd.closed
		x.mu.Unlock()
		if closed {
			continue
		}
		b, more, err := fd.reader.Take(ctx, room)
		switch {
		case isKind(err, fault.DataLoss):
			x.Refuse(fd.key.CallID, err)
			continue
		case err != nil:
			return err
		case len(b.Values) > 0:
			f.Items = append(f.Items, b)
			room -= b.Size()
		}
		x.advance(f, fd, more)
	}
	return nil
}

// advance sends the output of a feed whose items are all sent.
func (x *Session) advance(f *Frame, fd *feed, more bool) {
	drained, given := fd.reader.Drained(), fd.reader.Given()
	x.mu.Lock()
	if fd.closed || fd.output == nil || !drained {
		if more {
			x.enqueue(fd)
		}
		x.mu.Unlock()
		return
	}
	if r := &fd.output.Result; r.Generated && given < r.Items {
		x.mu.Unlock()
		x.Refuse(fd.key.CallID, fault.New(fault.DataLoss,
			"items of call %q, input %d: those after number %d are not kept any more; the generator yielded %d", fd.key.CallID, fd.key.Index, given, r.Items))
		return
	}
	f.Outputs = append(f.Outputs, *fd.output)
	fd.closed = true
	delete(x.feeds[fd.key.CallID], fd.key.Index)
	x.mu.Unlock()
	fd.reader.Close()
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if c, ok := x.s.calls[fd.key.CallID]; ok {
		if _, open := c.unfinished[fd.key.Index]; !open {
			delete(c.generators, fd.key.Index)
		}
	}
}
