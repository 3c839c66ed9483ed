package identity

import "context"

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
