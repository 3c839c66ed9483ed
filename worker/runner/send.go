package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
)

// sendStart sends Start, with the serialised function if there is one.
func (s *Session) sendStart(ctx context.Context) error {
	c := s.cfg
	meta := wire.StartMeta{
		Module: c.Module, Qualname: c.Qualname, AppID: c.AppID, AppName: c.AppName, FunctionID: c.FunctionID, FunctionName: c.FunctionName,
		FunctionIDs: c.FunctionIDs, Environment: c.Environment, ContainerID: c.ContainerID, HasSerialized: c.Serialized != nil,
		Class: classMeta(c.Class), Generator: c.Generator, MaxInputs: c.Slots, Batched: c.Batched, ModalNames: c.ModalNames,
		Interactive: c.Interactive,
	}
	if meta.FunctionIDs == nil {
		meta.FunctionIDs = map[string]string{}
	}
	p := payload.Payload{}
	if c.Serialized != nil {
		p = *c.Serialized
	}
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return s.sendPayload(ctx, wire.Start, p, func(blobSize uint64) ([]byte, error) {
		meta.BlobSize = blobSize
		return json.Marshal(meta)
	})
}

func classMeta(c *container.Class) *wire.ClassMeta {
	if c == nil {
		return nil
	}
	m := &wire.ClassMeta{Methods: []wire.MethodMeta{}, Parameters: []wire.ParameterMeta{}, Constructor: c.Constructor}
	if m.Constructor == nil {
		m.Constructor = []byte{} // "" in JSON, not null
	}
	for _, method := range c.Methods {
		m.Methods = append(m.Methods, wire.MethodMeta(method))
	}
	for _, p := range c.Parameters {
		m.Parameters = append(m.Parameters, wire.ParameterMeta(p))
	}
	return m
}

// handOver writes what is due: what the runner is to know of inputs that it has, and the next inputs.
func (s *Session) handOver(ctx context.Context) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.sendControl(); err != nil {
		return err
	}
	if s.wide() {
		return s.sendGroups(ctx)
	}
	return s.sendInputs(ctx, s.next(false))
}

// handOverSmall is handOver for the goroutine that reads: it never waits. What it can't do it leaves to feedLoop.
func (s *Session) handOverSmall(ctx context.Context) error {
	if s.wide() {
		return nil // what frees a slot kicks feedLoop
	}
	if !s.writeMu.TryLock() {
		s.kick(s.feed)
		return nil
	}
	defer s.writeMu.Unlock()
	batch := s.next(true)
	if len(batch) == 0 {
		s.kick(s.feed)
	}
	return s.sendInputs(ctx, batch)
}

// sendInputs writes inputs that next has taken: several, which are small, in one piece. The caller holds writeMu.
func (s *Session) sendInputs(ctx context.Context, batch []container.Input) error {
	if len(batch) == 0 {
		return nil
	}
	if len(batch) == 1 && batch[0].Args.Blob != nil {
		in := batch[0]
		err := s.sendPayload(ctx, wire.Input, in.Args, func(blobSize uint64) ([]byte, error) { return inputMeta(&in, blobSize) })
		if refused := (*refusedBlobError)(nil); errors.As(err, &refused) {
			return s.refuse(in.Key, refused)
		}
		return err
	}
	s.out = s.out[:0]
	for i := range batch {
		m, err := inputMeta(&batch[i], 0)
		if err != nil {
			return err
		}
		s.out = wire.AppendFrame(s.out, wire.Frame{Kind: wire.Input, Meta: m, Data: batch[i].Args.Inline})
	}
	return s.write(s.out)
}

func inputMeta(in *container.Input, blobSize uint64) ([]byte, error) {
	return json.Marshal(wire.InputMeta{Call: in.Key.CallID, Index: in.Key.Index, Format: in.Args.Format, Method: in.Method, BlobSize: blobSize})
}

