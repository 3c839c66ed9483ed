package wire

import (
	"context"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Faults returns an interceptor for handlers that turns their errors into Connect errors; those of no kind are given to internal, and not sent.
func Faults(internal func(procedure string, err error)) connect.Interceptor { return faults{internal} }

type faults struct {
	internal func(procedure string, err error)
}

func (f faults) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		return res, f.convert(req.Spec().Procedure, err)
	}
}

func (f faults) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (f faults) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return f.convert(conn.Spec().Procedure, next(ctx, conn))
	}
}

func (f faults) convert(procedure string, err error) error {
	converted := fault.ToConnect(err)
	if connect.CodeOf(converted) == connect.CodeInternal && err != nil {
		f.internal(procedure, err)
	}
	return converted
}
