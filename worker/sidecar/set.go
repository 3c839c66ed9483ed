package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
)

const (
	// MaxRunning is how many sidecars of a sandbox may run.
	MaxRunning = 16
	// maxEnded is how many that have ended are remembered.
	maxEnded = 64
)

// Base is what a sidecar's place in the world has from its sandbox.
type Base struct {
	Env          map[string]string // variables that all of a sandbox's processes have
	Certificates string            // PEM of an authority to trust besides those of the image; empty: none
}

// Use is how the sidecars of a sandbox are used.
type Use struct {
	Running   int // that have not ended
	Processes int // of clients, in all of them
}

// Config is what the sidecars of a sandbox share. All fields are needed.
type Config struct {
	SandboxID string
	Base      func() (Base, error)
	Logs      container.JournaledSink
	Log       *slog.Logger
	Journal   func(id string) (path string) // of the output of one
	Save      func() error                  // keeps Records on the disk
	Changed   func(Use)
	Reading   *sync.WaitGroup // counts those who hand over output
	// LinkTimeout is how long one may be out of reach before it is given up.
	LinkTimeout time.Duration
}

// Set is the sidecars of a sandbox, also those that have ended. It is safe for concurrent use.
type Set struct {
	cfg  Config
	life sync.WaitGroup

	mu      sync.Mutex
	all     []*Sidecar    // oldest first
	over    bool          // there won't be more
	leave   chan struct{} // closed when this process leaves them to the next
	telling sync.Mutex    // held while Changed is called, so that the newest comes last
}

// NewSet returns an empty set.
func NewSet(cfg Config) *Set { return &Set{cfg: cfg, leave: make(chan struct{})} }

// Start takes a sidecar of a box. One that is there already, by its id, is left as it is. Errors: fault.Invalid, fault.Exists (the name),
// fault.Exhausted, fault.Precondition once the sandbox ends.
func (s *Set) Start(b *box.Box, spec Spec) error {
	if err := errors.Join(ident.Check(ident.Sidecar, spec.ID), ident.CheckName("sidecar", spec.Name)); err != nil {
		return err
	}
	c, err := s.add(spec)
	if c == nil {
		return err
	}
	if err := s.cfg.Save(); err != nil {
		s.life.Done()
		s.drop(c)
		return err
	}
	s.changed()
	go func() {
		defer s.life.Done()
		c.live(b)
	}()
	return nil
}

// add puts a sidecar among the others, and counts its life; nil without an error: it is there.
func (s *Set) add(spec Spec) (*Sidecar, error) {
	c := newSidecar(s, spec)
	s.mu.Lock()
	defer s.mu.Unlock()
	running := 0
	for _, other := range s.all {
		state, _ := other.status()
		switch {
		case other.spec.ID == spec.ID:
			return nil, nil
		case state.State == command.Ended:
			continue
		case other.spec.Name == spec.Name:
			return nil, fault.New(fault.Exists, "sidecar %q: there is one in sandbox %q; terminate it first or choose another name", spec.Name, s.cfg.SandboxID)
		}
		running++
	}
	switch {
	case s.over:
		return nil, fault.New(fault.Precondition, "sidecar %q: sandbox %q ends", spec.Name, s.cfg.SandboxID)
	case running >= MaxRunning:
		return nil, fault.New(fault.Exhausted, "sidecar %q: sandbox %q has %d; terminate one first", spec.Name, s.cfg.SandboxID, running)
	}
	s.forgetOldest()
	s.all = append(s.all, c)
	s.life.Add(1)
	return c, nil
}

func (s *Set) drop(c *Sidecar) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = slices.DeleteFunc(s.all, func(other *Sidecar) bool { return other == c })
}

// forgetOldest makes room for another; the mutex is held.
func (s *Set) forgetOldest() {
	ended := 0
	for i := len(s.all) - 1; i >= 0; i-- {
		c := s.all[i]
		if state, _ := c.status(); state.State != command.Ended {
			continue
		}
		if ended++; ended >= maxEnded {
			s.warn(c, c.journal.Remove())
			s.all = slices.Delete(s.all, i, i+1)
		}
	}
}

