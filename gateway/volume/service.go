package volume

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// Creation says what becomes of a name. The numbers are those of skerry.v1.ObjectCreation.
type Creation uint8

// What becomes of it.
const (
	Lookup    Creation = 0
	IfMissing Creation = 1
	MustBeNew Creation = 2
	Ephemeral Creation = 3
)

// Deps are the parts of a Service. All are required.
type Deps struct {
	Store    Store
	Versions Versions
	Blobs    Blobs
	Workers  Workers
	Log      *slog.Logger
	// Window is how long an ephemeral volume lives without its client; 0: DefaultWindow.
	Window time.Duration
}

// Service makes, changes and reads volumes, and deletes ephemeral ones whose client has vanished. It is safe for concurrent use.
type Service struct {
	d      Deps
	reader *voltree.Reader
	recent *recent
	group  *lifecycle.Group

	mu    sync.Mutex
	locks map[string]*lock
	lives map[string]*time.Timer
}

// New returns a Service. Run is to be called for ephemeral volumes to end by themselves.
func New(d Deps) *Service {
	if d.Window == 0 {
		d.Window = DefaultWindow
	}
	return &Service{
		d: d, reader: voltree.NewReader(d.Blobs, voltree.DefaultCache), recent: newRecent(recentRoom),
		group: lifecycle.NewGroup(context.Background()), locks: map[string]*lock{}, lives: map[string]*time.Timer{},
	}
}

// Run gives every ephemeral volume a fresh window, and blocks until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	ephemeral, err := s.d.Store.EphemeralVolumes(ctx)
	if err != nil {
		return err
	}
	for _, v := range ephemeral {
		s.arm(v.ID)
	}
	<-ctx.Done()
	s.mu.Lock()
	for _, t := range s.lives {
		t.Stop()
	}
	s.mu.Unlock()
	return errors.Join(s.group.Stop(), context.Cause(ctx))
}

// arm begins an ephemeral volume's window.
func (s *Service) arm(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.lives[id]; t != nil {
		t.Reset(s.d.Window)
		return
	}
	s.lives[id] = time.AfterFunc(s.d.Window, func() {
		s.group.Go("end of volume "+id, func(ctx context.Context) error { s.expire(ctx, id); return nil })
	})
}

// expire deletes an ephemeral volume; where that fails, it is tried again a window later.
func (s *Service) expire(ctx context.Context, id string) {
	if err := s.Delete(ctx, id); err != nil && !errors.Is(err, fault.NotFound) && ctx.Err() == nil {
		s.d.Log.Warn("ephemeral volume is not deleted yet", "volume", id, "error", err)
		s.arm(id)
	}
}

func (s *Service) disarm(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.lives[id]; t != nil {
		t.Stop()
		delete(s.lives, id)
	}
}

// Wanted is a volume to find or to make.
type Wanted struct {
	Name, Environment string
	Creation          Creation
	// By is the name of the token that asks.
	By string
}

// Get finds a volume by name, or makes it. Errors: fault.Invalid, fault.NotFound, fault.Exists.
func (s *Service) Get(ctx context.Context, w Wanted) (*Volume, error) {
	if w.Creation > Ephemeral {
		return nil, fault.New(fault.Invalid, "volume %.80q: creation %d is not known", w.Name, w.Creation)
	}
	if w.Creation == Ephemeral {
		if w.Name != "" {
			return nil, fault.New(fault.Invalid, "volume %.80q: an ephemeral one has no name", w.Name)
		}
		v, err := s.create(ctx, w)
		if err == nil {
			s.arm(v.ID)
		}
		return v, err
	}
	if err := ident.CheckName("volume", w.Name); err != nil {
		return nil, err
	}
	if w.Creation != MustBeNew {
		v, err := s.d.Store.VolumeByName(ctx, w.Environment, w.Name)
		if err == nil || w.Creation == Lookup || !errors.Is(err, fault.NotFound) {
			return v, err
		}
	}
	v, err := s.create(ctx, w)
	if errors.Is(err, fault.Exists) && w.Creation == IfMissing { // another client was faster
		return s.d.Store.VolumeByName(ctx, w.Environment, w.Name)
	}
	return v, err
}

func (s *Service) create(ctx context.Context, w Wanted) (*Volume, error) {
	now := time.Now()
	empty, err := voltree.Apply(ctx, voltree.Params{Reader: s.reader, Sink: s.d.Blobs, Now: now})
	if err != nil {
		return nil, err
	}
	v := &Volume{ID: ident.New(ident.Volume), Name: w.Name, Environment: w.Environment, CreatedAt: now, CreatedBy: w.By}
	first := Version{Number: 1, Root: empty.Root, RequestID: ident.Random(22), CreatedAt: now, CreatedBy: w.By, Reason: "create"}
	return v, s.d.Store.CreateVolume(ctx, v, first)
}

