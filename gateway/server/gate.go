package server

import (
	"context"
	"net/http"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

var errStopping = fault.New(fault.Unavailable, "the gateway is stopping; try again")

// gate lets requests through until it is closed, and then ends those under way, sessions that would go on for ever among them: their
// clients come again to the next gateway.
type gate struct {
	ctx    context.Context //nolint:containedctx // its end is the gate's
	cancel context.CancelCauseFunc
}

func newGate() *gate {
	g := &gate{}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	return g
}

func (g *gate) close() { g.cancel(errStopping) }

func (g *gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		ended := make(chan struct{})
		stop := context.AfterFunc(g.ctx, func() {
			defer close(ended)
			cancel(errStopping)
			// A handler that reads its client's stream doesn't see ctx.
			_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // a connection that has ended needs none
		})
		defer func() {
			if !stop() {
				<-ended // w must not be used once this handler has returned
			}
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