// sendControl writes Cancel and Withdraw frames that are due, each once, and has the runner look. What they are about has been written
// before, for that happens under writeMu too, which the caller holds.
func (s *Session) sendControl() error {
	s.mu.Lock()
	var cancels []wire.CancelMeta
	for _, h := range s.handed {
		if !h.cancelled.IsZero() && !h.told && !h.dead {
			m := wire.CancelMeta{Call: h.key.CallID, Index: h.key.Index}
			if h.timedOut {
				m.Reason = reasonTimeout
			}
			cancels = append(cancels, m)
			h.told = true
		}
	}
	withdraw := s.withdrawal == withdrawalDue
	if withdraw {
		s.withdrawal = withdrawalAsked
	}
	interrupts := s.interrupt
	s.interrupt = false
	s.mu.Unlock()
	if len(cancels) == 0 && !withdraw && !interrupts {
		return nil
	}
	s.out = s.out[:0]
	for _, c := range cancels {
		m, err := json.Marshal(c)
		if err != nil {
			return err
		}
		s.out = wire.AppendFrame(s.out, wire.Frame{Kind: wire.Cancel, Meta: m})
	}
	if withdraw {
		s.out = wire.AppendFrame(s.out, wire.Frame{Kind: wire.Withdraw, Meta: []byte("{}")})
	}
	if interrupts {
		s.out = wire.AppendFrame(s.out, wire.Frame{Kind: wire.Stop, Meta: []byte(`{"interrupt":true}`)})
	}
	if err := s.write(s.out); err != nil {
		return err
	}
	if s.cfg.Signal != nil {
		// Without the signal a cancelled input goes on until CancelGrace is over, and the container is killed: no failure of the session.
		_ = s.cfg.Signal(interrupt)
	}
	return nil
}

// sendPayload writes a frame that carries a payload, in InputData frames where it is a blob. The caller holds writeMu.
func (s *Session) sendPayload(ctx context.Context, k wire.Kind, p payload.Payload, meta func(blobSize uint64) ([]byte, error)) error {
	var size uint64
	if p.Blob != nil {
		size = p.Blob.Size
	}
	m, err := meta(size)
	if err != nil {
		return err
	}
	if p.Blob == nil {
		s.out = wire.AppendFrame(s.out[:0], wire.Frame{Kind: k, Meta: m, Data: p.Inline})
		return s.write(s.out)
	}
	r, err := s.openBlob(ctx, *p.Blob)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // read only
	s.out = wire.AppendFrame(s.out[:0], wire.Frame{Kind: k, Meta: m})
	if err := s.write(s.out); err != nil {
		return err
	}
	return s.sendBlob(r, size)
}

// openBlob opens a blob; the error is a refusedBlobError where the store does not have it.
func (s *Session) openBlob(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	r, err := s.blobs.Open(ctx, ref)
	if err != nil {
		err = fmt.Errorf("open blob %s: %w", ref.Digest, err)
		if errors.Is(err, fault.NotFound) || errors.Is(err, fault.DataLoss) {
			return nil, &refusedBlobError{err}
		}
	}
	return r, err
}

// sendBlob writes size bytes of r as InputData frames.
func (s *Session) sendBlob(r io.Reader, size uint64) error {
	frame := make([]byte, 0, 16+min(size, wire.MaxData))
	for size > 0 {
		n := int(min(size, wire.MaxData)) //nolint:gosec // at most MaxData
		frame = wire.AppendHeader(frame[:0], wire.InputData, nil, n)
		head := len(frame)
		frame = frame[:head+n]
		if _, err := io.ReadFull(r, frame[head:]); err != nil {
			return fmt.Errorf("read the input's blob: %w", err)
		}
		if err := s.write(frame); err != nil {
			return err
		}
		size -= uint64(n)
	}
	return nil
}

func (s *Session) write(b []byte) error {
	if _, err := s.conn.Write(b); err != nil {
		return fmt.Errorf("write to the runner: %w", err)
	}
	return nil
}

// refusedBlobError is a blob that the store does not have: trying again would not help, and nothing of the input has been written.
type refusedBlobError struct{ error }

func (b *refusedBlobError) Unwrap() error { return b.error }

// refuse fails an input that could not be handed over. The caller holds writeMu.
func (s *Session) refuse(k payload.Key, err error) error {
	result := payload.Failed(payload.InternalFailure, "the input's arguments are gone: "+err.Error())
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.take(k); h == nil || h.dead {
		return nil
	}
	output := container.Output{Key: k, Result: result}
	s.post(func() { s.events.Outputs([]container.Output{output}) })
	s.kick(s.feed)
	return nil
}
