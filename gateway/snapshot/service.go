package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// dropTimeout bounds how long a worker may take to drop a snapshot that is not needed any more.
const dropTimeout = 30 * time.Second

// Deps are the parts of a Service. All are required.
type Deps struct {
	Sandboxes *sandbox.Service
	Workers   Workers
	Images    Images
	Store     Store
	Log       *slog.Logger
}

// Service keeps states of sandboxes and makes sandboxes of them. It is safe for concurrent use.
type Service struct{ d Deps }

// New returns a Service.
func New(d Deps) *Service { return &Service{d: d} }

// worker returns the worker of a sandbox that has not ended.
func (s *Service) worker(ctx context.Context, id string) (Worker, sandbox.Sandbox, error) {
	if err := ident.Check(ident.Sandbox, id); err != nil {
		return nil, sandbox.Sandbox{}, err
	}
	workerID, sb, err := s.d.Sandboxes.Locate(ctx, id)
	if err != nil {
		return nil, sb, err
	}
	w, err := s.d.Workers.Snapshots(workerID)
	return w, sb, err
}

// running is worker once the sandbox has started.
func (s *Service) running(ctx context.Context, id string, limit time.Duration) (Worker, sandbox.Sandbox, error) {
	sb, err := s.d.Sandboxes.WaitStarted(ctx, id, limit)
	if err != nil {
		return nil, sb, err
	}
	if sb.State == sandbox.Paused {
		if sb, err = s.Resume(ctx, id); err != nil {
			return nil, sb, err
		}
	}
	if sb.State != sandbox.Running {
		return nil, sb, fault.New(fault.Precondition, "sandbox %q: does not run yet; try again", id)
	}
	return s.worker(ctx, id)
}

// limits returns how long something may take. Errors: fault.Invalid.
func limits(limit time.Duration) (time.Duration, error) {
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < time.Millisecond || limit > MaxLimit {
		return 0, fault.New(fault.Invalid, "limit %s: want 1ms to %s", limit, MaxLimit)
	}
	return limit, nil
}

// Files makes an image of a sandbox's files or, where dir is not empty, of one directory. Errors: fault.Invalid, fault.NotFound,
// fault.Precondition, fault.Exhausted, context.DeadlineExceeded.
func (s *Service) Files(ctx context.Context, id, dir string, limit, ttl time.Duration) (imageID string, err error) {
	if limit, err = limits(limit); err != nil {
		return "", err
	}
	if dir != "" && (!path.IsAbs(dir) || len(dir) > 4096 || strings.ContainsRune(dir, 0)) {
		return "", fault.New(fault.Invalid, "directory %.200q: want an absolute path", dir)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w, sb, err := s.running(ctx, id, limit)
	if err != nil {
		return "", err
	}
	file, err := w.Files(ctx, id, dir, limit)
	if err != nil {
		return "", err
	}
	base := sb.Definition.ImageID
	if dir != "" {
		base = ""
	}
	if imageID, err = s.d.Images.KeepFiles(ctx, file, base, ttl); err != nil {
		return "", err
	}
	s.d.Sandboxes.Snapshotted(id, imageID)
	return imageID, nil
}

// Take keeps a sandbox with its memory; it runs on. Errors: as Files.
func (s *Service) Take(ctx context.Context, id string, limit, ttl time.Duration) (*Snapshot, error) {
	snap, err := s.take(ctx, id, limit, true)
	if err != nil {
		return nil, err
	}
	if ttl > 0 {
		snap.ExpiresAt = snap.CreatedAt.Add(ttl)
	}
	if err := s.d.Store.PutSnapshot(ctx, *snap); err != nil {
		s.drop(ctx, snap)
		return nil, err
	}
	s.d.Sandboxes.Snapshotted(id, snap.ID)
	return snap, nil
}

func (s *Service) take(ctx context.Context, id string, limit time.Duration, store bool) (*Snapshot, error) {
	limit, err := limits(limit)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w, sb, err := s.running(ctx, id, limit)
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{ID: ident.New(ident.Snapshot), Sandbox: sb, WorkerID: sb.WorkerID, CreatedAt: time.Now().UTC()}
	snap.Manifest, snap.Size, err = w.Memory(ctx, id, snap.ID, limit, store)
	return snap, err
}

// drop has a worker remove a snapshot from its disk; what fails is logged, and the worker removes it in time by itself.
func (s *Service) drop(ctx context.Context, snap *Snapshot) {
	ctx, cancel := lifecycle.Detach(ctx, dropTimeout)
	defer cancel()
	w, err := s.d.Workers.Snapshots(snap.WorkerID)
	if err == nil {
		err = w.Drop(ctx, snap.ID)
	}
	if err != nil && !errors.Is(err, fault.NotFound) {
		s.d.Log.Warn("a snapshot is still on its worker", "snapshot", snap.ID, "worker", snap.WorkerID, "error", err)
	}
}

// Get returns a snapshot. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Get(ctx context.Context, id string) (*Snapshot, error) {
	if err := ident.Check(ident.Snapshot, id); err != nil {
		return nil, err
	}
	snap, err := s.d.Store.Snapshot(ctx, id)
	if err == nil && !snap.ExpiresAt.IsZero() && time.Now().After(snap.ExpiresAt) {
		return nil, fault.New(fault.NotFound, "snapshot %q: expired at %s", id, snap.ExpiresAt.Format(time.RFC3339))
	}
	return snap, err
}

