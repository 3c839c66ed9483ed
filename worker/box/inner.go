package box

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
)

// innersName is the folder of the folders of containers besides a box's own, in the box's folder.
const innersName = "in"

// InnerSpec says what a container is made of that a box has besides its own.
type InnerSpec struct {
	ID     string // "sc-..."
	Name   string // no other in the box has it
	Image  container.Image
	Mounts []container.Mount
	// Volumes are mounted for this container, but for those that the box has as well, which are shown in it.
	Volumes []container.VolumeMount `json:",omitempty"`
}

// Inner is a container besides a box's own, with an image, a writable layer, processes and an init of its own. The box's network, limits and end
// are its. It is safe for concurrent use.
type Inner struct {
	*line
	box   *Box
	spec  InnerSpec
	dir   string
	image string
	undo  *lifecycle.Cleanup
	group *lifecycle.Group
	part  Part // nil until it has been started

	served                       bool // its init's links have been taken: it may have written something
	stopping, releasing, deleted sync.Once

	failing sync.Mutex
	failed  []error // of giving back
}

// Add makes a container in the box and returns when its init has linked. Nothing is left behind when it fails or ctx ends. Errors:
// fault.Unavailable if the box has ended, and those of getting its image.
func (b *Box) Add(ctx context.Context, spec InnerSpec) (*Inner, error) {
	b.adding.RLock()
	defer b.adding.RUnlock()
	m, err := b.booted(ctx)
	if err != nil {
		return nil, err
	}
	i := b.newInner(spec)
	if err = i.prepare(ctx); err == nil {
		err = i.start(ctx, m)
	}
	if err == nil {
		_, err = i.Guest(ctx)
	}
	if err == nil {
		return i, nil
	}
	c, cancel := lifecycle.Detach(ctx, DeleteTimeout)
	defer cancel()
	return nil, errors.Join(fmt.Errorf("container %q: %w", spec.ID, err), i.Delete(c))
}

// newInner puts a container among those of the box, so that its record has it from now on.
func (b *Box) newInner(spec InnerSpec) *Inner {
	i := &Inner{
		line: newLine("container", spec.ID, b.host.cfg.Guest), box: b, spec: spec, dir: filepath.Join(b.dir, innersName, spec.ID),
		undo: lifecycle.NewCleanup(), group: lifecycle.NewGroup(context.Background()),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inners[spec.ID] = i
	return i
}

// Inner returns a container that an earlier process has added and which goes on. Errors: fault.NotFound.
func (b *Box) Inner(id string) (*Inner, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.inners[id]; i != nil {
		return i, nil
	}
	if err := b.gone[id]; err != nil {
		return nil, fault.New(fault.NotFound, "container %q: could not be taken over: %w", id, err)
	}
	return nil, fault.New(fault.NotFound, "container %q: is not in box %q", id, b.spec.ID)
}

// Clear removes what an earlier process may have left of a container that it was about to add. Nothing of it need be there.
func (b *Box) Clear(ctx context.Context, spec InnerSpec) error {
	if i, err := b.Inner(spec.ID); err == nil {
		return i.Delete(ctx)
	}
	m, err := b.booted(ctx)
	if err != nil {
		return err
	}
	return errors.Join(m.Part(spec.ID, spec.Name).Delete(ctx), os.RemoveAll(filepath.Join(b.dir, innersName, spec.ID)))
}

func (b *Box) all() []*Inner {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.inners))
}

// prepare gets what the container is made of. What was got is on the cleanup stack, also when it fails.
func (i *Inner) prepare(ctx context.Context) (err error) {
	image, release, err := i.box.host.cfg.Rootfs.Image(ctx, i.spec.Image)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	i.undo.Add(release)
	i.image = image
	i.ownsDir()
	for _, sub := range []string{runName, bundleName} {
		if err := os.MkdirAll(filepath.Join(i.dir, sub), 0o700); err != nil {
			return fmt.Errorf("folder: %w", err)
		}
	}
	i.socket, err = listenAt(i.dir, guestSocket, i.undo)
	return err
}

func (i *Inner) ownsDir() { i.undo.Add(func() { i.note(os.RemoveAll(i.dir)) }) }

