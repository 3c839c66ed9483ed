package volume

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// Deps are the parts of a Service. All but Window are required.
type Deps struct {
	Objects  object.Store
	Lives    object.Lives
	Store    Store
	Versions Versions
	Blobs    Blobs
	Workers  Workers
	Log      *slog.Logger
	// Window is how long an ephemeral volume lives without its client; 0: object.Window.
	Window time.Duration
}

// Service changes and reads volumes. It is safe for concurrent use.
type Service struct {
	d       Deps
	reader  *voltree.Reader
	recent  *recent
	objects *object.Service

	mu    sync.Mutex
	locks map[string]*lock
}

// New returns a Service. Its Objects' Run is to be called for ephemeral volumes to end by themselves.
func New(d Deps) *Service {
	s := &Service{d: d, reader: voltree.NewReader(d.Blobs, voltree.DefaultCache), recent: newRecent(recentRoom), locks: map[string]*lock{}}
	s.objects = object.New(object.Deps{
		Kind: ident.Volume, Noun: "volume", Store: begun{d.Objects, s}, Lives: d.Lives, Contents: versions{d.Store}, Log: d.Log, Window: d.Window,
	})
	return s
}

// Objects makes, finds, lists, renames and deletes volumes.
func (s *Service) Objects() *object.Service { return s.objects }

// begun makes volumes that have their first version.
type begun struct {
	object.Store
	s *Service
}

func (b begun) CreateObject(ctx context.Context, o *object.Object, seen time.Time) error {
	now := time.Now()
	empty, err := voltree.Apply(ctx, voltree.Params{Reader: b.s.reader, Sink: b.s.d.Blobs, Now: now})
	if err != nil {
		return err
	}
	first := Version{Number: 1, Root: empty.Root, RequestID: ident.Random(22), CreatedAt: now, CreatedBy: o.CreatedBy, Reason: "create"}
	return b.s.d.Store.CreateVolume(ctx, o, seen, first)
}

// versions are what volumes hold.
type versions struct{ store Store }

func (v versions) Drop(ctx context.Context, id string) error { return v.store.DropVersions(ctx, id) }

// CheckVolume returns a fault.NotFound for a volume that an environment has not.
func (s *Service) CheckVolume(ctx context.Context, environment, id string) error {
	v, err := s.objects.Find(ctx, id)
	if err == nil && v.Environment != environment {
		err = fault.New(fault.NotFound, "volume %q: is not one of the environment", id)
	}
	return err
}

// Head returns a volume's newest version. Errors: fault.NotFound.
func (s *Service) Head(ctx context.Context, id string) (*Version, error) {
	return s.d.Versions.Version(ctx, id, 0)
}

// History lists the versions below a number that are kept, newest first; 0 is all, and the limit as for object.PageSize. Errors: fault.NotFound.
func (s *Service) History(ctx context.Context, id string, before uint64, limit int) ([]Version, error) {
	return s.d.Versions.ListVersions(ctx, id, before, object.PageSize(limit))
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
func (s *Service) Reload(ctx context.Context, p MountPlace) (uint64, error) {
	w, err := s.d.Workers.MountedOf(p.ContainerID)
	if err != nil {
		return 0, err
	}
	return w.Reload(ctx, p)
}

// Open returns the newest version for a worker that mounts the volume, and holds its tree. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Open(ctx context.Context, id string) (*Version, error) {
	if _, err := s.objects.Find(ctx, id); err != nil {
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