// Delete forgets a snapshot. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Delete(ctx context.Context, id string) error {
	snap, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := s.d.Store.DeleteSnapshot(ctx, id); err != nil {
		return err
	}
	s.drop(ctx, snap)
	return nil
}

// Prune forgets snapshots that have expired.
func (s *Service) Prune(ctx context.Context) error {
	expired, err := s.d.Store.ExpiredSnapshots(ctx, time.Now())
	if err != nil {
		return err
	}
	for i := range expired {
		if err := s.d.Store.DeleteSnapshot(ctx, expired[i].ID); err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		s.drop(ctx, &expired[i])
	}
	return nil
}

// Restore makes a sandbox of a snapshot, with a name of its own, or that of the sandbox that it was made of. Errors: fault.NotFound, fault.Exists,
// fault.Exhausted.
func (s *Service) Restore(ctx context.Context, id, sandboxID, name string, inherit bool) (sandbox.Sandbox, error) {
	snap, err := s.Get(ctx, id)
	if err != nil {
		return sandbox.Sandbox{}, err
	}
	if inherit {
		name = snap.Sandbox.Definition.Name
	}
	return s.restore(ctx, snap, sandboxID, name)
}

func (s *Service) restore(ctx context.Context, snap *Snapshot, sandboxID, name string) (sandbox.Sandbox, error) {
	d := snap.Sandbox.Definition
	d.Name = name
	r := sandbox.Request{
		ID: sandboxID, AppID: snap.Sandbox.AppID, Definition: d, SnapshotID: snap.ID,
		Snapshot: &sandbox.Snapshot{ID: snap.ID, ManifestDigest: snap.Manifest}, WorkerID: snap.WorkerID,
	}
	sb, err := s.d.Sandboxes.Create(ctx, r)
	if snap.Manifest != "" && (errors.Is(err, fault.Exhausted) || errors.Is(err, fault.Unavailable)) {
		r.WorkerID = "" // another worker takes it from the blob store
		sb, err = s.d.Sandboxes.Create(ctx, r)
	}
	return sb, err
}

