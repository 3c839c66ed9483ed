package environment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// Deps are the parts of a Service. All are required; Contents are emptied in their order.
type Deps struct {
	Store    Store
	Contents []Contents
	Log      *slog.Logger
}

// Service makes, finds, renames and deletes environments. It is safe for concurrent use.
type Service struct {
	d     Deps
	group *lifecycle.Group

	changing sync.Mutex // held while one is made, renamed or closed: memory follows the store in the same order
	mu       sync.RWMutex
	byID     map[string]Environment
	byName   map[string]string // id by name
	deleting map[string]*deletion
}

// deletion is one that goes on; err may be read once done is closed.
type deletion struct {
	done chan struct{}
	err  error
}

// New returns a Service that knows Main alone. Load is to be called before others are asked for, Run for deletions to be finished.
func New(d Deps) *Service {
	s := &Service{
		d: d, group: lifecycle.NewGroup(context.Background()), byID: map[string]Environment{}, byName: map[string]string{},
		deleting: map[string]*deletion{},
	}
	s.put(Environment{ID: Main, Name: Main})
	return s
}

// Load reads the environments that there are.
func (s *Service) Load(ctx context.Context) error {
	list, err := s.d.Store.Environments(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range list {
		s.put(e)
	}
	return nil
}

// Run goes on with the deletions that a crash broke off, and blocks until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	for _, e := range s.List() {
		if e.Deleting {
			s.empty(e)
		}
	}
	<-ctx.Done()
	return errors.Join(s.group.Stop(), context.Cause(ctx))
}

func (s *Service) put(e Environment) {
	if old, ok := s.byID[e.ID]; ok {
		delete(s.byName, old.Name)
	}
	s.byID[e.ID], s.byName[e.Name] = e, e.ID
}

// Resolve returns the id of an environment; an empty name is Main's. Errors: fault.Invalid, fault.NotFound, fault.Precondition (it is
// being deleted).
func (s *Service) Resolve(name string) (string, error) {
	e, err := s.Get(name)
	if err != nil {
		return "", err
	}
	if e.Deleting {
		return "", fault.New(fault.Precondition, "environment %q: is being deleted with all that is in it", name)
	}
	return e.ID, nil
}

// Get returns the environment of a name; an empty one is Main's. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Get(name string) (Environment, error) {
	name = cmp.Or(name, Main)
	if err := CheckName(name); err != nil {
		return Environment{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.byName[name]
	if !ok {
		return Environment{}, fault.New(fault.NotFound, "environment %q: there is none; make it with: skerry environment create %s", name, name)
	}
	return s.byID[id], nil
}

// Name returns what the environment of an id is called now; of one that is gone, the id.
func (s *Service) Name(id string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return cmp.Or(s.byID[id].Name, id)
}

// List returns all environments by name, those that are being deleted among them.
func (s *Service) List() []Environment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Environment, 0, len(s.byID))
	for _, e := range s.byID {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Environment) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Create makes an environment for a caller of the given name. Errors: fault.Invalid, fault.Exists, fault.Exhausted.
func (s *Service) Create(ctx context.Context, name, by string) (Environment, error) {
	if err := CheckName(name); err != nil {
		return Environment{}, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.free(name); err != nil {
		return Environment{}, err
	}
	if n := len(s.List()); n >= MaxCount {
		return Environment{}, fault.New(fault.Exhausted, "environment %q: there are %d, which is as many as there may be; delete one", name, n)
	}
	e := Environment{ID: ident.New(ident.Environment), Name: name, CreatedAt: time.Now().UTC(), CreatedBy: by}
	if err := s.d.Store.CreateEnvironment(ctx, e); err != nil {
		return Environment{}, err
	}
	s.set(e)
	return e, nil
}

// free returns a fault.Exists where a name is taken.
func (s *Service) free(name string) error {
	switch e, err := s.Get(name); {
	case err != nil:
		return nil //nolint:nilerr // that there is none is what was asked
	case e.Deleting:
		return fault.New(fault.Exists, "environment %q: one of that name is being deleted; wait until it is gone", name)
	default:
		return fault.New(fault.Exists, "environment %q: there is one of that name already", name)
	}
}

func (s *Service) set(e Environment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(e)
}

// Rename gives an environment another name; what is in it stays in it. Errors: fault.Invalid, fault.NotFound, fault.Exists,
// fault.Precondition (Main, or one that is being deleted).
func (s *Service) Rename(ctx context.Context, name, to string) (Environment, error) {
	if err := CheckName(to); err != nil {
		return Environment{}, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	e, err := s.Get(name)
	if err != nil {
		return e, err
	}
	if e.ID == Main {
		return e, fault.New(fault.Precondition, "environment %q: can't be renamed, for requests that name none mean it", Main)
	}
	if e.Deleting {
		return e, fault.New(fault.Precondition, "environment %q: is being deleted", name)
	}
	if to == e.Name {
		return e, nil
	}
	if err := s.free(to); err != nil {
		return e, err
	}
	if err := s.d.Store.RenameEnvironment(ctx, e.ID, to); err != nil {
		return e, err
	}
	e.Name = to
	s.set(e)
	return e, nil
}

// Delete removes an environment with all that is in it, and returns when it is gone. Once it has begun it goes on without the caller, and
// after a crash when the gateway next starts. Errors: fault.Invalid, fault.NotFound, fault.Precondition (Main).
func (s *Service) Delete(ctx context.Context, name string) error {
	e, err := s.close(ctx, name)
	if err != nil {
		return err
	}
	d := s.empty(e)
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close has nothing more come into an environment.
func (s *Service) close(ctx context.Context, name string) (Environment, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	e, err := s.Get(name)
	if err != nil || e.Deleting {
		return e, err
	}
	if e.ID == Main {
		return e, fault.New(fault.Precondition, "environment %q: can't be deleted, for requests that name none mean it", Main)
	}
	if err := s.d.Store.CloseEnvironment(ctx, e.ID); err != nil {
		return e, err
	}
	e.Deleting = true
	s.set(e)
	return e, nil
}

// empty begins to remove what is in a closed environment, and then itself, unless that goes on already.
func (s *Service) empty(e Environment) *deletion {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.deleting[e.ID]; d != nil {
		return d
	}
	d := &deletion{done: make(chan struct{})}
	s.deleting[e.ID] = d
	s.group.Go("delete environment "+e.ID, func(ctx context.Context) error {
		d.err = s.remove(ctx, e)
		s.mu.Lock()
		delete(s.deleting, e.ID)
		if d.err == nil {
			delete(s.byID, e.ID)
			delete(s.byName, e.Name)
		}
		s.mu.Unlock()
		close(d.done)
		return nil
	})
	return d
}

func (s *Service) remove(ctx context.Context, e Environment) error {
	for _, c := range s.d.Contents {
		if err := c.Empty(ctx, e.ID); err != nil {
			if ctx.Err() == nil {
				s.d.Log.Error("environment is not deleted; it is tried again at the next start", "environment", e.Name, "of", c.Noun, "error", err)
			}
			return fmt.Errorf("environment %q: its %s: %w", e.Name, c.Noun, err)
		}
	}
	if err := s.d.Store.DeleteEnvironment(ctx, e.ID, time.Now()); err != nil {
		return err
	}
	s.d.Log.Info("environment deleted", "environment", e.Name, "id", e.ID)
	return nil
}
