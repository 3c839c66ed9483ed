package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/mount"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// Deps are the parts of a Service. All are required.
type Deps struct {
	Store   Store
	Names   Names
	Ages    Ages
	Builder Builder
	Trees   Trees
	Secrets Secrets
	Volumes Volumes
	Log     *slog.Logger
}

// Service builds each image once, however many ask, and finds built ones. It is safe for concurrent use.
type Service struct {
	d     Deps
	group *lifecycle.Group

	mu      sync.Mutex
	flights map[string]*flight // by image id
}

// New returns a Service.
func New(d Deps) *Service {
	return &Service{d: d, group: lifecycle.NewGroup(context.Background()), flights: map[string]*flight{}}
}

// Run blocks until ctx ends, then ends the builds under way and waits for them.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return errors.Join(s.group.Stop(), context.Cause(ctx))
}

// id returns the id of the image that a recipe makes. Of secrets the names of variables count: ids of an app's own secrets are others in
// every run, and values are nobody's business.
//
// An image that it begins with counts by its content, which may be another after it was built again.
func id(r Recipe, base *Image, secrets map[int]map[string]string) string {
	content := append([]byte(BuilderVersion+"\x00"), r.Canonical...)
	if base != nil {
		content = fmt.Appendf(content, "\x00%s", base.EROFS.Digest)
	}
	for _, step := range slices.Sorted(maps.Keys(secrets)) {
		content = fmt.Appendf(content, "\x00%d %q", step, slices.Sorted(maps.Keys(secrets[step])))
	}
	return ident.Derive(ident.Image, content)
}

// Image returns a built image. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Image(ctx context.Context, id string) (*Image, error) {
	if err := ident.Check(ident.Image, id); err != nil {
		return nil, err
	}
	return s.d.Store.Image(ctx, id)
}

// Build hands the events of the image's build to emit until its end: those there have been and those to come, of one build whoever asked
// for it first. An image that is there is Built at once, unless force. A build goes on as long as anybody listens to it; it ends when ctx
// of the last listener does. Errors: fault.Invalid, fault.NotFound (a tree, a secret, a volume), fault.Precondition (a Python series), fault.Unavailable, and
// those of emit.
func (s *Service) Build(ctx context.Context, r Request, emit func(Event) error) error {
	job := Job{Recipe: r.Recipe.Encoded, NoCache: r.Force && !r.Recipe.Force}
	var err error
	if job.Secrets, err = s.secrets(ctx, r); err != nil {
		return err
	}
	if err := s.volumes(ctx, r); err != nil {
		return err
	}
	if r.Recipe.Existing != "" {
		if job.Base, err = s.Image(ctx, r.Recipe.Existing); err != nil {
			return err
		}
		if r.Recipe.Bare {
			return emit(Event{Built: job.Base})
		}
	}
	id, force := id(r.Recipe, job.Base, job.Secrets), r.Force || r.Recipe.Force
	if r.Apart {
		id, force, job.NoCache = ident.New(ident.Image), true, true
	}
	job.ImageID = id
	if !force {
		im, err := s.d.Store.Image(ctx, id)
		if err == nil {
			return emit(Event{Built: im})
		}
		if !errors.Is(err, fault.NotFound) {
			return err
		}
	}
	f, leave, err := s.join(ctx, job, r.Recipe, force)
	if err != nil {
		return err
	}
	defer leave()
	return f.follow(ctx, emit)
}

func (s *Service) secrets(ctx context.Context, r Request) (map[int]map[string]string, error) {
	opened := map[int]map[string]string{}
	for step, ids := range r.Recipe.Secrets {
		variables, err := s.d.Secrets.Variables(ctx, r.AppID, ids)
		if err != nil {
			return nil, fmt.Errorf("image step %d: %w", step, err)
		}
		opened[step] = variables
	}
	return opened, nil
}

// volumes refuses volumes that the request's app may not use.
func (s *Service) volumes(ctx context.Context, r Request) error {
	if len(r.Recipe.Volumes) == 0 {
		return nil
	}
	if r.AppID == "" {
		return fault.New(fault.Invalid, "image: its steps have volumes, which are of an app's environment; build it in an app")
	}
	return s.d.Volumes.CheckVolumes(ctx, r.AppID, r.Recipe.Volumes)
}

