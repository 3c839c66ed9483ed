package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
)

// A wide session is one whose runner has several inputs at a time by the user's wish, or runs them in batches. Each input, or batch, that is
// handed over begins at once and has a time limit of its own; nothing is handed ahead and nothing is withdrawn.

// reasonTimeout is what a Cancel frame says of an input that has run too long.
const reasonTimeout = "timeout"

// group is what the runner runs by one invocation: one input, or a batch.
type group struct {
	inputs  []container.Input
	batched bool
}

// nextGroup takes the group to hand over now; false if the runner has no slot free or there is none.
func (s *Session) nextGroup() (group, bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready || s.over || len(s.queue) == 0 || s.units >= s.slots {
		return group{}, false
	}
	n, batch := 1, s.queue[0].Batch
	for batch != 0 && n < len(s.queue) && s.queue[n].Batch == batch {
		n++
	}
	g := group{batched: s.cfg.Batched}
	s.units++
	share := &unit{left: n}
	for i := range n {
		in := s.queue[i].Input
		s.queue[i] = queued{}
		g.inputs = append(g.inputs, in)
		s.handed = append(s.handed, &handed{key: in.Key, began: now, unit: share})
	}
	s.queue = s.queue[n:]
	if s.cfg.Timeout > 0 {
		s.limits.arm(now.Add(s.cfg.Timeout), s.checkLimits)
	}
	return g, true
}

// unit is a slot that inputs have together.
type unit struct{ left int }

// freeUnit gives an input's part of its slot back. The caller holds mu.
func (s *Session) freeUnit(h *handed) {
	if h.unit == nil {
		return
	}
	if h.unit.left--; h.unit.left == 0 {
		s.units--
		s.kick(s.feed)
	}
}

// sendGroups hands over as many groups as the runner has slots for. The caller holds writeMu.
func (s *Session) sendGroups(ctx context.Context) error {
	for {
		g, ok := s.nextGroup()
		if !ok {
			return nil
		}
		if err := s.sendGroup(ctx, g); err != nil {
			return err
		}
	}
}

// sendGroup writes a group. Blobs are opened before: an input whose arguments are gone fails by itself and is left out.
func (s *Session) sendGroup(ctx context.Context, g group) error {
	bodies := make([]io.ReadCloser, 0, len(g.inputs))
	defer func() {
		for _, b := range bodies {
			if b != nil {
				_ = b.Close() // read only
			}
		}
	}()
	there := g.inputs[:0]
	for _, in := range g.inputs {
		body, err := s.openArgs(ctx, &in)
		if refused := (*refusedBlobError)(nil); errors.As(err, &refused) {
			if err := s.refuse(in.Key, refused); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		there, bodies = append(there, in), append(bodies, body)
	}
	if len(there) == 0 {
		return nil
	}
	s.out = s.out[:0]
	if g.batched {
		m, err := json.Marshal(wire.BatchMeta{Count: len(there)})
		if err != nil {
			return err
		}
		s.out = wire.AppendFrame(s.out, wire.Frame{Kind: wire.Batch, Meta: m})
	}
	for i := range there {
		if err := s.appendInput(&there[i], bodies[i]); err != nil {
			return err
		}
	}
	return s.write(s.out)
}

// openArgs opens the arguments that are a blob; nil where they are not.
func (s *Session) openArgs(ctx context.Context, in *container.Input) (io.ReadCloser, error) {
	if in.Args.Blob == nil {
		return nil, nil //nolint:nilnil // documented
	}
	return s.openBlob(ctx, *in.Args.Blob)
}

// appendInput appends an input to what is to be written, or writes it where it is large.
func (s *Session) appendInput(in *container.Input, body io.Reader) error {
	if body == nil || in.Args.Blob == nil {
		m, err := inputMeta(in, 0)
		if err != nil {
			return err
		}
		s.out = wire.AppendFrame(s.out, wire.Frame{Kind: wire.Input, Meta: m, Data: in.Args.Inline})
		return nil
	}
	m, err := inputMeta(in, in.Args.Blob.Size)
	if err != nil {
		return err
	}
	s.out = wire.AppendFrame(s.out, wire.Frame{Kind: wire.Input, Meta: m})
	if err := s.write(s.out); err != nil {
		return err
	}
	s.out = s.out[:0]
	return s.sendBlob(body, in.Args.Blob.Size)
}

// checkWide has inputs cancelled that have run too long, and gives up those that don't end within CancelGrace. The caller holds mu.
func (s *Session) checkWide(now time.Time) {
	var outputs []container.Output
	for _, h := range s.handed {
		if h.dead {
			continue
		}
		if s.cfg.Timeout > 0 && h.cancelled.IsZero() {
			if end := h.began.Add(s.cfg.Timeout); now.Before(end) {
				s.limits.arm(end, s.checkLimits)
				continue
			}
			h.cancelled, h.timedOut = now, true
			s.kick(s.feed) // which writes the frame and signals
		}
		if h.cancelled.IsZero() {
			continue
		}
		if end := h.cancelled.Add(s.cfg.CancelGrace); now.Before(end) {
			s.limits.arm(end, s.checkLimits)
			continue
		}
		h.dead = true
		outputs = append(outputs, container.Output{Key: h.key, Result: s.ended(h), Elapsed: now.Sub(h.began)})
	}
	if len(outputs) == 0 {
		return
	}
	s.over = true
	s.post(func() {
		s.events.Outputs(outputs)
		s.events.Ending(container.Overran)
	})
}

// ended is the result of an input that was cancelled, by whom it was.
func (s *Session) ended(h *handed) payload.Result {
	if h.timedOut {
		return payload.Failed(payload.TimedOut, fmt.Sprintf("input ran longer than its timeout of %v", s.cfg.Timeout))
	}
	return cancelled()
}

// Interrupt implements container.Runner.
func (s *Session) Interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.interrupt = true, true
	s.kick(s.feed)
}