// Fork makes sandboxes that go on from where one is, which runs on itself. It returns when all run; where one can't be made, those that could
// are ended again. Errors: as Take and Restore.
func (s *Service) Fork(ctx context.Context, id string, forks []string, limit time.Duration) ([]sandbox.Sandbox, error) {
	if len(forks) == 0 || len(forks) > MaxForks {
		return nil, fault.New(fault.Invalid, "fork of sandbox %q: %d sandboxes, want 1 to %d", id, len(forks), MaxForks)
	}
	for _, fork := range forks {
		if err := ident.Check(ident.Sandbox, fork); err != nil {
			return nil, err
		}
	}
	snap, err := s.take(ctx, id, limit, false)
	if err != nil {
		return nil, err
	}
	defer s.drop(ctx, snap)
	out := make([]sandbox.Sandbox, len(forks))
	group, inner := errgroup.WithContext(ctx)
	for i, fork := range forks {
		group.Go(func() error {
			if _, err := s.restore(inner, snap, fork, ""); err != nil {
				return err
			}
			sb, err := s.d.Sandboxes.WaitStarted(inner, fork, sandbox.MaxWait)
			out[i] = sb
			return err
		})
	}
	if err := group.Wait(); err != nil {
		s.endAll(ctx, forks)
		return nil, fmt.Errorf("fork of sandbox %q: %w", id, err)
	}
	s.d.Sandboxes.Snapshotted(id, snap.ID)
	return out, nil
}

func (s *Service) endAll(ctx context.Context, ids []string) {
	ctx, cancel := lifecycle.Detach(ctx, dropTimeout)
	defer cancel()
	for _, id := range ids {
		if _, err := s.d.Sandboxes.Terminate(ctx, id, false); err != nil && !errors.Is(err, fault.NotFound) {
			s.d.Log.Warn("a fork is not ended", "sandbox", id, "error", err)
		}
	}
}

// Pause keeps a sandbox on its worker's disk and frees all else. Errors: as Take.
func (s *Service) Pause(ctx context.Context, id string, limit time.Duration) (sandbox.Sandbox, error) {
	limit, err := limits(limit)
	if err != nil {
		return sandbox.Sandbox{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	sb, err := s.d.Sandboxes.WaitStarted(ctx, id, limit)
	if err != nil || sb.State == sandbox.Paused {
		return sb, err
	}
	w, _, err := s.worker(ctx, id)
	if err != nil {
		return sb, err
	}
	if err := w.Pause(ctx, id, limit); err != nil {
		return sb, err
	}
	return s.d.Sandboxes.WaitState(ctx, id, sandbox.Paused)
}

// Resume has a paused sandbox run on. Errors: fault.NotFound, fault.Precondition, fault.Exhausted.
func (s *Service) Resume(ctx context.Context, id string) (sandbox.Sandbox, error) {
	w, sb, err := s.worker(ctx, id)
	if err != nil || sb.State != sandbox.Paused {
		return sb, err
	}
	rules, err := s.d.Sandboxes.EgressRules(ctx, &sb)
	if err != nil {
		return sb, err
	}
	if err := w.Resume(ctx, id, rules); err != nil {
		return sb, err
	}
	return s.d.Sandboxes.WaitState(ctx, id, sandbox.Running)
}

// Mount shows an image, or an empty directory, at a path of a sandbox. Errors: fault.Invalid, fault.NotFound, fault.Precondition.
func (s *Service) Mount(ctx context.Context, id, at, imageID string) error {
	if err := function.CheckTarget(at); err != nil {
		return err
	}
	var im *sandbox.Image
	if imageID != "" {
		if err := ident.Check(ident.Image, imageID); err != nil {
			return err
		}
		found, err := s.d.Images.SandboxImage(ctx, imageID)
		if err != nil {
			return err
		}
		im = &found
	}
	w, _, err := s.running(ctx, id, DefaultLimit)
	if err != nil {
		return err
	}
	return w.Mount(ctx, id, at, im)
}

// Unmount takes a mount away. Errors: fault.Invalid, fault.NotFound, fault.Precondition.
func (s *Service) Unmount(ctx context.Context, id, at string) error {
	if err := function.CheckTarget(at); err != nil {
		return err
	}
	w, _, err := s.running(ctx, id, DefaultLimit)
	if err != nil {
		return err
	}
	return w.Unmount(ctx, id, at)
}
