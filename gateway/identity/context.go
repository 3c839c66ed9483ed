package identity

import (
	"context"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Scope is the right of code in a container: one app in one environment.
type Scope struct{ ContainerID, AppID, Environment string }

type callerKey struct{}

type scopeKey struct{}

type environmentsKey struct{}

// Environments knows the environments that there are. Implemented by gateway/environment.
type Environments interface {
	// Resolve returns the id of an environment; an empty name is that of the default one. Errors: fault.Invalid, fault.NotFound,
	// fault.Precondition (it is being deleted).
	Resolve(name string) (string, error)
	// Name returns what the environment of an id is called.
	Name(id string) string
}

// WithCaller returns a context of a request that carried a token.
func WithCaller(ctx context.Context, t *Token) context.Context {
	return context.WithValue(ctx, callerKey{}, t)
}

// Caller returns the token of the request, or nil outside of one.
func Caller(ctx context.Context) *Token {
	t, _ := ctx.Value(callerKey{}).(*Token)
	return t
}

// WithScope returns a context of a request that code in a container has made.
func WithScope(ctx context.Context, s Scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, s)
}

// ScopeOf returns what a request is limited to; false for a client with a token of its own, which is not limited.
func ScopeOf(ctx context.Context) (Scope, bool) {
	s, ok := ctx.Value(scopeKey{}).(Scope)
	return s, ok
}

// CheckApp returns a fault.Denied where code in a container asks for something about another app than its own.
func CheckApp(ctx context.Context, appID string) error {
	if s, limited := ScopeOf(ctx); limited && s.AppID != appID {
		return fault.New(fault.Denied, "app %q: code in containers may do this for its own app only", appID)
	}
	return nil
}

// CheckEnvironment returns a fault.NotFound where the caller asks for something of an environment that it doesn't see: code in a container
// sees its own, a token those that it is limited to. Environment is an id.
func CheckEnvironment(ctx context.Context, noun, key, environment string) error {
	if s, inside := ScopeOf(ctx); inside && s.Environment != environment {
		return fault.New(fault.NotFound, "%s %q: there is none in the environment of this container", noun, key)
	}
	if !Sees(ctx, environment) {
		return fault.New(fault.NotFound, "%s %q: there is none in the environments that token %q opens", noun, key, Caller(ctx).Name)
	}
	return nil
}
