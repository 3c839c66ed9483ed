package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
)

// readLoop takes the runner's frames until the connection ends. It returns nil when that happened between two frames.
func (s *Session) readLoop(ctx context.Context) error {
	frames := wire.NewFrameReader(s.conn)
	if err := s.readStart(frames); err != nil {
		return endOf(ctx, err)
	}
	for {
		err := s.readBatch(ctx, frames)
		if err != nil {
			return endOf(ctx, err)
		}
		// The runner gets its next inputs before anybody hears of these outputs.
		err = s.handOverSmall(ctx)
		s.deliver()
		if err != nil {
			return endOf(ctx, err)
		}
	}
}

// readBatch takes a frame and those that have come with it, and leaves their outputs to be delivered, also before an error.
func (s *Session) readBatch(ctx context.Context, frames *wire.FrameReader) error {
	var outputs []container.Output
	defer func() { s.progress(outputs) }()
	for {
		f, err := frames.Next()
		if err != nil {
			return err
		}
		switch f.Kind {
		case wire.Output:
			o, given, err := s.readOutput(ctx, frames, f)
			if err != nil {
				return err
			}
			if given {
				outputs = append(outputs, o)
			}
		case wire.Item:
			if err := s.readItem(ctx, frames, f); err != nil {
				return err
			}
		case wire.Slots:
			if err := s.readSlots(f); err != nil {
				return err
			}
		case wire.Leaving:
			s.leaving()
		case wire.Withdrawn:
			if err := s.readWithdrawn(f); err != nil {
				return err
			}
		default:
			return fault.New(fault.Invalid, "frame of kind %d: want an output", f.Kind)
		}
		if !frames.Buffered() {
			return nil
		}
	}
}

