package workerlink

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/link"
)

var _ task.Worker = (*worker)(nil)

// worker is one linked worker. It starts containers until end.
type worker struct {
	rpc    workerv1connect.WorkerServiceClient
	log    *slog.Logger
	client *link.Client
	token  string // id of the one it has joined with

	environmentName func(id string) string

	ctx    context.Context //nolint:containedctx // the link's life, which is that of every container on it
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	ended bool
	runs  sync.WaitGroup
}

func newWorker(ctx context.Context, rpc workerv1connect.WorkerServiceClient, environmentName func(id string) string, log *slog.Logger) *worker {
	w := &worker{rpc: rpc, environmentName: environmentName, log: log}
	w.ctx, w.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return w
}

var errEnded = errors.New("the worker's link has ended")

// Start implements task.Worker.
func (w *worker) Start(spec *task.Spec, events task.Events) task.Handle {
	r := newRun(spec, w.environmentName(spec.Function.Environment), events, w.log)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		// Exited must not come from inside Start: the scheduler has no handle yet.
		go events.Exited(task.Exit{Reason: task.Lost, Message: errEnded.Error(), Everything: true, Unlinked: true})
		return r
	}
	w.runs.Go(func() { r.serve(w.ctx, w.rpc, w.client.Usable) })
	return r
}

// end stops all runs and waits until each has said Exited.
func (w *worker) end(cause error) {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.cancel(cause)
	w.runs.Wait()
}
