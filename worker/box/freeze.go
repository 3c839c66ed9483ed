package box

import (
	"context"
	"fmt"
	"path"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/snapshot"
)

// FilesParams is what a snapshot of the box's files is made of: of all, or of one folder. Need is about how many bytes they have written. Errors:
// fault.Precondition if its image is not in chunks.
func (b *Box) FilesParams(ctx context.Context, folder string, need uint64) (snapshot.FilesParams, error) {
	m, err := b.booted(ctx)
	if err != nil {
		return snapshot.FilesParams{}, err
	}
	if !b.spec.Image.Chunked {
		return snapshot.FilesParams{}, fault.New(fault.Precondition, "its image is kept in one piece, which snapshots can't share; build the image again")
	}
	leave := []string{container.RuntimeTarget, "/etc/hosts", "/etc/resolv.conf"}
	for _, bind := range b.binds {
		leave = append(leave, bind.Target)
	}
	for at := range b.Record().Mounts {
		leave = append(leave, at)
	}
	return snapshot.FilesParams{Image: b.spec.Image.Ref, File: b.image, Save: m.SaveFiles, Need: need, Leave: leave, Path: folder}, nil
}

// Checkpoint keeps all that runs in the box, with its files, in a folder; with goOn it runs on after that, else it has ended. Its link ends, and
// comes again. Errors: fault.Precondition if images or buckets are mounted in it or there are containers besides its own, fault.Unavailable.
func (b *Box) Checkpoint(ctx context.Context, dir string, goOn bool) error {
	b.adding.Lock()
	defer b.adding.Unlock()
	if len(b.all()) > 0 {
		return fault.New(fault.Precondition, "other containers run in it; end them first")
	}
	if len(b.Record().Mounts) > 0 {
		return fault.New(fault.Precondition, "images are mounted in it; unmount them first")
	}
	if len(b.spec.Buckets) > 0 {
		return fault.New(fault.Precondition, "buckets are mounted in it: its memory can't be kept, as what it has open in them would be lost")
	}
	m, err := b.booted(ctx)
	if err != nil {
		return err
	}
	g, err := b.Guest(ctx)
	if err != nil {
		return err
	}
	if err := g.Quiesce(ctx); err != nil {
		return err
	}
	select {
	case <-g.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err = m.Checkpoint(ctx, dir, goOn)
	if err != nil || goOn {
		b.group.Go("nudge", b.nudge)
	}
	return err
}

// Mount shows an image at a path of the box, or without one an empty folder, to which size bytes may be written. What was shown there goes.
// Errors: fault.Invalid, fault.Precondition, fault.Unavailable, and those of getting the image.
func (b *Box) Mount(ctx context.Context, at string, image *container.Image, size uint64) error {
	at = path.Clean(at)
	m, err := b.booted(ctx)
	if err != nil {
		return err
	}
	g, err := b.Guest(ctx)
	if err != nil {
		return err
	}
	b.mounting.Lock()
	defer b.mounting.Unlock()
	name, err := g.PrepareMount(ctx, at)
	if err != nil {
		return err
	}
	b.unmounted(at)
	if image == nil {
		if err := g.Bind(ctx, "", at, size); err != nil {
			return err
		}
		b.mounted(at, container.Image{}, func() {})
		return nil
	}
	file, release, err := b.host.cfg.Rootfs.Image(ctx, *image)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	err = m.Mount(ctx, file, path.Join(container.RuntimeTarget, "mnt", name, "image"))
	if err == nil {
		err = g.Bind(ctx, name, at, size)
	}
	if err != nil {
		release()
		return err
	}
	b.mounted(at, *image, release)
	return nil
}

// Unmount takes away what Mount shows. Errors: fault.NotFound, fault.Precondition if it is in use, fault.Unavailable.
func (b *Box) Unmount(ctx context.Context, at string) error {
	at = path.Clean(at)
	g, err := b.Guest(ctx)
	if err != nil {
		return err
	}
	b.mounting.Lock()
	defer b.mounting.Unlock()
	if err := g.Unbind(ctx, at); err != nil {
		return err
	}
	b.unmounted(at)
	return nil
}

// Shows says whether Mount shows anything: then its memory can't be kept.
func (b *Box) Shows() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mounts) > 0
}

// mount is an image that is shown in the box.
type mount struct {
	image   container.Image
	release func()
}

func (b *Box) mounted(at string, image container.Image, release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mounts[at] = mount{image, release}
}

func (b *Box) unmounted(at string) {
	b.mu.Lock()
	m, ok := b.mounts[at]
	delete(b.mounts, at)
	b.mu.Unlock()
	if ok {
		m.release()
	}
}