// start boots it. Init often links before the runtime's command has returned, and waits until it is taken.
func (i *Inner) start(ctx context.Context, m Machine) error {
	binds, release, err := i.box.host.cfg.Rootfs.Mounts(ctx, i.spec.Mounts)
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	i.undo.Add(release)
	volumes, err := i.mountVolumes(ctx)
	if err != nil {
		return err
	}
	if i.part, err = m.Add(ctx, i.params(append(binds, volumes...))); err != nil {
		return err
	}
	i.serve()
	return nil
}

func (i *Inner) params(binds []container.Bind) container.SandboxParams {
	cfg := &i.box.host.cfg
	return container.SandboxParams{
		ID: i.spec.ID, Name: i.spec.Name, Dir: filepath.Join(i.dir, bundleName), Image: i.image, DiskDir: cfg.DiskDir, DiskMiB: i.box.spec.DiskMiB,
		Argv: initArgv,
		Binds: append([]container.Bind{
			{Source: cfg.RuntimeDir, Target: container.RuntimeTarget},
			{Source: filepath.Join(i.dir, runName), Target: filepath.Join(container.RuntimeTarget, runName)},
			{Source: filepath.Join(i.box.dir, "hosts"), Target: "/etc/hosts"},
			{Source: filepath.Join(i.box.dir, "resolv.conf"), Target: "/etc/resolv.conf"},
		}, binds...),
	}
}

// serve takes its init's links and waits for its end.
func (i *Inner) serve() {
	i.served = true
	i.group.Go("link", func(ctx context.Context) error {
		i.takeLinks(ctx)
		return nil
	})
	i.group.Go("end", func(ctx context.Context) error {
		defer close(i.done)
		if err := i.part.Wait(ctx); err == nil || ctx.Err() != nil {
			return nil
		}
		select { // nothing is known of it but that it ends with its box
		case <-i.box.Done():
		case <-ctx.Done():
		}
		return nil
	})
}

// resumeInner goes on with a container of an earlier process. One that can't go on is deleted, for nobody could reach it: then Inner says why.
func (b *Box) resumeInner(ctx context.Context, spec InnerSpec) {
	i := b.newInner(spec)
	i.part = b.boot.machine.Part(spec.ID, spec.Name)
	i.ownsDir()
	files, release, err := b.host.cfg.Rootfs.Adopt(ctx, spec.Image, spec.Mounts)
	if err == nil {
		i.undo.Add(release)
		i.image = files.Image
		err = forgetSockets(i.dir)
	}
	if err == nil {
		i.socket, err = listenAt(i.dir, guestSocket, i.undo)
	}
	if err == nil {
		err = i.adoptVolumes(ctx)
	}
	if err != nil {
		err = errors.Join(err, i.Delete(ctx))
		b.mu.Lock()
		defer b.mu.Unlock()
		b.gone[spec.ID] = err
		return
	}
	i.serve()
	i.group.Go("nudge", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, nudgeTimeout)
		defer cancel()
		err := i.part.Nudge(ctx)
		if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Unavailable) || ctx.Err() != nil {
			return nil // its end is heard of elsewhere
		}
		return err
	})
}

// ID is the container's name, "sc-...".
func (i *Inner) ID() string { return i.spec.ID }

// Image is the path of the file that the container's root is read from.
func (i *Inner) Image() string { return i.image }

// stop ends this process's part in the container.
func (i *Inner) stop() {
	i.stopping.Do(func() { i.note(i.group.Stop()) })
}

// release gives back what the container, which has ended, is made of.
func (i *Inner) release() {
	i.stop()
	i.releasing.Do(func() {
		i.endVolumes()
		i.undo.Run()
	})
	i.box.mu.Lock()
	defer i.box.mu.Unlock()
	delete(i.box.inners, i.spec.ID)
}

// Delete kills the container and gives back all that belongs to it; the box goes on. It works once; later calls return the same.
func (i *Inner) Delete(ctx context.Context) error {
	i.deleted.Do(func() {
		if i.part != nil {
			i.note(i.part.Delete(ctx))
		}
		i.release()
	})
	return i.failure()
}

func (i *Inner) note(err error) {
	if err != nil {
		i.failing.Lock()
		defer i.failing.Unlock()
		i.failed = append(i.failed, fmt.Errorf("container %q: %w", i.spec.ID, err))
	}
}

func (i *Inner) failure() error {
	i.failing.Lock()
	defer i.failing.Unlock()
	return errors.Join(i.failed...)
}
