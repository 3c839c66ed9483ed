// Package workerlink is the gateway's end of the links that workers dial: it takes the connection over, asks the worker what it is, and
// starts containers on it for gateway/task.
package workerlink

import (
	"context"
	"log/slog"
	"net/http"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/task"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
)

// Path is where workers ask for a link.
const Path = "/skerry.worker.v1/link"

// Hub keeps the links. It is the http.Handler of Path, behind the authentication of workers.
type Hub struct{}

// New returns a Hub that joins workers to the scheduler.
func New(s *task.Scheduler, log *slog.Logger) *Hub { return &Hub{} }

// ServeHTTP takes the connection over and returns when the link has ended.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Close ends all links and waits for them.
func (h *Hub) Close() error { return nil }

// ExecStream is a command in a container.
type ExecStream = connect.BidiStreamForClient[workerv1.ExecRequest, workerv1.ExecResponse]

// Exec opens a stream for a command on a worker, or returns a fault.NotFound if the worker is gone.
func (h *Hub) Exec(ctx context.Context, workerID string) (*ExecStream, error) { return nil, nil }
