package agent

import (
	"context"
	"net"
	"net/http"

	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/guest"
	"github.com/skerry-dev/skerry/worker/gvisor"
	"github.com/skerry-dev/skerry/worker/pool"
	"github.com/skerry-dev/skerry/worker/snapshot"
)

// machines is gVisor in the box's terms.
type machines struct{ runtime *gvisor.Runtime }

var _ box.Machines = machines{}

func (m machines) Start(ctx context.Context, p container.SandboxParams) (box.Machine, error) {
	s, err := m.runtime.Launch(ctx, p)
	if err != nil {
		return nil, err
	}
	return machine{s}, nil
}

func (m machines) Restore(ctx context.Context, from string, p container.SandboxParams) (box.Machine, error) {
	s, err := m.runtime.Restore(ctx, gvisor.RestoreParams{From: from, Sandbox: p})
	if err != nil {
		return nil, err
	}
	return machine{s}, nil
}

func (m machines) Open(id, dir string) (box.Machine, error) {
	s, err := m.runtime.Open(id, dir)
	if err != nil {
		return nil, err
	}
	return machine{s}, nil
}

func (m machines) Remains(id, dir string) (container.Resource, string, error) {
	return m.runtime.Remains(id, dir)
}

// machine is a sandbox of gVisor in the box's terms.
type machine struct{ *gvisor.Sandbox }

var _ box.Machine = machine{}

func (m machine) Limit(cpuMilli, cpuLimitMilli uint32) error {
	return m.Sandbox.Limit(gvisor.Limits{CPUMilli: cpuMilli, CPULimitMilli: cpuLimitMilli})
}

func (m machine) Add(ctx context.Context, p container.SandboxParams) (box.Part, error) {
	c, err := m.Sandbox.Add(ctx, p)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (m machine) Part(id, name string) box.Part { return m.Container(id, name) }

func (m machine) SaveFiles(ctx context.Context, dir string) (snapshot.Layer, error) {
	f, err := m.Sandbox.SaveFiles(ctx, dir)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// boxGuest is a guest.Client in the box's terms.
type boxGuest struct{ guestClient }

var _ box.Guest = boxGuest{}

func newBoxGuest(conn net.Conn) (box.Guest, error) {
	c, err := guest.NewClient(conn)
	if err != nil {
		return nil, err
	}
	return boxGuest{guestClient{c}}, nil
}

// guestTransport is how requests of clients get to an init.
func guestTransport(g box.Guest) http.RoundTripper {
	return g.(interface{ forward() http.RoundTripper }).forward() //nolint:forcetypeassert // boxes of an agent have no others
}

func (g boxGuest) forward() http.RoundTripper { return g.c.Forward() }

func (g boxGuest) StartMain(ctx context.Context, argv []string, terminal *container.Terminal) error {
	_, err := g.c.StartMain(ctx, guest.Main{Argv: argv, Terminal: (*guest.Terminal)(terminal)})
	return err
}

func (g boxGuest) Output(ctx context.Context, id string, from container.Offsets, f func(container.Chunk) error) error {
	_, err := g.c.Follow(ctx, id, guest.Offsets(from), func(p guest.Piece) error {
		c := container.Chunk{Stdout: p.Stdout, Stderr: p.Stderr}
		if len(p.Stdout) > 0 {
			c.StdoutDropped = p.At.Stdout - min(p.At.Stdout, from.Stdout)
			from.Stdout = p.At.Stdout + uint64(len(p.Stdout))
		}
		if len(p.Stderr) > 0 {
			c.StderrDropped = p.At.Stderr - min(p.At.Stderr, from.Stderr)
			from.Stderr = p.At.Stderr + uint64(len(p.Stderr))
		}
		return f(c)
	})
	return err
}

func (g boxGuest) Configure(ctx context.Context, id box.Identity) error {
	return g.c.Configure(ctx, guest.Settings(id))
}

func (g boxGuest) Trust(ctx context.Context, certificates string) error {
	return g.c.Trust(ctx, certificates)
}

func (g boxGuest) Seal(ctx context.Context, id string, variables map[string]string) error {
	return g.c.SealEnvironment(ctx, id, variables)
}

func (g boxGuest) WatchActivity(ctx context.Context, f func(processes int)) error {
	return g.c.WatchActivity(ctx, func(processes int) error {
		f(processes)
		return nil
	})
}

func (g boxGuest) AwaitReady(ctx context.Context, p box.Probe) error {
	return g.c.AwaitReady(ctx, guest.Probe(p))
}

func (g boxGuest) Usage(ctx context.Context) (box.Usage, error) {
	u, err := g.c.Usage(ctx)
	return box.Usage(u), err
}

func (g boxGuest) Quiesce(ctx context.Context) error { return g.c.Quiesce(ctx) }

func (g boxGuest) PrepareMount(ctx context.Context, path string) (string, error) {
	return g.c.PrepareMount(ctx, path)
}

func (g boxGuest) Bind(ctx context.Context, name, path string, size uint64) error {
	return g.c.Bind(ctx, name, path, size)
}

func (g boxGuest) Unbind(ctx context.Context, path string) error { return g.c.Unbind(ctx, path) }

func (g boxGuest) Done() <-chan struct{} { return g.c.Done() }

// emptyMachines is gVisor in the terms of who boots sandboxes ahead.
type emptyMachines struct{ runtime *gvisor.Runtime }

var _ pool.Machines = emptyMachines{}

func (m emptyMachines) Boot(ctx context.Context, p container.SandboxParams) (pool.Machine, error) {
	s, err := m.runtime.Boot(ctx, p)
	if err != nil {
		return nil, err
	}
	return emptyMachine{s}, nil
}

type emptyMachine struct{ *gvisor.Sandbox }

func (m emptyMachine) Weigh(cpuMilli uint32) error {
	return m.Limit(gvisor.Limits{CPUMilli: cpuMilli})
}

func (m emptyMachine) Add(ctx context.Context, p container.SandboxParams) error {
	_, err := m.Sandbox.Add(ctx, p)
	return err
}
