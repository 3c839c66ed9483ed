package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Authenticate lets requests through that carry a token of one of the roles, and answers all others in the protocol they came in. What a
// worker passes on for code in a container is refused: the worker's token is not the code's.
func Authenticate(tokens *identity.Service, next http.Handler, roles ...identity.Role) http.Handler {
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get(ContainerHeader); id != "" {
			refuse(w, r, fault.New(fault.Denied, "container %.80q: code in containers may not call %s", id, r.URL.Path))
			return
		}
		next.ServeHTTP(w, r)
	})
	return admit(tokens, own, roles...)
}

// admit is Authenticate for what workers pass on as well.
func admit(tokens *identity.Service, next http.Handler, roles ...identity.Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := tokens.Authenticate(r.Context(), r.Header.Get("Authorization"))
		if err == nil && !slices.Contains(roles, t.Role) {
			err = fault.New(fault.Denied, "token %q: is a token for a %s and opens nothing here", t.ID, t.Role)
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(identity.WithCaller(r.Context(), t)))
	})
}

// Options returns what all our services have in common: errors become Connect codes, those without a kind are logged and not sent, and
// a panic is such an error.
func Options(log *slog.Logger) []connect.HandlerOption {
	recovered := func(_ context.Context, spec connect.Spec, _ http.Header, p any) error {
		if p == http.ErrAbortHandler { //nolint:errorlint // the documented sentinel, compared as net/http does
			panic(p)
		}
		return fmt.Errorf("panic in %s: %v\n%s", spec.Procedure, p, debug.Stack())
	}
	// Interceptors run in order; the recovered panic passes through the faults interceptor because it is outside.
	return []connect.HandlerOption{connect.WithInterceptors(&faults{log}), connect.WithRecover(recovered)}
}

// faults is the one place where errors of nouns become errors of the wire.
type faults struct{ log *slog.Logger }

func (f *faults) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		return res, f.convert(ctx, req.Spec(), err)
	}
}

func (f *faults) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (f *faults) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return f.convert(ctx, conn.Spec(), next(ctx, conn))
	}
}

func (f *faults) convert(ctx context.Context, spec connect.Spec, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); fault.KindOf(cause) != nil {
		// Whoever ended the request said why; what the handler ran into then is only the consequence.
		return fault.ToConnect(cause)
	}
	known := fault.KindOf(err)
	ce := new(connect.Error)
	if (known == nil || known == fault.Internal) && ctx.Err() == nil && !errors.As(err, &ce) {
		f.log.Error("request failed", "procedure", spec.Procedure, "error", err)
	}
	return fault.ToConnect(err)
}