func (s *Set) list() []*Sidecar {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// List returns the sidecars, oldest first.
func (s *Set) List() []Status {
	list := []Status{}
	for _, c := range s.list() {
		state, _ := c.status()
		list = append(list, state)
	}
	return list
}

// Running are the names of those that have not ended.
func (s *Set) Running() (names []string) {
	for _, state := range s.List() {
		if state.State != command.Ended {
			names = append(names, state.Name)
		}
	}
	return names
}

// find returns the newest of a name. Errors: fault.NotFound.
func (s *Set) find(name string) (*Sidecar, error) {
	all := s.list()
	for _, c := range slices.Backward(all) {
		if c.spec.Name == name {
			return c, nil
		}
	}
	return nil, fault.New(fault.NotFound, "sidecar %q: sandbox %q has none of that name", name, s.cfg.SandboxID)
}

// Wait returns the newest sidecar of a name once it has ended, or as it is when ctx ends. Errors: fault.NotFound.
func (s *Set) Wait(ctx context.Context, name string) (Status, error) {
	c, err := s.find(name)
	if err != nil {
		return Status{}, err
	}
	for {
		state, moved := c.status()
		if state.State == command.Ended {
			return state, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return state, nil
		}
	}
}

// Stop ends a sidecar; it does not wait for the end. Errors: fault.NotFound.
func (s *Set) Stop(name string) error {
	c, err := s.find(name)
	if err == nil {
		c.halt(command.NewEnd(command.Terminated, "it was terminated"))
	}
	return err
}

// Lose ends those whose root is one of these files, which can't be read any more.
func (s *Set) Lose(images []string, cause error) {
	for _, c := range s.list() {
		c.mu.Lock()
		inner := c.inner
		c.mu.Unlock()
		if inner != nil && slices.Contains(images, inner.Image()) {
			c.halt(command.NewEnd(command.Lost, fmt.Sprintf("its image can't be read any more: %v; start it again", cause)))
		}
	}
}

// LoseVolumes ends those whose own volumes can't be used any more.
func (s *Set) LoseVolumes(ids []string, cause error) {
	for _, c := range s.list() {
		if slices.Contains(ids, c.spec.ID) {
			c.halt(command.NewEnd(command.Lost, fmt.Sprintf("its volumes are lost: %v; start it again", cause)))
		}
	}
}

// End ends all because their sandbox ends, and returns when nothing of them is in use. There won't be others.
func (s *Set) End(why *command.End) {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	for _, c := range s.list() {
		c.halt(command.NewEnd(command.Terminated, "its sandbox has ended: "+why.Message))
	}
	s.life.Wait()
	for _, c := range s.list() { // those of which only the record is there
		if state, _ := c.status(); state.State != command.Ended {
			s.cfg.Logs.Keep(c.source())
			s.cfg.Logs.EOF(c.spec.ID)
			c.become(command.Ended, command.NewEnd(command.Lost, "its sandbox has ended: "+why.Message), nil)
		}
	}
}

// Leave ends this process's part in them; they go on, and the next process takes them over.
func (s *Set) Leave() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	close(s.leave)
	s.life.Wait()
}

// Records are what is to be kept of them.
func (s *Set) Records() []Record {
	var records []Record
	for _, c := range s.list() {
		records = append(records, c.record())
	}
	return records
}

// Load fills the set with what an earlier process has kept. Adopt goes on with those that run; End ends all.
func (s *Set) Load(records []Record) error {
	for _, r := range records {
		c := newSidecar(s, r.Spec)
		c.state, c.end = r.State, r.End
		var err error
		if c.journal, err = command.OpenJournal(s.cfg.Journal(r.Spec.ID)); err != nil {
			return err
		}
		s.all = append(s.all, c)
	}
	return nil
}

// Adopt goes on with those that ran, in a box that was taken over.
func (s *Set) Adopt(b *box.Box) {
	for _, c := range s.list() {
		s.life.Go(func() { c.resume(b) })
	}
}

// Forget removes what the disk has of them besides Records.
func (s *Set) Forget() error {
	var errs []error
	for _, c := range s.list() {
		errs = append(errs, c.journal.Remove())
	}
	return errors.Join(errs...)
}

// changed tells how they are used.
func (s *Set) changed() {
	s.telling.Lock()
	defer s.telling.Unlock()
	var u Use
	for _, c := range s.list() {
		c.mu.Lock()
		if c.state != command.Ended {
			u.Running++
			u.Processes += c.processes
		}
		c.mu.Unlock()
	}
	s.cfg.Changed(u)
}

func (s *Set) warn(c *Sidecar, err error) {
	if err != nil {
		s.cfg.Log.Error("sidecar left something behind", "sandbox", s.cfg.SandboxID, "sidecar", c.spec.ID, "error", err)
	}
}
