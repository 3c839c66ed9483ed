// Package runner is the host's end of the runner protocol (docs/runner-protocol.md): it feeds inputs to the language runner inside one
// container and takes their outcomes.
package runner

import (
	"context"
	"net"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// Defaults of a Config.
const (
	// DefaultCancelGrace is how long a running input may take to end after it was cancelled.
	DefaultCancelGrace = time.Second
	// DefaultReturnAfter is how long an input waits behind a running one before it is given back.
	DefaultReturnAfter = 20 * time.Millisecond
)

// Config says what the runner is to load and how inputs are run.
type Config struct {
	ContainerID, Environment string
	AppID, AppName           string
	FunctionID, FunctionName string
	FunctionIDs              map[string]string // the app's functions by name
	Module, Qualname         string
	Serialized               *payload.Payload // the pickled function, or nil to import Module

	// Timeout bounds how long one input runs; 0 means no limit.
	Timeout time.Duration
	// Signal signals the runner's process, so that a cancelled input is interrupted. Called from Run's goroutines.
	Signal func(sig int) error
	// CancelGrace and ReturnAfter default to the constants above.
	CancelGrace, ReturnAfter time.Duration
}

// Session speaks with one runner. Its methods but Run are safe for concurrent use and do not block.
type Session struct{}

var _ container.Runner = (*Session)(nil)

// New returns a session on a connection that a runner dialled. It does nothing before Run; Run closes conn.
func New(conn net.Conn, cfg Config, blobs container.Blobs, events container.RunnerEvents) *Session {
	return &Session{}
}

// Submit queues inputs.
func (s *Session) Submit(inputs []container.Input) {}

// Cancel cancels queued and running inputs.
func (s *Session) Cancel(keys []payload.Key) {}

// TakeQueued removes and returns inputs that have not begun.
func (s *Session) TakeQueued() []payload.Key { return nil }

// Running returns the inputs that have begun and have no output.
func (s *Session) Running() []payload.Key { return nil }

// Run speaks with the runner until ctx or the connection ends.
func (s *Session) Run(ctx context.Context) error { return ctx.Err() }