// join returns the flight of the image, after starting it if there is none. Leave is to be called when the listener is done.
func (s *Service) join(ctx context.Context, job Job, r Recipe, force bool) (*flight, func(), error) {
	id := job.ImageID
	s.mu.Lock()
	if f := s.flights[id]; f != nil && (f.force || !force) {
		f.listeners++
		s.mu.Unlock()
		return f, func() { s.leave(f) }, nil
	}
	s.mu.Unlock()
	var err error
	if job.Trees, err = s.prepare(ctx, r); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flights[id]
	if f == nil || (force && !f.force) {
		f = newFlight(id, force)
		s.flights[id] = f
		s.group.Go("build "+id, func(ctx context.Context) error { s.fly(ctx, f, job); return nil })
	}
	f.listeners++
	return f, func() { s.leave(f) }, nil
}

func (s *Service) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.listeners--; f.listeners == 0 {
		s.land(f)
		f.abandon()
	}
}

// land takes the flight off the list, so that the next who asks begins anew. The lock is held.
func (s *Service) land(f *flight) {
	if s.flights[f.id] == f {
		delete(s.flights, f.id)
	}
}

// prepare refuses what can't be built before a build begins.
func (s *Service) prepare(ctx context.Context, r Recipe) ([]*mount.Tree, error) {
	trees := make([]*mount.Tree, 0, len(r.TreeDigests))
	for _, digest := range r.TreeDigests {
		t, err := s.d.Trees.Tree(ctx, digest)
		if err != nil {
			return nil, err
		}
		trees = append(trees, t)
	}
	if r.PythonSeries == "" {
		return trees, nil
	}
	series, hint, err := s.d.Builder.PythonSeries(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(series, r.PythonSeries) {
		have := "none"
		if len(series) > 0 {
			have = strings.Join(series, ", ")
		}
		return nil, fault.New(fault.Precondition, "python %q: no base image has it; there is %s. %s", r.PythonSeries, have, hint)
	}
	return trees, nil
}

// fly builds and stores the image, and ends the flight.
func (s *Service) fly(ctx context.Context, f *flight, job Job) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.abandoned, func() { cancel(errAbandoned) })()
	started := time.Now()
	end, err := s.build(ctx, f, job)
	s.mu.Lock()
	s.land(f)
	s.mu.Unlock()
	f.finish(end, err)
	switch {
	case err != nil:
		s.d.Log.Error("image build broke off", "image", f.id, "error", err)
	case end.Failed != nil:
		s.d.Log.Info("image build failed", "image", f.id, "step", end.Failed.Step, "elapsed", time.Since(started))
	default:
		s.d.Log.Info("image built", "image", f.id, "bytes", end.Built.EROFS.Size, "elapsed", time.Since(started))
	}
}

var errAbandoned = errors.New("everybody who waited for the build has left")

func (s *Service) build(ctx context.Context, f *flight, job Job) (Event, error) {
	if !f.force {
		// Another may have made it while this one was prepared.
		if im, err := s.d.Store.Image(ctx, f.id); err == nil || !errors.Is(err, fault.NotFound) {
			return Event{Built: im}, err
		}
	}
	j := &journal{now: time.Now}
	im, failure, err := s.d.Builder.Build(ctx, job, func(e Event) { j.add(e); f.add(e) })
	if log := j.log(); err == nil && len(log) > 0 {
		if err := s.d.Store.PutImageLog(ctx, f.id, log); err != nil {
			return Event{}, err
		}
	}
	switch {
	case err != nil:
		return Event{}, fmt.Errorf("image %q: %w", f.id, err)
	case failure != nil:
		failure.ImageID = f.id
		return Event{Failed: failure}, nil
	}
	im.ID, im.Recipe, im.CreatedAt = f.id, job.Recipe, time.Now()
	if err := s.d.Store.PutImage(ctx, *im); err != nil {
		return Event{}, err
	}
	return Event{Built: im}, nil
}
