package link

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
)

// errEnded is the cause that requests end with whose link is ended by the side that serves it.
var errEnded = fault.New(fault.Unavailable, "the link has ended")

// Ended returns an interceptor for handlers that links serve: what the end of its link has cut short is fault.Unavailable for its peer, who has
// cancelled nothing and may ask again.
func Ended() connect.Interceptor { return ended{} }

type ended struct{}

func (ended) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		return res, explain(ctx, err)
	}
}

func (ended) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (ended) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return explain(ctx, next(ctx, conn))
	}
}

func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errEnded) {
		if code := connect.CodeOf(err); code == connect.CodeCanceled || code == connect.CodeUnknown && errors.Is(err, context.Canceled) {
			return fault.ToConnect(cause)
		}
	}
	return err
}

// cutShort returns a context for the requests of a link that ends with ctx, which say so as their cause.
func cutShort(ctx context.Context) (requests context.Context, stop func()) {
	requests, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, func() { cancel(errEnded) })
	return requests, func() {
		release()
		cancel(errEnded)
	}
}
