package wire

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// Named makes, finds and deletes objects of one kind for those who ask.
type Named struct {
	// Noun is what errors call it, such as "dict".
	Noun    string
	Objects *object.Service
}

// ObjectToProto returns what clients are told of an object.
func ObjectToProto(ctx context.Context, o object.Object) *skerryv1.ObjectInfo {
	return &skerryv1.ObjectInfo{
		Id: o.ID, Name: o.Name, Environment: identity.EnvironmentName(ctx, o.Environment), CreatedAt: timestamppb.New(o.CreatedAt), CreatedBy: o.CreatedBy,
	}
}

// Get finds an object, or makes it. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Denied.
func (n Named) Get(ctx context.Context, name, environment string, c skerryv1.ObjectCreation) (*skerryv1.ObjectInfo, error) {
	environment, err := identity.Environment(ctx, environment)
	if err != nil {
		return nil, err
	}
	if c < 0 || c > skerryv1.ObjectCreation_OBJECT_CREATION_EPHEMERAL {
		return nil, fault.New(fault.Invalid, "%s %.80q: unknown creation %d", n.Noun, name, c)
	}
	o, err := n.Objects.Get(ctx, environment, name, object.Creation(c), maker(ctx))
	if err != nil {
		return nil, err
	}
	return ObjectToProto(ctx, o), nil
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

// Find returns an object that whoever asks may use. Errors: fault.Invalid, fault.NotFound.
func (n Named) Find(ctx context.Context, id string) (object.Object, error) {
	o, err := n.Objects.Find(ctx, id)
	if err != nil {
		return o, err
	}
	return o, identity.CheckEnvironment(ctx, n.Noun, id, o.Environment)
}

// List returns a page of the objects that have a name. Errors: fault.Invalid, fault.NotFound, fault.Denied.
func (n Named) List(ctx context.Context, p *skerryv1.ObjectPage) ([]object.Object, error) {
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
	return n.Objects.List(ctx, environment, before, int(min(p.GetLimit(), object.MaxPage)))
}

// Delete deletes an object that whoever asks may use. Errors: fault.Invalid, fault.NotFound.
func (n Named) Delete(ctx context.Context, id string) error {
	if _, err := n.Find(ctx, id); err != nil {
		return err
	}
	return n.Objects.Delete(ctx, id)
}

// Keep notes that the client of an ephemeral object is there. Errors: fault.Invalid, fault.NotFound.
func (n Named) Keep(ctx context.Context, id string) error {
	if _, err := n.Find(ctx, id); err != nil {
		return err
	}
	return n.Objects.Keep(ctx, id)
}
