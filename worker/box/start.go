package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

const (
	// runName is the folder of the sockets, in the box's folder and in container.RuntimeTarget.
	runName       = "run"
	bundleName    = "bundle"
	guestSocket   = "guest.sock"
	gatewaySocket = "gateway.sock"
)

// initArgv starts a container's init.
var initArgv = []string{container.RuntimeTarget + "/skerry-init", "-outlive"}

// prepare gets everything that a box is made of. What was got is on the cleanup stack, also when it fails.
func (b *Box) prepare(ctx context.Context) error {
	var wg sync.WaitGroup
	var endpoint *container.Endpoint
	var netErr, rootErr error
	var releases []func()
	wg.Go(func() { endpoint, netErr = b.acquire(ctx) })
	wg.Go(func() { releases, rootErr = b.files(ctx) })
	dirErr := b.makeDir()
	wg.Wait()
	if rootErr == nil {
		rootErr = b.mountBuckets(ctx)
	}
	for _, release := range releases {
		b.undo.Add(release)
	}
	if endpoint != nil {
		b.owns(endpoint)
	}
	if err := errors.Join(netErr, rootErr, dirErr); err != nil {
		return err
	}
	return errors.Join(b.listen(), b.writeNames())
}

// acquire takes an endpoint. What it returns is to be released, also with an error.
func (b *Box) acquire(ctx context.Context) (*container.Endpoint, error) {
	network, p := b.host.cfg.Network, b.spec.Network
	if !p.Block || !b.spec.Openable {
		return network.AcquireWith(ctx, b.spec.ID, p)
	}
	e, err := network.AcquireWith(ctx, b.spec.ID, policy.Policy{}) // nothing is in it yet that could use it
	if err != nil {
		return nil, err
	}
	return e, network.SetPolicy(e, p)
}

func (b *Box) owns(e *container.Endpoint) {
	b.endpoint = e
	b.undo.Add(func() { b.note(b.host.cfg.Network.Release(e)) })
}

func (b *Box) files(ctx context.Context) (releases []func(), err error) {
	image, release, err := b.host.cfg.Rootfs.Image(ctx, b.spec.Image)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	releases = append(releases, release)
	binds, release, err := b.host.cfg.Rootfs.Mounts(ctx, b.spec.Mounts)
	if err != nil {
		return releases, fmt.Errorf("mounts: %w", err)
	}
	b.image, b.binds = image, binds
	err = b.mountVolumes(ctx)
	b.binds = append(b.binds, b.volumes...)
	return append(releases, release), err
}

func (b *Box) makeDir() error {
	for _, sub := range []string{"", runName, bundleName} {
		if err := os.Mkdir(filepath.Join(b.dir, sub), 0o700); err != nil {
			return fmt.Errorf("folder: %w", err)
		}
		if sub == "" {
			b.ownsDir()
		}
	}
	return nil
}

func (b *Box) ownsDir() { b.undo.Add(func() { b.note(os.RemoveAll(b.dir)) }) }

// listen opens the sockets that the box dials.
func (b *Box) listen() (err error) {
	if b.socket, err = listenAt(b.dir, guestSocket, b.undo); err != nil {
		return err
	}
	if b.host.cfg.Access != nil && b.spec.Access != "" {
		if b.accessL, err = listenAt(b.dir, gatewaySocket, b.undo); err != nil {
			return err
		}
	}
	return nil
}

// writeNames writes the box's name files.
func (b *Box) writeNames() error {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if b.endpoint.Address != "" {
		hosts += b.endpoint.Address + "\t" + Hostname(b.spec.ID) + "\n"
	}
	resolv := "# no network\n"
	if b.endpoint.Nameserver != "" {
		resolv = "nameserver " + b.endpoint.Nameserver + "\n"
	}
	for name, text := range map[string]string{"hosts": hosts, "resolv.conf": resolv} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // read by every user inside
			return fmt.Errorf("folder: %w", err)
		}
	}
	return nil
}

// Hostname is what something with an id calls itself.
func Hostname(id string) string { return strings.ToLower(strings.ReplaceAll(id, "_", "-")) }

func (b *Box) params() container.SandboxParams {
	s := &b.spec
	binds := append([]container.Bind{
		{Source: b.host.cfg.RuntimeDir, Target: container.RuntimeTarget},
		{Source: filepath.Join(b.dir, runName), Target: filepath.Join(container.RuntimeTarget, runName)},
		{Source: filepath.Join(b.dir, "hosts"), Target: "/etc/hosts"},
		{Source: filepath.Join(b.dir, "resolv.conf"), Target: "/etc/resolv.conf"},
	}, b.binds...)
	return container.SandboxParams{
		ID: s.ID, Dir: filepath.Join(b.dir, bundleName), Image: b.image,
		DiskDir: b.host.cfg.DiskDir, DiskMiB: s.DiskMiB,
		NetnsPath: b.endpoint.NetnsPath, Hostname: Hostname(s.ID),
		Argv:     initArgv,
		Binds:    binds,
		CPUMilli: s.CPUMilli, CPULimitMilli: s.CPULimitMilli, MemoryLimitMiB: s.MemoryLimitMiB,
	}
}

// start boots the machine and takes its init's link, which is often there before the runtime's command has returned.
func (b *Box) start(ctx context.Context) {
	b.group = lifecycle.NewGroup(context.WithoutCancel(ctx))
	from, params := b.spec.From, b.params() // whoever claims the box changes its spec
	b.group.Go("machine", func(ctx context.Context) error {
		if from == "" {
			b.boot.machine, b.boot.err = b.host.cfg.Machines.Start(ctx, params)
		} else {
			b.boot.machine, b.boot.err = b.host.cfg.Machines.Restore(ctx, from, params)
		}
		close(b.up)
		if from != "" && b.boot.err == nil {
			b.group.Go("nudge", b.nudge)
		}
		b.attend(ctx)
		return nil
	})
	b.serve()
	b.watchBuckets()
}

// attend waits for the machine's end.
func (b *Box) attend(ctx context.Context) {
	defer close(b.done)
	if b.boot.err != nil {
		return // Why tells
	}
	select {
	case <-b.boot.machine.Done():
	case <-ctx.Done():
	}
}

// serve takes what the box dials, until its group ends.
func (b *Box) serve() {
	b.group.Go("link", func(ctx context.Context) error {
		b.takeLinks(ctx)
		return nil
	})
	if access := b.spec.Access; b.accessL != nil {
		b.group.Go("gateway access", func(ctx context.Context) error {
			return b.host.cfg.Access.Serve(ctx, access, b.accessL)
		})
	}
}
