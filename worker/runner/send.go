package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
)

// smallInput is the largest input that the reading goroutine writes itself. A runner that answers has an empty socket buffer, which
// holds this much, so the write doesn't wait.
const smallInput = 32 << 10

// sendStart sends Start, with the serialised function if there is one.
func (s *Session) sendStart(ctx context.Context) error {
	c := s.cfg
	meta := wire.StartMeta{
		Module: c.Module, Qualname: c.Qualname, AppID: c.AppID, AppName: c.AppName, FunctionID: c.FunctionID, FunctionName: c.FunctionName,
		FunctionIDs: c.FunctionIDs, Environment: c.Environment, ContainerID: c.ContainerID, HasSerialized: c.Serialized != nil,
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

// handOver writes what is due: the next input if the runner is free, or the cancellation of the running one.
func (s *Session) handOver(ctx context.Context) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := s.sendCancel(); err != nil {
		return err
	}
	in, ok := s.next(func(container.Input) bool { return true })
	if !ok {
		return nil
	}
	err := s.sendInput(ctx, in)
	if refused := (*refusedBlobError)(nil); errors.As(err, &refused) {
		return s.refuse(in.Key, refused)
	}
	return err
}

// handOverSmall is handOver for the goroutine that reads: it never waits. What it can't do it leaves to feedLoop.
func (s *Session) handOverSmall(ctx context.Context) error {
	if !s.writeMu.TryLock() {
		s.kick(s.feed)
		return nil
	}
	defer s.writeMu.Unlock()
	in, ok := s.next(func(in container.Input) bool { return in.Args.Blob == nil && len(in.Args.Inline) <= smallInput })
	if !ok {
		s.kick(s.feed)
		return nil
	}
	return s.sendInput(ctx, in)
}

// sendInput writes an input that next has taken. The caller holds writeMu.
func (s *Session) sendInput(ctx context.Context, in container.Input) error {
	err := s.sendPayload(ctx, wire.Input, in.Args, func(blobSize uint64) ([]byte, error) {
		return json.Marshal(wire.InputMeta{Call: in.Key.CallID, Index: in.Key.Index, Format: in.Args.Format, BlobSize: blobSize})
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.running; r != nil && r.key == in.Key {
		r.written = true
		if !r.cancelled.IsZero() {
			s.kick(s.feed)
		}
	}
	return nil
}

// sendCancel writes Cancel for the running input if it was cancelled, once, and interrupts the runner. It waits until all of the input
// is written, for feedLoop writes both. The caller holds writeMu.
func (s *Session) sendCancel() error {
	s.mu.Lock()
	r := s.running
	due := r != nil && r.written && !r.cancelled.IsZero() && !r.told && !r.dead
	var meta wire.CancelMeta
	if due {
		meta = wire.CancelMeta{Call: r.key.CallID, Index: r.key.Index}
		r.told = true
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	s.out = wire.AppendFrame(s.out[:0], wire.Frame{Kind: wire.Cancel, Meta: b})
	if _, err := s.conn.Write(s.out); err != nil {
		return fmt.Errorf("write to the runner: %w", err)
	}
	if s.cfg.Signal == nil {
		return nil
	}
	// Without the signal the input goes on until CancelGrace is over, and the container is killed: no failure of the session.
	_ = s.cfg.Signal(interrupt)
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
	r, err := s.blobs.Open(ctx, *p.Blob)
	if err != nil {
		err = fmt.Errorf("open blob %s: %w", p.Blob.Digest, err)
		if errors.Is(err, fault.NotFound) || errors.Is(err, fault.DataLoss) {
			return &refusedBlobError{err}
		}
		return err
	}
	defer func() { _ = r.Close() }() // read only
	s.out = wire.AppendFrame(s.out[:0], wire.Frame{Kind: k, Meta: m})
	if err := s.write(s.out); err != nil {
		return err
	}
	return s.sendBlob(r, size)
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
	r, ok := s.take(k)
	if !ok || r.dead {
		return nil
	}
	result := payload.Failed(payload.InternalFailure, "the input's arguments are gone: "+err.Error())
	output := container.Output{Key: k, Result: result, Elapsed: time.Since(r.at)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.post(func() { s.events.Outputs([]container.Output{output}) })
	s.kick(s.feed)
	return nil
}
