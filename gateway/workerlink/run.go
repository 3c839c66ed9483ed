package workerlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/task"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

// StopTimeout is how long a worker may take to end a container that it was told to stop at once; past it the container counts as lost.
const StopTimeout = 45 * time.Second

type runStream = connect.BidiStreamForClient[workerv1.RunContainerRequest, workerv1.RunContainerResponse]

// run is one container's stream. Its methods queue what is to be sent; one goroutine sends, all that is queued in one frame.
type run struct {
	spec   *task.Spec
	events task.Events
	log    *slog.Logger

	mu    sync.Mutex
	next  *workerv1.RunContainerRequest // what goes out next; nil: nothing
	timer *time.Timer                   // of StopTimeout, once armed
	wake  chan struct{}                 // holds a token while next is set

	expired chan struct{} // closed by timer
}

var _ task.Handle = (*run)(nil)

// newRun returns a run in an environment of the name.
func newRun(spec *task.Spec, environment string, events task.Events, log *slog.Logger) *run {
	r := &run{spec: spec, events: events, log: log, wake: make(chan struct{}, 1), expired: make(chan struct{})}
	r.queue(func(m *workerv1.RunContainerRequest) { m.Start = startToProto(spec, environment) })
	return r
}

// queue changes the next frame and has it sent.
func (r *run) queue(change func(*workerv1.RunContainerRequest)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &workerv1.RunContainerRequest{}
	}
	change(r.next)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *run) take() *workerv1.RunContainerRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.next
	r.next = nil
	return m
}

// Send implements task.Handle.
func (r *run) Send(inputs []*task.Input) {
	r.queue(func(m *workerv1.RunContainerRequest) {
		for _, in := range inputs {
			m.Inputs = append(m.Inputs, inputToProto(in))
		}
	})
}

// Cancel implements task.Handle.
func (r *run) Cancel(keys []payload.Key) {
	r.queue(func(m *workerv1.RunContainerRequest) { m.Cancels = append(m.Cancels, wire.KeysToProto(keys)...) })
}

// Stop implements task.Handle.
func (r *run) Stop(graceful bool) {
	r.queue(func(m *workerv1.RunContainerRequest) {
		// A stop at once is not softened by a graceful one behind it in the same frame.
		m.Stop = &workerv1.StopContainer{Graceful: graceful && (m.Stop == nil || m.Stop.GetGraceful())}
		if !graceful && r.timer == nil {
			r.timer = time.AfterFunc(StopTimeout, func() { close(r.expired) })
		}
	})
}

// serve runs the stream to its end and says Exited. Usable says whether the link is.
func (r *run) serve(ctx context.Context, rpc workerv1connect.WorkerServiceClient, usable func() bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	stream := rpc.RunContainer(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { r.send(ctx, cancel, stream) })
	exit, err := r.receive(stream)
	if err != nil {
		exit = r.lost(ctx, err)
		exit.Unlinked = !usable()
	}
	cancel(errEnded)
	sender.Wait()
	if cerr := stream.CloseResponse(); cerr != nil && err == nil {
		r.log.Debug("container stream closed badly", "container", r.spec.ContainerID, "error", cerr)
	}
	r.mu.Lock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.mu.Unlock()
	r.events.Exited(exit)
}

// send carries queued frames out until ctx ends. A failed send ends the stream; the receiving side says what happened.
func (r *run) send(ctx context.Context, cancel context.CancelCauseFunc, stream *runStream) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.expired:
			cancel(fmt.Errorf("the worker did not stop it within %s", StopTimeout))
			return
		case <-r.wake:
		}
		m := r.take()
		if m == nil {
			continue
		}
		if err := stream.Send(m); err != nil {
			if !errors.Is(err, io.EOF) { // EOF: the worker has ended the stream, and receive reads why
				cancel(err)
			}
			return
		}
	}
}

// receive hands events on until the container has exited. It returns an error where the stream ended without saying how.
func (r *run) receive(stream *runStream) (task.Exit, error) {
	for {
		m, err := stream.Receive()
		if err != nil {
			return task.Exit{}, err
		}
		switch e := m.GetEvent().(type) {
		case *workerv1.RunContainerResponse_Ready:
			r.events.Ready(phasesFromProto(e.Ready.GetPhases()))
		case *workerv1.RunContainerResponse_Outputs:
			outputs, err := outputsFromProto(e.Outputs.GetOutputs())
			if err != nil {
				return task.Exit{}, err
			}
			r.events.Outputs(outputs)
		case *workerv1.RunContainerResponse_Returned:
			keys, err := wire.KeysFromProto(e.Returned.GetKeys())
			if err != nil {
				return task.Exit{}, err
			}
			r.events.Returned(keys)
		case *workerv1.RunContainerResponse_Items:
			if err := r.items(e.Items.GetItems()); err != nil {
				return task.Exit{}, err
			}
		case *workerv1.RunContainerResponse_Slots:
			r.events.Slots(int(e.Slots.GetSlots()))
		case *workerv1.RunContainerResponse_Exited:
			return exitFromProto(e.Exited)
		default:
			return task.Exit{}, fmt.Errorf("container %q: the worker sent an event of an unknown kind", r.spec.ContainerID)
		}
	}
}

// items hands items of generators on.
func (r *run) items(messages []*skerryv1.Items) error {
	for _, m := range messages {
		key := payload.Key{CallID: m.GetCallId(), Index: m.GetIndex()}
		values := make([]*payload.Payload, len(m.GetValues()))
		for i, v := range m.GetValues() {
			p, err := wire.PayloadFromProto(v)
			if err != nil {
				return fmt.Errorf("item %d of call %q: %w", m.GetFirst()+uint64(i), key.CallID, err) //nolint:gosec // a position
			}
			values[i] = p
		}
		r.events.Items(key, m.GetFirst(), values)
	}
	return nil
}

// lost is the exit of a container whose stream ended without one.
func (r *run) lost(ctx context.Context, err error) task.Exit {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return task.Exit{Reason: task.Lost, Message: err.Error(), Everything: true}
}