// Volume returns a volume. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Volume(ctx context.Context, id string) (*Volume, error) {
	if err := ident.Check(ident.Volume, id); err != nil {
		return nil, err
	}
	return s.d.Store.Volume(ctx, id)
}

// CheckVolume returns a fault.NotFound for a volume that an environment has not.
func (s *Service) CheckVolume(ctx context.Context, environment, id string) error {
	v, err := s.Volume(ctx, id)
	if err == nil && v.Environment != environment {
		err = fault.New(fault.NotFound, "volume %q: is not one of the environment", id)
	}
	return err
}

// Head returns a volume's newest version. Errors: fault.NotFound.
func (s *Service) Head(ctx context.Context, id string) (*Version, error) {
	return s.d.Versions.Version(ctx, id, 0)
}

// List lists volumes with a name that were made before a moment, newest first.
func (s *Service) List(ctx context.Context, environment string, before time.Time, limit int) ([]Volume, error) {
	return s.d.Store.Volumes(ctx, environment, before, limit)
}

// Rename gives a volume another name. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Precondition for an ephemeral one.
func (s *Service) Rename(ctx context.Context, id, name string) error {
	if err := ident.CheckName("volume", name); err != nil {
		return err
	}
	v, err := s.Volume(ctx, id)
	if err != nil {
		return err
	}
	if v.Name == "" {
		return fault.New(fault.Precondition, "volume %q: is ephemeral and gets no name", id)
	}
	return s.d.Store.RenameVolume(ctx, id, name)
}

// Delete deletes a volume with its history. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Delete(ctx context.Context, id string) error {
	if err := ident.Check(ident.Volume, id); err != nil {
		return err
	}
	err := s.d.Store.DeleteVolume(ctx, id)
	if err == nil || errors.Is(err, fault.NotFound) {
		s.disarm(id)
	}
	return err
}

// Empty deletes all volumes of an environment.
func (s *Service) Empty(ctx context.Context, environment string) error {
	ephemeral, err := s.d.Store.EphemeralVolumes(ctx)
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(ephemeral, func(v Volume) bool { return v.Environment != environment })
	for {
		for _, v := range gone {
			if err := s.Delete(ctx, v.ID); err != nil && !errors.Is(err, fault.NotFound) {
				return err
			}
		}
		if gone, err = s.List(ctx, environment, time.Now().Add(time.Hour), emptied); err != nil || len(gone) == 0 {
			return err
		}
	}
}

// emptied is how many volumes are listed at a time to be deleted.
const emptied = 1000

// Keep says that the client of an ephemeral volume is there. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Keep(ctx context.Context, id string) error {
	v, err := s.Volume(ctx, id)
	if err != nil {
		return err
	}
	if v.Name == "" {
		s.arm(id)
	}
	return nil
}

// History lists the versions below a number that are kept, newest first; 0 is all. Errors: fault.NotFound.
func (s *Service) History(ctx context.Context, id string, before uint64, limit int) ([]Version, error) {
	return s.d.Versions.ListVersions(ctx, id, before, limit)
}

// Commit has the worker of a container commit what that has written to a volume. Errors: fault.NotFound, fault.Unavailable.
func (s *Service) Commit(ctx context.Context, containerID, id string) (uint64, error) {
	w, err := s.d.Workers.MountedOf(containerID)
	if err != nil {
		return 0, err
	}
	return w.Commit(ctx, containerID, id)
}

// Reload has the worker of a container commit, and show it the newest version. Errors: fault.NotFound, fault.Precondition,
// fault.Unavailable.
func (s *Service) Reload(ctx context.Context, containerID, id string) (uint64, error) {
	w, err := s.d.Workers.MountedOf(containerID)
	if err != nil {
		return 0, err
	}
	return w.Reload(ctx, containerID, id)
}

// Open returns the newest version for a worker that mounts the volume, and holds its tree. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Open(ctx context.Context, id string) (*Version, error) {
	if _, err := s.Volume(ctx, id); err != nil {
		return nil, err
	}
	for {
		v, err := s.Head(ctx, id)
		if err != nil {
			return nil, err
		}
		err = s.Hold(ctx, []string{v.Root})
		if errors.Is(err, fault.NotFound) {
			continue // it has gone between the two; there is a newer one, or no volume
		}
		return v, err
	}
}

// Hold keeps trees for HoldFor. Errors: fault.Invalid; fault.NotFound for one that is no version's, and was not held before.
func (s *Service) Hold(ctx context.Context, roots []string) error {
	for _, root := range roots {
		if err := ident.CheckDigest(root); err != nil {
			return err
		}
	}
	return s.d.Versions.HoldTrees(ctx, roots, time.Now().Add(HoldFor))
}
