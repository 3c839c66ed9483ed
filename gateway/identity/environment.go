package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/internal/fault"
)

// WithEnvironments returns a context of a request in which the names of environments mean something.
func WithEnvironments(ctx context.Context, e Environments) context.Context {
	return context.WithValue(ctx, environmentsKey{}, e)
}

// Environment returns the id of the environment that a request means by a name. An empty name is the container's whose code asks, or else
// the token's if it opens one alone, or else the default one. Errors: fault.Invalid, fault.NotFound (where code in a container names
// another than its own, too: it sees no more than what is there), fault.Denied (the token doesn't open it), fault.Precondition (it is
// being deleted).
func Environment(ctx context.Context, name string) (string, error) {
	if s, inside := ScopeOf(ctx); inside {
		if own := EnvironmentName(ctx, s.Environment); name != "" && name != own {
			return "", fault.New(fault.NotFound, "environment %.80q: code in containers sees its own only, %q", name, own)
		}
		return s.Environment, nil
	}
	t := Caller(ctx)
	if t == nil || len(t.Environments) == 0 {
		return resolve(ctx, name)
	}
	if name == "" {
		if len(t.Environments) > 1 && !slices.Contains(t.Environments, environment.Main) {
			return "", fault.New(fault.Invalid, "token %q: opens several environments; name one of %s", t.Name, opened(ctx, t))
		}
		if len(t.Environments) == 1 {
			return t.Environments[0], nil
		}
	}
	// An unknown one is refused as one that is another's: a token tells nothing of what it doesn't open.
	id, err := resolve(ctx, name)
	if err != nil || !slices.Contains(t.Environments, id) {
		return "", fault.New(fault.Denied, "environment %.80q: token %q opens %s only", name, t.Name, opened(ctx, t))
	}
	return id, nil
}

// opened names the environments that a token opens.
func opened(ctx context.Context, t *Token) string {
	names := make([]string, len(t.Environments))
	for i, id := range t.Environments {
		names[i] = EnvironmentName(ctx, id)
	}
	return strings.Join(names, ", ")
}

// Elsewhere is Environment for what the whole installation may use, wherever it is.
func Elsewhere(ctx context.Context, name string) (string, error) { return resolve(ctx, name) }

func resolve(ctx context.Context, name string) (string, error) {
	if e, ok := ctx.Value(environmentsKey{}).(Environments); ok {
		return e.Resolve(name)
	}
	if name == "" || name == environment.Main {
		return environment.Main, nil
	}
	return "", fault.New(fault.NotFound, "environment %.80q: there is none", name)
}

// EnvironmentName returns what people call the environment of an id.
func EnvironmentName(ctx context.Context, id string) string {
	if e, ok := ctx.Value(environmentsKey{}).(Environments); ok {
		return e.Name(id)
	}
	return id
}

// Sees says whether the token of a request opens an environment, by its id.
func Sees(ctx context.Context, id string) bool {
	t := Caller(ctx)
	return t == nil || t.Role != Admin || len(t.Environments) == 0 || slices.Contains(t.Environments, id)
}

// Everywhere returns a fault.Denied where a request is about all environments and its token opens some only.
func Everywhere(ctx context.Context, what string) error {
	if t := Caller(ctx); t != nil && len(t.Environments) > 0 {
		return fault.New(fault.Denied, "%s: needs a token that opens all environments; %q opens %s only", what, t.Name, opened(ctx, t))
	}
	return nil
}