// leaving takes the runner's word that it ends, interrupted: it answers for nothing more.
func (s *Session) leaving() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.pending = append(s.pending, func() { s.events.Ending(container.Leaving) })
	s.lastItems = nil
}

// readItem takes an item of a generator and leaves it to be delivered.
func (s *Session) readItem(ctx context.Context, frames *wire.FrameReader, f wire.Frame) error {
	var m wire.ItemMeta
	if err := json.Unmarshal(f.Meta, &m); err != nil {
		return invalid("item: %w", err)
	}
	key := payload.Key{CallID: m.Call, Index: m.Index}
	if !s.isHanded(key) {
		return notHanded("item", key)
	}
	p, err := s.readPayload(ctx, frames, wire.OutputMeta{Format: m.Format, BlobSize: m.BlobSize}, f.Data)
	if err != nil {
		return err
	}
	if p == nil {
		return invalid("item %d of input %.80q, %d: has no payload", m.Number, m.Call, m.Index)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.find(key)
	if h == nil { // it was refused while this came
		return notHanded("item", key)
	}
	if m.Number != h.items+1 {
		return invalid("item %d of input %.80q, %d: want number %d", m.Number, m.Call, m.Index, h.items+1)
	}
	h.items = m.Number
	if h.dead {
		return nil
	}
	if last := s.lastItems; last != nil && last.key == key {
		last.values = append(last.values, p)
		return nil
	}
	run := &itemRun{key: key, first: m.Number, values: []*payload.Payload{p}}
	s.lastItems = run
	s.pending = append(s.pending, func() { s.events.Items(run.key, run.first, run.values) })
	return nil
}

// itemRun is items of one input that have come one behind the other and are delivered together.
type itemRun struct {
	key    payload.Key
	first  uint64
	values []*payload.Payload
}

// readSlots takes the runner's wish for another number of inputs.
func (s *Session) readSlots(f wire.Frame) error {
	var m wire.SlotsMeta
	if err := json.Unmarshal(f.Meta, &m); err != nil {
		return invalid("slots: %w", err)
	}
	if m.Slots < 0 {
		return invalid("slots: %d", m.Slots)
	}
	m.Slots = min(m.Slots, s.cfg.Slots)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Slots > 0 {
		s.slots = m.Slots
	}
	s.pending = append(s.pending, func() { s.events.Slots(m.Slots) })
	s.kick(s.feed)
	return nil
}