// endOf turns the end of the connection into nil, and into the context's cause where Run closed it.
func endOf(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	if errors.Is(err, syscall.ECONNRESET) {
		return nil // the runner's process ended without reading all that we sent
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("read from the runner: %w", err)
}

// readStart takes the answer to Start.
func (s *Session) readStart(frames *wire.FrameReader) error {
	f, err := frames.Next()
	if err != nil {
		return err
	}
	switch f.Kind {
	case wire.Ready:
		s.eventMu.Lock()
		s.events.Ready()
		s.eventMu.Unlock()
		s.mu.Lock()
		s.ready = true
		s.mu.Unlock()
		s.kick(s.feed)
		return nil
	case wire.StartFailed:
		var m wire.StartFailedMeta
		if err := json.Unmarshal(f.Meta, &m); err != nil {
			return fault.New(fault.Invalid, "start failed: %w", err)
		}
		e := remoteError(&m.Error)
		if m.Format == payload.Pickle && len(f.Data) > 0 && len(f.Data) <= payload.MaxInline {
			e.Exception = &payload.Payload{Format: m.Format, Inline: f.Data}
		}
		s.eventMu.Lock()
		s.events.StartFailed(*e)
		s.eventMu.Unlock()
		_, err := frames.Next()
		if err == nil {
			err = fault.New(fault.Invalid, "the runner goes on after its start failed")
		}
		return err
	default:
		return fault.New(fault.Invalid, "frame of kind %d: want ready or start failed", f.Kind)
	}
}

// readOutput takes one Output frame with the data that belongs to it. Given is false for the answer of an input whose output has been
// given already.
func (s *Session) readOutput(ctx context.Context, frames *wire.FrameReader, f wire.Frame) (o container.Output, given bool, err error) {
	m, err := wire.ParseOutput(f.Meta)
	if err != nil {
		return o, false, fault.New(fault.Invalid, "output: %w", err)
	}
	o.Key = payload.Key{CallID: m.Call, Index: m.Index}
	if !s.isHanded(o.Key) {
		return o, false, notHanded("output", o.Key)
	}
	p, err := s.readPayload(ctx, frames, m, f.Data)
	if err != nil {
		return o, false, err
	}
	if o.Result, err = result(m, p); err != nil {
		return o, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.handed) > 0 && s.handed[0].key == o.Key {
		s.moved, s.slow = true, false
	}
	h := s.take(o.Key)
	if h == nil { // it was refused while this came: the runner has never seen it
		return o, false, notHanded("output", o.Key)
	}
	if o.Result.Generated && o.Result.Items != h.items {
		return o, false, invalid("output of input %.80q, %d: counts %d items, but there were %d", m.Call, m.Index, o.Result.Items, h.items)
	}
	if o.Result.Status == payload.Cancelled && h.timedOut {
		o.Result = s.ended(h)
	}
	o.Elapsed = time.Duration(min(m.ElapsedUS, uint64(maxElapsed/time.Microsecond))) * time.Microsecond //nolint:gosec // bounded
	if s.wide() {
		if ran := time.Since(h.began); o.Elapsed == 0 || o.Elapsed > ran {
			o.Elapsed = ran
		}
	}
	return o, !h.dead, nil
}

// maxElapsed bounds what a runner may say, so that it can be reckoned with.
const maxElapsed = 10 * 365 * 24 * time.Hour

func (s *Session) isHanded(k payload.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(k) != nil
}

// readWithdrawn takes the runner's answer to Withdraw: it will not run these inputs.
func (s *Session) readWithdrawn(f wire.Frame) error {
	var m wire.WithdrawnMeta
	if err := json.Unmarshal(f.Meta, &m); err != nil {
		return fault.New(fault.Invalid, "withdrawn: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.withdrawal != withdrawalAsked {
		return fault.New(fault.Invalid, "withdrawn: the runner was not asked")
	}
	s.withdrawal, s.slow = noWithdrawal, true
	var keys []payload.Key
	var outputs []container.Output
	var unknown error
	for _, in := range m.Inputs {
		k := payload.Key{CallID: in.Call, Index: in.Index}
		h := s.take(k)
		switch {
		case h == nil:
			unknown = fault.New(fault.Invalid, "withdrawn: input %.80q, %d, which it does not have", in.Call, in.Index)
		case h.dead:
		case !h.cancelled.IsZero():
			outputs = append(outputs, container.Output{Key: k, Result: cancelled()})
		default:
			keys = append(keys, k)
		}
	}
	if len(outputs) > 0 {
		s.pending = append(s.pending, func() { s.events.Outputs(outputs) })
	}
	if len(keys) > 0 {
		s.pending = append(s.pending, func() { s.events.Returned(keys) })
	}
	return unknown
}

func notHanded(what string, k payload.Key) error {
	return invalid("%s of input %.80q, %d, which it does not have", what, k.CallID, k.Index)
}

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// result makes a result of what an output says.
func result(m wire.OutputMeta, p *payload.Payload) (payload.Result, error) {
	switch {
	case m.Status == payload.Success && m.Error == nil && p != nil && m.Items == nil:
		return payload.Result{Status: m.Status, Value: p}, nil
	case m.Status == payload.Success && m.Error == nil && p == nil && m.Items != nil:
		return payload.Result{Status: m.Status, Generated: true, Items: *m.Items}, nil
	case (m.Status == payload.Failure || m.Status == payload.Cancelled) && m.Error != nil:
		e := remoteError(m.Error)
		e.Exception = p
		return payload.Result{Status: m.Status, Error: e}, nil
	default:
		return payload.Result{}, fault.New(fault.Invalid, "output of status %d: its value, error and format don't fit", m.Status)
	}
}

// readPayload takes an output's payload: the frame's own data, or a blob from the frames that follow. Nil if there is none.
func (s *Session) readPayload(ctx context.Context, frames *wire.FrameReader, m wire.OutputMeta, data []byte) (*payload.Payload, error) {
	switch {
	case m.Format == 0 && m.BlobSize == 0 && len(data) == 0:
		return nil, nil //nolint:nilnil // documented: no payload is no error
	case m.Format != payload.Pickle && m.Format != payload.CBOR:
		return nil, fault.New(fault.Invalid, "output: unknown format %d", m.Format)
	case m.BlobSize == 0 && len(data) <= payload.MaxInline:
		return &payload.Payload{Format: m.Format, Inline: data}, nil
	case m.BlobSize == 0 || len(data) > 0 || m.BlobSize > payload.MaxSize:
		return nil, fault.New(fault.Invalid, "output: %d bytes inline and %d as a blob are over the limits", len(data), m.BlobSize)
	}
	ref, err := s.readBlob(ctx, frames, m.BlobSize)
	if err != nil {
		return nil, err
	}
	return &payload.Payload{Format: m.Format, Blob: &ref}, nil
}

// readBlob stores the OutputData frames that follow.
func (s *Session) readBlob(ctx context.Context, frames *wire.FrameReader, size uint64) (payload.Ref, error) {
	w, err := s.blobs.Create(ctx)
	if err != nil {
		return payload.Ref{}, fmt.Errorf("store the output: %w", err)
	}
	for size > 0 {
		f, err := frames.Next()
		if err == nil && (f.Kind != wire.OutputData || len(f.Data) == 0 || uint64(len(f.Data)) > size) {
			err = fault.New(fault.Invalid, "frame of kind %d with %d bytes: want output data of at most %d", f.Kind, len(f.Data), size)
		}
		if err == nil {
			if _, err = w.Write(f.Data); err != nil {
				err = fmt.Errorf("store the output: %w", err)
			}
		}
		if err != nil {
			w.Abort()
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return payload.Ref{}, err
		}
		size -= uint64(len(f.Data))
	}
	ref, err := w.Commit()
	if err != nil {
		return payload.Ref{}, fmt.Errorf("store the output: %w", err)
	}
	return ref, nil
}

// remoteError takes an error as far as its texts are within the limits and valid UTF-8, which messages require.
func remoteError(m *wire.ErrorMeta) *payload.RemoteError {
	return &payload.RemoteError{Type: clip(m.Type, 1<<10), Message: clip(m.Message, wire.MaxErrorText), Traceback: clip(m.Traceback, wire.MaxErrorText)}
}

// clip returns at most so many bytes of s, whole characters alone: what JSON gives is valid.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
