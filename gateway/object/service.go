package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// maxKnown bounds the objects that memory knows.
const maxKnown = 10_000

// Deps are the parts of a Service. All but Window are required.
type Deps struct {
	Kind     ident.Kind
	Noun     string // as errors call it, such as "dict"
	Store    Store
	Lives    Lives
	Contents Contents
	Log      *slog.Logger
	// Window is how long an ephemeral object lives without a word from its client; 0: Window.
	Window time.Duration
}

// Service finds, makes and deletes the objects of one kind. It is safe for concurrent use.
type Service struct {
	d Deps

	mu    sync.RWMutex
	known map[string]Object // objects that were used, by id
}

// New returns a Service. Run is to be called for objects to end whose client is gone.
func New(d Deps) *Service {
	d.Window = cmp.Or(d.Window, Window)
	return &Service{d: d, known: map[string]Object{}}
}

// Get finds an object by name, or makes it. Errors: fault.NotFound, fault.Exists, fault.Invalid.
func (s *Service) Get(ctx context.Context, environment, name string, c Creation, by string) (Object, error) {
	if c == Ephemeral {
		if name != "" {
			return Object{}, fault.New(fault.Invalid, "%s %.80q: one that is ephemeral has no name", s.d.Noun, name)
		}
		return s.create(ctx, &Object{Environment: environment, CreatedBy: by}, time.Now())
	}
	if err := ident.CheckName(s.d.Noun, name); err != nil {
		return Object{}, err
	}
	if c != MustBeNew {
		o, err := s.d.Store.Object(ctx, Ref{Kind: s.d.Kind, Environment: environment, Name: name})
		switch {
		case err == nil:
			return *o, nil
		case !errors.Is(err, fault.NotFound):
			return Object{}, err
		case c == Lookup:
			return Object{}, fault.New(fault.NotFound, "%s %q: there is none in this environment; make it with create_if_missing, or: skerry %[1]s create %[2]s",
				s.d.Noun, name)
		}
	}
	made, err := s.create(ctx, &Object{Environment: environment, Name: name, CreatedBy: by}, time.Time{})
	if c == IfMissing && errors.Is(err, fault.Exists) { // somebody was quicker
		o, err := s.d.Store.Object(ctx, Ref{Kind: s.d.Kind, Environment: environment, Name: name})
		if err != nil {
			return Object{}, err
		}
		return *o, nil
	}
	return made, err
}

func (s *Service) create(ctx context.Context, o *Object, seen time.Time) (Object, error) {
	o.ID, o.Kind = ident.New(s.d.Kind), s.d.Kind
	if err := s.d.Store.CreateObject(ctx, o, seen); err != nil {
		return Object{}, s.taken(o.Name, err)
	}
	return *o, nil
}

// Find returns an object. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Find(ctx context.Context, id string) (Object, error) {
	s.mu.RLock()
	o, ok := s.known[id]
	s.mu.RUnlock()
	if ok {
		return o, nil
	}
	if err := ident.Check(s.d.Kind, id); err != nil {
		return Object{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock() // so that what is deleted meanwhile is not learnt
	found, err := s.d.Store.Object(ctx, Ref{ID: id})
	if err != nil {
		return Object{}, s.named(id, err)
	}
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[id] = *found
	return *found, nil
}

// named says of what kind an object is that is not there.
func (s *Service) named(id string, err error) error {
	if errors.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "%s %q: there is none, or it was deleted", s.d.Noun, id)
	}
	return err
}

// Rename gives an object another name. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Precondition for an ephemeral one.
func (s *Service) Rename(ctx context.Context, id, name string) error {
	if err := ident.CheckName(s.d.Noun, name); err != nil {
		return err
	}
	o, err := s.Find(ctx, id)
	if err != nil {
		return err
	}
	if o.Name == "" {
		return fault.New(fault.Precondition, "%s %q: is ephemeral and gets no name", s.d.Noun, id)
	}
	s.mu.Lock()
	defer s.mu.Unlock() // so that the old name is not learnt meanwhile
	delete(s.known, id)
	if err := s.d.Store.RenameObject(ctx, id, name); err != nil {
		return s.taken(name, s.named(id, err))
	}
	return nil
}

// taken says of what kind an object is whose name is taken.
func (s *Service) taken(name string, err error) error {
	if errors.Is(err, fault.Exists) {
		return fault.New(fault.Exists, "%s %q: is there already; choose another name or delete it", s.d.Noun, name)
	}
	return err
}

// List returns a page of those that have a name; its limit is as for PageSize.
func (s *Service) List(ctx context.Context, environment string, before time.Time, limit int) ([]Object, error) {
	return s.d.Store.Objects(ctx, Page{Kind: s.d.Kind, Environment: environment, Before: before, Limit: PageSize(limit)})
}

// Keep notes that the client of an ephemeral object is there. Errors: fault.NotFound.
func (s *Service) Keep(ctx context.Context, id string) error {
	return s.named(id, s.d.Lives.KeepObject(ctx, id, time.Now()))
}

// Delete deletes an object with all that it holds. Errors: fault.NotFound.
func (s *Service) Delete(ctx context.Context, id string) error {
	if err := s.d.Lives.DoomObjects(ctx, Ref{ID: id}); err != nil {
		return s.named(id, err)
	}
	return s.remove(ctx, id)
}

// DeleteAll deletes all that an environment has.
func (s *Service) DeleteAll(ctx context.Context, environment string) error {
	if err := s.d.Lives.DoomObjects(ctx, Ref{Kind: s.d.Kind, Environment: environment}); err != nil {
		return err
	}
	return s.reap(ctx, time.Time{})
}

// remove takes what a doomed object holds away. Where that fails, Run does it.
func (s *Service) remove(ctx context.Context, id string) error {
	s.mu.Lock()
	delete(s.known, id)
	s.mu.Unlock()
	if err := s.d.Contents.Drop(ctx, id); err != nil {
		return fmt.Errorf("%s %q: is deleted, and its contents not yet: %w", s.d.Noun, id, err)
	}
	return s.d.Lives.ForgetObject(ctx, id)
}

// Run removes objects whose client is gone, and finishes what a crash broke off, until ctx ends. Clients have the whole window to be heard
// after a start.
func (s *Service) Run(ctx context.Context) error {
	started := time.Now()
	tick := time.NewTicker(s.d.Window / 4)
	defer tick.Stop()
	for {
		before := time.Now().Add(-s.d.Window)
		if before.Before(started) {
			before = time.Time{}
		}
		if err := s.reap(ctx, before); err != nil && ctx.Err() == nil {
			s.d.Log.Warn("objects are not removed yet", "noun", s.d.Noun, "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// reap removes what is doomed, and ephemeral objects whose client was not heard of since a moment.
func (s *Service) reap(ctx context.Context, before time.Time) error {
	doomed, err := s.d.Lives.DoomedObjects(ctx, s.d.Kind, before)
	for _, id := range doomed {
		err = errors.Join(err, s.remove(ctx, id))
	}
	return err
}
