// Package objectrpc serves the public services of dicts and queues.
package objectrpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// named is what dicts and queues have in common.
type named struct {
	noun    string
	objects *object.Service
}

func infoToProto(ctx context.Context, o object.Object) *skerryv1.ObjectInfo {
	return &skerryv1.ObjectInfo{
		Id: o.ID, Name: o.Name, Environment: identity.EnvironmentName(ctx, o.Environment), CreatedAt: timestamppb.New(o.CreatedAt), CreatedBy: o.CreatedBy,
	}
}

// get finds an object, or makes it.
func (n named) get(ctx context.Context, name, environment string, c skerryv1.ObjectCreation) (*skerryv1.ObjectInfo, error) {
	environment, err := identity.Environment(ctx, environment)
	if err != nil {
		return nil, err
	}
	if c < 0 || c > skerryv1.ObjectCreation_OBJECT_CREATION_EPHEMERAL {
		return nil, fault.New(fault.Invalid, "%s %.80q: unknown creation %d", n.noun, name, c)
	}
	o, err := n.objects.Get(ctx, environment, name, object.Creation(c), maker(ctx))
	if err != nil {
		return nil, err
	}
	return infoToProto(ctx, o), nil
}

// maker is who makes something: a token by its name, or the app whose code it is.
func maker(ctx context.Context) string {
	if s, limited := identity.ScopeOf(ctx); limited {
		return s.AppID
	}
	if t := identity.Caller(ctx); t != nil {
		return t.Name
	}
	return ""
}

// find returns an object that whoever asks may use.
func (n named) find(ctx context.Context, id string) (object.Object, error) {
	o, err := n.objects.Find(ctx, id)
	if err != nil {
		return o, err
	}
	return o, identity.CheckEnvironment(ctx, n.noun, id, o.Environment)
}

func (n named) list(ctx context.Context, p *skerryv1.ObjectPage) ([]object.Object, error) {
	environment, err := identity.Environment(ctx, p.GetEnvironment())
	if err != nil {
		return nil, err
	}
	var before time.Time
	if p.GetBefore() != nil {
		if err := p.GetBefore().CheckValid(); err != nil {
			return nil, fault.New(fault.Invalid, "page: %w", err)
		}
		before = p.GetBefore().AsTime()
	}
	return n.objects.List(ctx, environment, before, int(min(p.GetLimit(), object.MaxPage)))
}

func (n named) delete(ctx context.Context, id string) error {
	if _, err := n.find(ctx, id); err != nil {
		return err
	}
	return n.objects.Delete(ctx, id)
}

func (n named) keep(ctx context.Context, id string) error {
	if _, err := n.find(ctx, id); err != nil {
		return err
	}
	return n.objects.Keep(ctx, id)
}

const (
	requestLength   = 22
	requestAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// checkRequest returns a fault.Invalid unless id can be that of a request.
func checkRequest(id string) error {
	if len(id) != requestLength || strings.Trim(id, requestAlphabet) != "" {
		return fault.New(fault.Invalid, "request id %.80q: want %d letters or digits", id, requestLength)
	}
	return nil
}

// duration returns a duration of a request; otherwise, where it is unset. Errors: fault.Invalid where it is out of bounds.
func duration(what string, d *durationpb.Duration, least, most, otherwise time.Duration) (time.Duration, error) {
	if d == nil {
		return otherwise, nil
	}
	v := d.AsDuration()
	if d.CheckValid() != nil || v < least || v > most {
		return 0, fault.New(fault.Invalid, "%s of %s: want %s to %s", what, v, least, most)
	}
	return v, nil
}
