package identity

import (
	"context"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Scope is the right of code in a container: one app in one environment.
type Scope struct{ ContainerID, AppID, Environment string }

type callerKey struct{}

type scopeKey struct{}

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

// Environment returns the environment that a request means by a name: an empty one is that of the container whose code asks. It returns a
// fault.NotFound where code in a container names another than its own: it sees no more than what is there.
func Environment(ctx context.Context, name string) (string, error) {
	s, limited := ScopeOf(ctx)
	switch {
	case !limited:
		return name, nil
	case name == "" || name == s.Environment:
		return s.Environment, nil
	default:
		return "", fault.New(fault.NotFound, "environment %.80q: code in containers sees its own only, %q", name, s.Environment)
	}
}

// CheckEnvironment returns a fault.NotFound where code in a container asks for something of another environment than its own.
func CheckEnvironment(ctx context.Context, noun, key, environment string) error {
	if s, limited := ScopeOf(ctx); limited && s.Environment != environment {
		return fault.New(fault.NotFound, "%s %q: there is none in environment %q", noun, key, s.Environment)
	}
	return nil
}
