package guest

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
)

// Settings are a container's place in the world.
type Settings struct {
	ContainerID  string
	Hostname     string            // empty: as it is
	Env          map[string]string // the whole environment that processes begin with
	Workdir      string            // absolute, made if it is missing; empty: "/"
	Certificates string            // PEM of authorities to trust besides the image's; empty: none
	Hosts        string            // lines for /etc/hosts besides its own; empty: as it is
}

// Configure gives a container its place in the world; from then on it outlives its links. It may be repeated. Errors: fault.Invalid.
func (c *Client) Configure(ctx context.Context, s Settings) error {
	_, err := c.sandbox.Configure(ctx, connect.NewRequest(&guestv1.ConfigureRequest{
		ContainerId: s.ContainerID, Hostname: s.Hostname, Env: s.Env, Workdir: s.Workdir, Certificates: s.Certificates, Hosts: s.Hosts,
	}))
	return fault.FromConnect(err)
}

// Trust has programs that begin from now on trust certificate authorities (PEM). Errors: fault.Invalid, fault.Unimplemented by inits of a release
// that can't.
func (c *Client) Trust(ctx context.Context, certificates string) error {
	_, err := c.sandbox.Trust(ctx, connect.NewRequest(&guestv1.TrustRequest{Certificates: certificates}))
	return fault.FromConnect(err)
}

// SealEnvironment keeps an environment in the container, for processes that name it. Errors: fault.Invalid, fault.Exhausted.
func (c *Client) SealEnvironment(ctx context.Context, id string, variables map[string]string) error {
	_, err := c.sandbox.SealEnvironment(ctx, connect.NewRequest(&guestv1.SealEnvironmentRequest{EnvironmentId: id, Variables: variables}))
	return fault.FromConnect(err)
}

// WatchActivity calls f with how many processes of clients run, at once and whenever that changes, until ctx or the link ends or f returns an
// error.
func (c *Client) WatchActivity(ctx context.Context, f func(processes int) error) error {
	stream, err := c.sandbox.WatchActivity(ctx, connect.NewRequest(&guestv1.WatchActivityRequest{}))
	if err != nil {
		return fault.FromConnect(err)
	}
	return receive(stream, func(m *guestv1.WatchActivityResponse) error { return f(int(m.GetProcesses())) })
}

// Quiesce prepares for a checkpoint: the link ends, which Done tells, and init dials again once it gets guestinit.Nudge.
func (c *Client) Quiesce(ctx context.Context) error {
	_, err := c.sandbox.Quiesce(ctx, connect.NewRequest(&guestv1.QuiesceRequest{}))
	return fault.FromConnect(err)
}

// PrepareMount makes a path of the container, and a folder for the image that is to be shown there. The image is then mounted in
// mounts.Dir/NAME/image. What is shown at the path is taken away. Errors: fault.Invalid, fault.Exhausted, fault.Precondition.
func (c *Client) PrepareMount(ctx context.Context, path string) (name string, err error) {
	res, err := c.sandbox.PrepareMount(ctx, connect.NewRequest(&guestv1.PrepareMountRequest{Path: path}))
	if err != nil {
		return "", fault.FromConnect(err)
	}
	return res.Msg.GetName(), nil
}

// Bind shows at a path the image in its folder, or for an empty name an empty folder, to which size bytes may be written. Errors: fault.NotFound
// if it was not prepared, fault.Precondition.
func (c *Client) Bind(ctx context.Context, name, path string, size uint64) error {
	_, err := c.sandbox.Bind(ctx, connect.NewRequest(&guestv1.BindRequest{Name: name, Path: path, SizeBytes: size}))
	return fault.FromConnect(err)
}

// Unbind takes it away. Errors: fault.NotFound, fault.Precondition if it is in use.
func (c *Client) Unbind(ctx context.Context, path string) error {
	_, err := c.sandbox.Unbind(ctx, connect.NewRequest(&guestv1.UnbindRequest{Path: path}))
	return fault.FromConnect(err)
}

// receive calls f with each message of a stream, until its end or an error of f, and closes it.
func receive[T any](stream *connect.ServerStreamForClient[T], f func(*T) error) error {
	var failed error
	for failed == nil && stream.Receive() {
		failed = f(stream.Msg())
	}
	if failed == nil {
		failed = fault.FromConnect(stream.Err())
	}
	if err := stream.Close(); err != nil && failed == nil && !errors.Is(err, io.EOF) {
		failed = fault.FromConnect(err)
	}
	return failed
}
