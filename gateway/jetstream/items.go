package jetstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

var _ item.Log = (*Engine)(nil)

// Limits of the items' stream: they are there for clients that are slow or away while their generators go on.
const (
	itemsStream   = "ITEMS"
	itemsMaxAge   = item.Retention
	itemsMaxBytes = 8 << 30
)

// Bounds of one message of items in bytes, and of one read in bytes and messages.
const (
	itemsMessage  = 512 << 10
	itemsRead     = 1 << 20
	itemsReadMsgs = 64
)

// itemsVersion begins a message of items: version, number of the first, then the payloads up to its end.
const itemsVersion = 1

// items is what generators yield, a message for a batch, on the subject item.<call>.<index>. It has a connection of its own, so that a
// generator that yields fast or much holds up nothing else.
type items struct {
	nc     *nats.Conn
	pub    *publisher
	stream jetstream.Stream
}

func (e *Engine) openItems(ctx context.Context) error {
	var err error
	if e.items.nc, err = e.dial("items", nil, func() { e.items.pub.reconnected() }); err != nil {
		return err
	}
	if e.items.pub, err = newPublisher(e.items.nc, e.cluster.on()); err != nil {
		return fmt.Errorf("flow: %w", err)
	}
	e.items.stream, err = e.stream(ctx, jetstream.StreamConfig{
		Name: itemsStream, Subjects: []string{"item.>"}, MaxAge: itemsMaxAge, MaxBytes: itemsMaxBytes, AllowDirect: true,
	})
	return err
}

// closeItems ends the connection, after what was published has reached the server.
func (e *Engine) closeItems(ctx context.Context) error {
	if e.items.nc == nil {
		return nil
	}
	err := e.items.nc.FlushWithContext(ctx)
	e.items.nc.Close()
	if e.items.pub != nil {
		e.items.pub.breakAll(fault.New(fault.Unavailable, "flow: closed"))
	}
	return err
}

func itemSubject(k payload.Key) string {
	return "item." + k.CallID + "." + strconv.FormatUint(uint64(k.Index), 10)
}

// PutItems implements item.Log.
func (e *Engine) PutItems(b item.Batch, done func(error)) {
	var messages []message
	subject := itemSubject(b.Key)
	for values, first := b.Values, b.First; len(values) > 0; {
		data := binary.AppendUvarint([]byte{itemsVersion}, first)
		n := 0
		for n < len(values) && (n == 0 || len(data)+len(values[n].Inline) < itemsMessage) {
			data = values[n].Append(data)
			n++
		}
		messages = append(messages, message{subject: subject, data: data})
		values, first = values[n:], first+uint64(n)
	}
	e.items.pub.publishInOrder(messages, func(errs []error) { done(errors.Join(errs...)) })
}

func parseItems(k payload.Key, data []byte) (item.Batch, error) {
	b := item.Batch{Key: k}
	damaged := fault.New(fault.DataLoss, "items of call %q, input %d: damaged", k.CallID, k.Index)
	if len(data) < 2 || data[0] != itemsVersion {
		return b, damaged
	}
	first, n := binary.Uvarint(data[1:])
	if n <= 0 {
		return b, damaged
	}
	b.First = first
	for data = data[1+n:]; len(data) > 0; {
		p, rest, err := payload.Parse(data)
		if err != nil {
			return b, damaged
		}
		b.Values = append(b.Values, p)
		data = rest
	}
	return b, nil
}

// LastItem implements item.Log.
func (e *Engine) LastItem(ctx context.Context, key payload.Key) (uint64, error) {
	b, _, err := e.lastItems(ctx, key)
	if err != nil || len(b.Values) == 0 {
		return 0, err
	}
	return b.First + uint64(len(b.Values)) - 1, nil
}

// lastItems returns the last message of an input, and its place; an empty one if there is none.
func (e *Engine) lastItems(ctx context.Context, key payload.Key) (item.Batch, uint64, error) {
	m, err := e.lastMessage(ctx, e.items.stream, itemSubject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return item.Batch{}, 0, nil
	}
	if err != nil {
		return item.Batch{}, 0, fault.New(fault.Unavailable, "items of call %q, input %d: %w", key.CallID, key.Index, err)
	}
	b, err := parseItems(key, m.Data)
	return b, m.Sequence, err
}

// Items implements item.Log.
func (e *Engine) Items(ctx context.Context, r item.Range) (item.Batch, uint64, error) {
	lost := fault.New(fault.DataLoss,
		"items of call %q, input %d: number %d is not kept any more; read items sooner than %s after they were yielded, and no more than %d GiB behind",
		r.Key.CallID, r.Key.Index, r.From, itemsMaxAge, itemsMaxBytes>>30)
	cursor := r.Cursor
	if cursor == 0 {
		var err error
		if cursor, err = e.findItem(ctx, r.Key, r.From); err != nil {
			return item.Batch{}, 0, err
		}
	}
	found := item.Batch{Key: r.Key, First: r.From}
	err := e.readItems(ctx, r.Key, cursor, func(b item.Batch, sequence uint64) (more bool) {
		next := found.First + uint64(len(found.Values))
		if b.First > next {
			return false
		}
		if known := next - b.First; known < uint64(len(b.Values)) {
			found.Values = append(found.Values, b.Values[known:]...)
			cursor = sequence
		}
		return len(found.Values) < r.Limit
	})
	if err != nil {
		return item.Batch{}, 0, err
	}
	if len(found.Values) == 0 {
		return item.Batch{}, 0, lost
	}
	found.Values = found.Values[:min(r.Limit, len(found.Values))]
	return found, cursor, nil
}

// findItem returns a place from which on the first message of the input has the item, if it is there: numbers grow with places.
func (e *Engine) findItem(ctx context.Context, key payload.Key, number uint64) (uint64, error) {
	_, high, err := e.lastItems(ctx, key)
	if err != nil {
		return 0, err
	}
	low := uint64(1)
	for low < high {
		middle := low + (high-low)/2
		var m *jetstream.RawStreamMsg
		err := e.insist(ctx, func(ctx context.Context) (err error) {
			m, err = e.items.stream.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(itemSubject(key)))
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return low, nil // purged meanwhile
		}
		if err != nil {
			return 0, fault.New(fault.Unavailable, "items of call %q, input %d: %w", key.CallID, key.Index, err)
		}
		b, err := parseItems(key, m.Data)
		if err != nil {
			return 0, err
		}
		switch {
		case b.First > number:
			high = middle - 1
		case b.First+uint64(len(b.Values)) <= number:
			low = m.Sequence + 1
		default:
			return m.Sequence, nil
		}
	}
	return low, nil
}

// readItems calls f with the messages of an input from a place on, until f wants no more, there are no more, or enough has been read.
func (e *Engine) readItems(ctx context.Context, key payload.Key, from uint64, f func(b item.Batch, sequence uint64) (more bool)) error {
	p := page{stream: itemsStream, filter: itemSubject(key), from: from, msgs: itemsReadMsgs, bytes: itemsRead}
	return readPage(ctx, e.items.nc, p, func(m found) (bool, error) {
		b, err := parseItems(key, m.Data)
		return err == nil && f(b, m.place), err
	})
}

// PurgeItems implements item.Log.
func (e *Engine) PurgeItems(ctx context.Context, callID string) error {
	filter := "item." + callID + ".>"
	if err := e.insist(ctx, func(ctx context.Context) error {
		return e.items.stream.Purge(ctx, jetstream.WithPurgeSubject(filter))
	}); err != nil {
		return fault.New(fault.Unavailable, "purge %q: %w", filter, err)
	}
	return nil
}
