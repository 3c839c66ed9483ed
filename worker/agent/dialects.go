package agent

import (
	"context"
	"io"
	"net"
	"syscall"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/guest"
	"github.com/skerry-dev/skerry/worker/runner"
)

// dialects speaks with what is in containers.
type dialects struct{ blobs container.Blobs }

var _ container.Dialects = dialects{}

func (d dialects) Guest(conn net.Conn) (container.Guest, error) {
	c, err := guest.NewClient(conn)
	if err != nil {
		return nil, err
	}
	return guestClient{c}, nil
}

func (d dialects) Runner(conn net.Conn, p container.RunnerParams) container.Runner {
	s := p.Spec
	return runner.New(conn, runner.Config{
		ContainerID: s.ID, Environment: s.Environment,
		AppID: s.AppID, AppName: s.AppName,
		FunctionID: s.FunctionID, FunctionName: s.FunctionName, FunctionIDs: s.AppFunctionIDs,
		Module: s.Module, Qualname: s.Qualname, Serialized: s.Serialized,
		Class: s.Class, Generator: s.Generator, Slots: s.Slots, Batched: s.Batched, ModalNames: s.ModalNames, Interactive: s.Interactive,
		Timeout: s.Timeout, Signal: p.Signal,
	}, d.blobs, p.Events)
}

// guestClient is a guest.Client in the container's terms.
type guestClient struct{ c *guest.Client }

var _ container.Guest = guestClient{}

func (g guestClient) Start(ctx context.Context, p container.Process) error {
	_, err := g.c.StartProcess(ctx, guest.Process{
		ID: p.ID, Argv: p.Argv, Env: p.Env, Workdir: p.Workdir, MakeWorkdir: p.MakeWorkdir,
		Terminal: (*guest.Terminal)(p.Terminal), Stdin: p.Stdin,
	})
	return err
}

func (g guestClient) Wait(ctx context.Context, id string) (container.ProcessEnd, error) {
	status, err := g.c.WaitProcess(ctx, id)
	return container.ProcessEnd{ExitCode: status.ExitCode, Signal: status.Signal}, err
}

func (g guestClient) Output(ctx context.Context, id string, f func(container.Chunk) error) error {
	return g.c.ReadOutput(ctx, id, guest.Offsets{}, func(o guest.Output) error { return f(container.Chunk(o)) })
}

func (g guestClient) Write(ctx context.Context, id string, data []byte, eof bool) error {
	return g.c.WriteInput(ctx, id, data, eof)
}

func (g guestClient) Signal(ctx context.Context, id string, sig syscall.Signal, group bool) error {
	return g.c.SignalProcess(ctx, id, sig, group)
}

func (g guestClient) Resize(ctx context.Context, id string, size container.Terminal) error {
	return g.c.ResizeTerminal(ctx, id, guest.Terminal(size))
}

func (g guestClient) OpenFiles(ctx context.Context, paths []string) ([]container.OpenFile, error) {
	return g.c.OpenFiles(ctx, paths)
}

func (g guestClient) Close() error { return g.c.Close() }

// localBlobs is a blob store of this host in the container's terms.
type localBlobs struct{ store *blob.Store }

var _ container.Blobs = localBlobs{}

func (l localBlobs) Open(ctx context.Context, ref payload.Ref) (io.ReadCloser, error) {
	return l.store.Open(ctx, ref.Digest, 0)
}

func (l localBlobs) Create(ctx context.Context) (container.BlobWriter, error) {
	return l.store.Create(ctx)
}
