package workerlink

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
)

// Exec is a command in a container on a linked worker. One goroutine may send while another receives.
type Exec struct {
	stream *connect.BidiStreamForClient[workerv1.ExecRequest, workerv1.ExecResponse]
}

// Exec opens a stream for a command on a worker, which ends with ctx, or returns a fault.NotFound if the worker is gone.
func (h *Hub) Exec(ctx context.Context, workerID string) (*Exec, error) {
	h.mu.Lock()
	w := h.links[workerID]
	h.mu.Unlock()
	if w == nil {
		return nil, fault.New(fault.NotFound, "worker %q: is not connected", workerID)
	}
	return &Exec{w.rpc.Exec(ctx)}, nil
}

// Send sends a frame; io.EOF says that the command has ended.
func (e *Exec) Send(frame *skerryv1.ExecRequest) error {
	err := e.stream.Send(&workerv1.ExecRequest{Frame: frame})
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.FromConnect(err)
	}
	return err
}

// CloseSend says that no more frames come.
func (e *Exec) CloseSend() error { return e.stream.CloseRequest() }

// Receive returns the next frame, io.EOF at the end, or a fault.
func (e *Exec) Receive() (*skerryv1.ExecResponse, error) {
	m, err := e.stream.Receive()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fault.FromConnect(err)
	}
	return m.GetFrame(), nil
}
