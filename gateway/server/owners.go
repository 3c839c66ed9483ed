package server

import (
	"context"
	"errors"

	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/rpc"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// owners finds the environments of whatever is in one.
type owners struct{ s *Server }

var _ rpc.Owners = owners{}

// EnvironmentOf implements rpc.Owners.
func (o owners) EnvironmentOf(ctx context.Context, id string) (string, bool, error) {
	finders := map[ident.Kind]func(context.Context, string) (string, error){
		ident.App: o.app, ident.Function: o.function, ident.Call: o.call, ident.Container: o.container,
		ident.Sandbox: o.sandbox, ident.Snapshot: o.snapshot, ident.Volume: stored(o.s.volumes.Objects()), ident.Secret: o.secret,
		ident.Dict: stored(o.s.dicts), ident.Queue: stored(o.s.queues),
	}
	for kind, find := range finders {
		if ident.Check(kind, id) != nil {
			continue
		}
		environment, err := find(ctx, id)
		if errors.Is(err, fault.NotFound) {
			return "", false, nil
		}
		return environment, err == nil, err
	}
	return "", false, nil
}

func (o owners) app(ctx context.Context, id string) (string, error) {
	a, err := o.s.db.App(ctx, id)
	if err != nil {
		return "", err
	}
	return a.Environment, nil
}

func (o owners) function(ctx context.Context, id string) (string, error) {
	f, err := o.s.db.Function(ctx, id)
	if err != nil {
		return "", err
	}
	return f.Environment, nil
}

func (o owners) call(ctx context.Context, id string) (string, error) {
	state, err := o.s.calls.Find(ctx, id)
	if err != nil {
		return "", err
	}
	if state.AppID != "" {
		return o.app(ctx, state.AppID)
	}
	environment, err := o.function(ctx, state.FunctionID)
	if errors.Is(err, fault.NotFound) {
		// The call is there, and whose it was is not known any more: it is nobody's.
		return "", nil
	}
	return environment, err
}

func (o owners) container(_ context.Context, id string) (string, error) {
	who, ok := o.s.scheduler.Identify(id)
	if !ok {
		return "", fault.New(fault.NotFound, "container %q: there is none", id)
	}
	return who.Environment, nil
}

func (o owners) sandbox(ctx context.Context, id string) (string, error) {
	sb, err := o.s.sandboxes.Get(ctx, id)
	return sb.Environment, err
}

func (o owners) secret(ctx context.Context, id string) (string, error) {
	r, err := o.s.db.Secret(ctx, id)
	if err != nil {
		return "", err
	}
	if r.AppID != "" {
		return o.app(ctx, r.AppID)
	}
	return r.Environment, nil
}

func (o owners) snapshot(ctx context.Context, id string) (string, error) {
	snap, err := o.s.snapshots.Get(ctx, id)
	if err != nil {
		return "", err
	}
	return snap.Sandbox.Environment, nil
}

// stored finds objects of one kind.
func stored(objects *object.Service) func(context.Context, string) (string, error) {
	return func(ctx context.Context, id string) (string, error) {
		found, err := objects.Find(ctx, id)
		return found.Environment, err
	}
}
