// Package jetstream keeps the gateway's flow in NATS JetStream: inputs, outputs and logs. It is the only package that imports NATS.
package jetstream

import (
	"context"
	"errors"
	"log/slog"
)

// Config says where the flow is kept.
type Config struct {
	Dir        string // of the embedded server's files
	SyncAlways bool   // sync every message instead of every 100 ms
}

// Engine is an open flow: an embedded server and a connection to it. It implements call.Flow; Logs returns the logs.
type Engine struct{}

// Open starts the embedded server and makes the streams.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Engine, error) {
	return nil, errors.ErrUnsupported
}

// Close stops the server in good order; call it after everything that uses the Engine.
func (e *Engine) Close() error { return nil }

// Logs is what containers write; it implements logs.Stream.
type Logs struct{ e *Engine }

// Logs returns the logs of the engine.
func (e *Engine) Logs() *Logs { return &Logs{e} }
