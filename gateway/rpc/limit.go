package rpc

import (
	"context"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

// Owners says in which environments things are. Implemented in gateway/server.
type Owners interface {
	// EnvironmentOf returns the id of the environment that an app, a function, a call, a container, a sandbox, or whatever else has an id
	// and an environment, is in; false where there is no such thing.
	EnvironmentOf(ctx context.Context, id string) (environment string, known bool, err error)
}

// everywhere are the procedures that are about the whole installation. Tokens that are limited to environments may not call them.
var everywhere = map[string]bool{
	skerryv1connect.ImageServiceListImagesProcedure:              true,
	skerryv1connect.ImageServiceDeleteImageProcedure:             true,
	skerryv1connect.EnvironmentServiceCreateEnvironmentProcedure: true,
	skerryv1connect.EnvironmentServiceUpdateEnvironmentProcedure: true,
	skerryv1connect.EnvironmentServiceDeleteEnvironmentProcedure: true,
}

// limits holds tokens to the environments that they open, whatever the service: in every message that comes, it looks at the environment
// that is named and at each id, nested ones too. What a token doesn't open is as if it were not there.
type limits struct {
	owners Owners

	mu    sync.Mutex
	known map[string]string // environments of ids, which never change
}

// maxKnown bounds how many ids are remembered.
const maxKnown = 10_000

// WrapUnary implements connect.Interceptor.
func (l *limits) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := l.check(ctx, req.Spec().Procedure, req.Any()); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (l *limits) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (l *limits) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if !limited(ctx) {
			return next(ctx, conn)
		}
		return next(ctx, &limitedConn{StreamingHandlerConn: conn, ctx: ctx, limits: l})
	}
}

type limitedConn struct {
	connect.StreamingHandlerConn
	ctx    context.Context //nolint:containedctx // the request's, which the stream is part of
	limits *limits
}

// Receive implements connect.StreamingHandlerConn.
func (c *limitedConn) Receive(msg any) error {
	if err := c.StreamingHandlerConn.Receive(msg); err != nil {
		return err
	}
	return c.limits.check(c.ctx, c.Spec().Procedure, msg)
}

// limited says whether a request's token opens some environments only.
func limited(ctx context.Context) bool {
	t := identity.Caller(ctx)
	return t != nil && t.Role == identity.Admin && len(t.Environments) > 0
}

func (l *limits) check(ctx context.Context, procedure string, msg any) error {
	if !limited(ctx) {
		return nil
	}
	if everywhere[procedure] {
		return identity.Everywhere(ctx, procedure)
	}
	m, ok := msg.(proto.Message)
	if !ok {
		return fault.New(fault.Internal, "%s: request is a %T", procedure, msg)
	}
	// A name may be public in an environment that the token doesn't open: the service knows.
	names := procedure != skerryv1connect.ImageServiceGetImageByNameProcedure
	return l.walk(ctx, m.ProtoReflect(), names)
}

// walk checks the fields of a message that say where something is. With names, an environment that is left out is checked too: there may
// be none that the token can mean.
func (l *limits) walk(ctx context.Context, m protoreflect.Message, names bool) (err error) {
	if f := m.Descriptor().Fields().ByName("environment"); names && f != nil && f.Kind() == protoreflect.StringKind {
		if _, err := identity.Environment(ctx, m.Get(f).String()); err != nil {
			return err
		}
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				err = l.walk(ctx, v.Message(), names)
				return err == nil
			})
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = l.walk(ctx, v.List().Get(i).Message(), names)
			}
		case f.Message() != nil:
			err = l.walk(ctx, v.Message(), names)
		case f.Kind() != protoreflect.StringKind || !holdsIDs(f):
		case f.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = l.checkID(ctx, v.List().Get(i).String())
			}
		default:
			err = l.checkID(ctx, v.String())
		}
		return err == nil
	})
	return err
}

// holdsIDs says whether a field may have ids of things that are in environments: by its name, as all of ours are called so.
func holdsIDs(f protoreflect.FieldDescriptor) bool {
	name := string(f.Name())
	return name == "id" || name == "ids" || name == "app" || strings.HasSuffix(name, "_id") || strings.HasSuffix(name, "_ids")
}

func (l *limits) checkID(ctx context.Context, id string) error {
	l.mu.Lock()
	environment, known := l.known[id]
	l.mu.Unlock()
	if !known {
		var err error
		if environment, known, err = l.owners.EnvironmentOf(ctx, id); err != nil || !known {
			return err
		}
		l.mu.Lock()
		if l.known == nil || len(l.known) >= maxKnown {
			l.known = map[string]string{}
		}
		l.known[id] = environment
		l.mu.Unlock()
	}
	return identity.CheckEnvironment(ctx, "id", id, environment)
}
