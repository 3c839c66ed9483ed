package sandbox

import (
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/snapshot"
)

// Snapshots keeps states of sandboxes. Implemented by snapshot.Store, which documents the methods.
type Snapshots interface {
	Files(ctx context.Context, p snapshot.FilesParams) (image payload.Ref, err error)
	Keep(ctx context.Context, id string, need uint64, save func(ctx context.Context, dir string) error) (size uint64, err error)
	Store(ctx context.Context, id string) (manifest string, err error)
	Dir(ctx context.Context, id, manifest string) (dir string, release func() error, err error)
	Drop(id string) error
	List() ([]string, error)
}

var _ Snapshots = (*snapshot.Store)(nil)

// SnapshotRef is a snapshot with memory that a sandbox is made from.
type SnapshotRef struct{ ID, Manifest string }

// mountBytes is how much may be written to an image that is shown in a sandbox; it is memory of the sandbox.
const mountBytes = 1 << 30

// SnapshotFiles makes an image of its files, or of one folder, in the blob store. Errors: fault.Precondition if it has ended or can't be had,
// fault.NotFound if there is no such folder, fault.Exhausted, fault.Unavailable.
func (s *Sandbox) SnapshotFiles(ctx context.Context, folder string) (payload.Ref, error) {
	g, release, err := s.Use(ctx)
	if err != nil {
		return payload.Ref{}, err
	}
	defer release()
	usage, err := g.Usage(ctx)
	if err != nil {
		return payload.Ref{}, s.Explain(ctx, err)
	}
	b, err := s.running(ctx)
	if err != nil {
		return payload.Ref{}, err
	}
	p, err := b.FilesParams(ctx, folder, usage.DiskBytes)
	if err != nil {
		return payload.Ref{}, fmt.Errorf("sandbox %q: %w", s.spec.ID, err)
	}
	return s.host.cfg.Snapshots.Files(ctx, p)
}

// SnapshotMemory keeps it with its memory under an id, and with store in the blob store as well; it runs on. Errors: as SnapshotFiles,
// fault.Exists.
func (s *Sandbox) SnapshotMemory(ctx context.Context, id string, store bool) (ref SnapshotRef, size uint64, err error) {
	_, release, err := s.Use(ctx)
	if err != nil {
		return SnapshotRef{}, 0, err
	}
	defer release()
	b, err := s.running(ctx)
	if err != nil {
		return SnapshotRef{}, 0, err
	}
	s.freeze(1)
	defer s.freeze(-1)
	size, err = s.keep(ctx, b, id, true)
	if err != nil {
		return SnapshotRef{}, 0, s.Explain(ctx, err)
	}
	if _, err := b.Guest(ctx); err != nil { // it can be used again
		return SnapshotRef{}, 0, s.Explain(ctx, err)
	}
	ref = SnapshotRef{ID: id}
	if store {
		if ref.Manifest, err = s.host.cfg.Snapshots.Store(ctx, id); err != nil {
			return SnapshotRef{}, 0, err
		}
	}
	return ref, size, nil
}

// keep takes a checkpoint. Errors: fault.Precondition for one with volumes, of which files may be open that are others' by the time that it
// goes on.
func (s *Sandbox) keep(ctx context.Context, b *box.Box, id string, goOn bool) (uint64, error) {
	if err := s.alone(); err != nil {
		return 0, err
	}
	if len(s.spec.Volumes) > 0 {
		return 0, fault.New(fault.Precondition, "sandbox %q: it has volumes, with which memory can't be kept; snapshot its files instead", s.spec.ID)
	}
	_, memory, err := s.host.cfg.Groups.Usage(b.ID())
	if err != nil {
		return 0, err
	}
	return s.host.cfg.Snapshots.Keep(ctx, id, memory, func(ctx context.Context, dir string) error { return b.Checkpoint(ctx, dir, goOn) })
}

// freeze counts checkpoints that are taken: there is no link meanwhile.
func (s *Sandbox) freeze(n int) {
	s.mu.Lock()
	s.frozen += n
	s.mu.Unlock()
	s.notify()
}

// MountImage shows an image at a path, or without one an empty folder, writable. Errors: fault.Precondition if it has ended, fault.Invalid,
// fault.NotFound, fault.Unavailable.
func (s *Sandbox) MountImage(ctx context.Context, path string, image *container.Image) error {
	return s.inBox(ctx, func(b *box.Box) error { return b.Mount(ctx, path, image, mountBytes) })
}

// UnmountImage takes it away. Errors: fault.NotFound, fault.Precondition if it is in use or the sandbox has ended.
func (s *Sandbox) UnmountImage(ctx context.Context, path string) error {
	return s.inBox(ctx, func(b *box.Box) error { return b.Unmount(ctx, path) })
}

// inBox calls f with the sandbox's box while it is in use, and keeps what has changed of it.
func (s *Sandbox) inBox(ctx context.Context, f func(b *box.Box) error) error {
	_, release, err := s.Use(ctx)
	if err != nil {
		return err
	}
	defer release()
	b, err := s.running(ctx)
	if err != nil {
		return err
	}
	if err := f(b); err != nil {
		return s.Explain(ctx, fmt.Errorf("sandbox %q: %w", s.spec.ID, err))
	}
	return s.save()
}

// from returns the folder of the snapshot that the sandbox is made from, until release; "" for none.
func (s *Sandbox) from(ctx context.Context) (dir string, release func() error, err error) {
	ref := s.spec.Snapshot
	if ref == nil {
		return "", func() error { return nil }, nil
	}
	return s.host.cfg.Snapshots.Dir(ctx, ref.ID, ref.Manifest)
}

// DropSnapshot removes a snapshot with memory from the worker's disk. One that is not there is no error.
func (h *Host) DropSnapshot(id string) error {
	if _, err := h.Get(id); err == nil {
		return fault.New(fault.Invalid, "snapshot %q: is a paused sandbox's", id)
	}
	return h.cfg.Snapshots.Drop(id)
}
