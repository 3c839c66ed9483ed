package call

import (
	"context"
	"errors"
	"log/slog"

	"github.com/skerry-dev/skerry/gateway/task"
)

// Deps are the parts a Service works with. All are required.
type Deps struct {
	Flow       Flow
	Records    Records
	Blobs      Blobs
	Dispatcher Dispatcher
	Clock      task.Clock
	Log        *slog.Logger
}

// Service runs calls. It is the Scheduler's Sink. Safe for concurrent use.
type Service struct{ d Deps }

// New returns a Service that does nothing until Run.
func New(d Deps) *Service { return &Service{d: d} }

// Run republishes what SQL calls pending, subscribes to all functions with inputs, and keeps calls going until ctx ends.
func (s *Service) Run(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// Get describes a call, or returns a fault.NotFound.
func (s *Service) Get(ctx context.Context, callID string) (State, error) {
	return State{}, errors.ErrUnsupported
}

// Cancel cancels a call's unfinished inputs.
func (s *Service) Cancel(ctx context.Context, callID string, terminate bool) error {
	return errors.ErrUnsupported
}

// StopApp cancels the app's unfinished inputs and stops its containers.
func (s *Service) StopApp(ctx context.Context, appID string) error { return errors.ErrUnsupported }

// NewSession begins a session.
func (s *Service) NewSession() *Session { return &Session{} }

// Session is one client's stream of inputs and outputs.
type Session struct{}

// Finished implements task.Sink.
func (s *Service) Finished(functionID string, outcomes []task.Outcome) {}
