package logs_test

import (
	"log/slog"
	"testing"

	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/internal/ident"
)

// TestSandboxOutlivesGateway has frames come again to the next gateway.
func TestSandboxOutlivesGateway(t *testing.T) {
	w := world{make(chan struct{})}
	stream := &memory{more: make(chan struct{})}
	deps := logs.Deps{Stream: stream, Containers: w, Apps: w, Calls: w, Log: slog.New(slog.DiscardHandler)}
	id := ident.New(ident.Sandbox)
	push(t, logs.New(deps), frame(id, 1, false, "one\n"), frame(id, 2, false, "two\n"))
	push(t, logs.New(deps), frame(id, 2, false, "two\n"), frame(id, 3, true, "three\n"))
	if len(stream.entries) != 3 {
		t.Errorf("stored %d entries", len(stream.entries))
	}
}
