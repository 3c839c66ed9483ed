package task

import (
	"context"
	"errors"
	"log/slog"

	"github.com/skerry-dev/skerry/gateway/fleet"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Deps are the parts a Scheduler works with. All are required but Notices.
type Deps struct {
	Functions Functions
	Images    Images
	Secrets   Secrets
	Fleet     *fleet.Fleet
	Notices   Notices
	Clock     Clock
	Log       *slog.Logger
}

// Scheduler runs inputs. Safe for concurrent use.
type Scheduler struct{ d Deps }

// Container is one container.
type Container struct{}

// New returns a Scheduler; SetSink is to be called before the first Offer.
func New(d Deps) *Scheduler { return &Scheduler{d: d} }

// SetSink says where outcomes go.
func (s *Scheduler) SetSink(sink Sink) {}

// Run keeps containers as wanted until ctx ends, then stops them and waits for their end.
func (s *Scheduler) Run(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

// Join adds a connected worker; leave is called when its link has ended, after the Exited of all its containers.
func (s *Scheduler) Join(info fleet.Worker, w Worker) (leave func(), err error) {
	return nil, errors.ErrUnsupported
}

// Published says that functions have a new current version: min_containers are started at once, containers of older versions drain.
func (s *Scheduler) Published(ctx context.Context, fns []*function.Function) error {
	return errors.ErrUnsupported
}

// StopApp stops an app's containers and refuses its functions from here on. Inputs are cancelled by call.Service.StopApp, which calls this.
func (s *Scheduler) StopApp(ctx context.Context, appID string) error { return errors.ErrUnsupported }

// CountByApp counts an app's work.
func (s *Scheduler) CountByApp(appID string) Counts { return Counts{} }

// CountByFunction counts a function's work.
func (s *Scheduler) CountByFunction(functionID string) Counts { return Counts{} }

// List returns containers that start or run, newest first; of one app or (appID empty) all.
func (s *Scheduler) List(appID string) []Info { return nil }

// Stop stops a container, or returns a fault.NotFound.
func (s *Scheduler) Stop(ctx context.Context, containerID string, graceful bool) error {
	return errors.ErrUnsupported
}

// Identify says whose a container is, or was within the last minutes.
func (s *Scheduler) Identify(containerID string) (Identity, bool) { return Identity{}, false }

// AppDone returns a channel that is closed once no container of the app starts or runs.
func (s *Scheduler) AppDone(appID string) <-chan struct{} { return nil }

// WorkerOf returns the id of the worker a container is on, or a fault.NotFound.
func (s *Scheduler) WorkerOf(containerID string) (string, error) { return "", errors.ErrUnsupported }

// Function returns a function that inputs may be sent to, or a fault.NotFound.
func (s *Scheduler) Function(ctx context.Context, id string) (*function.Function, error) {
	return nil, errors.ErrUnsupported
}

// Offer hands an input over; it blocks while the function's queue is full, until ctx ends.
func (s *Scheduler) Offer(ctx context.Context, functionID string, in *Input) error {
	return errors.ErrUnsupported
}

// Cancel cancels inputs.
func (s *Scheduler) Cancel(functionID string, keys []payload.Key) {}

// Terminate stops the containers that run inputs of a call.
func (s *Scheduler) Terminate(callID string) {}
