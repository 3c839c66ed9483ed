// Package sidecar is the worker's noun of a further container in a sandbox: an image, a command and a life of its own, within the sandbox's.
package sidecar

import (
	"maps"
	"sync"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
)

// Spec is a sidecar to start. What is not in its JSON is not kept on the disk.
type Spec struct {
	ID   string // "sc-..."
	Name string // no other that runs in the sandbox has it

	ImageID      string
	Image        container.Image
	ImageEnv     map[string]string `json:"-"`
	ImageWorkdir string
	Argv         []string          // of its command; empty: it waits until it is ended
	Terminal     bool              // of its command
	Env          map[string]string `json:"-"`
	SecretEnv    map[string]string `json:"-"` // not for logs
	Workdir      string            // empty: the image's
	Mounts       []container.Mount
	Volumes      []container.VolumeMount
}

// Status is a sidecar as it is at a moment.
type Status struct {
	ID, Name, ImageID string
	State             command.State
	End               *command.End // only with command.Ended
}

// Record is what the disk has of a sidecar.
type Record struct {
	Spec  Spec
	State command.State
	End   *command.End `json:",omitempty"`
}

// Sidecar is one sidecar. It is safe for concurrent use.
type Sidecar struct {
	set     *Set
	spec    Spec
	journal *command.Journal

	stops sync.Once
	stop  chan *command.End // holds why it is to end, once

	mu        sync.Mutex
	state     command.State
	end       *command.End
	ending    *command.End  // it ends, and what it has is given back
	inner     *box.Inner    // while it runs
	moved     chan struct{} // closed when state or inner has changed
	processes int           // of clients
}

func newSidecar(set *Set, spec Spec) *Sidecar {
	return &Sidecar{
		set: set, spec: spec, journal: command.NewJournal(set.cfg.Journal(spec.ID)),
		stop: make(chan *command.End, 1), state: command.Starting, moved: make(chan struct{}),
	}
}

func (c *Sidecar) status() (s Status, moved <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{ID: c.spec.ID, Name: c.spec.Name, ImageID: c.spec.ImageID, State: c.state, End: c.end}, c.moved
}

func (c *Sidecar) record() Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending != nil { // the next process would only give back
		return Record{Spec: c.spec, State: command.Ended, End: c.ending}
	}
	return Record{Spec: c.spec, State: c.state, End: c.end}
}

// become changes its state, keeps that on the disk and tells those who wait.
func (c *Sidecar) become(state command.State, end *command.End, inner *box.Inner) {
	c.mu.Lock()
	c.state, c.end, c.inner = state, end, inner
	if inner == nil {
		c.processes = 0
	}
	c.mu.Unlock()
	c.set.warn(c, c.set.cfg.Save())
	c.mu.Lock()
	close(c.moved)
	c.moved = make(chan struct{})
	c.mu.Unlock()
	c.set.changed()
}

// halt ends it, for the first reason that is given. It does not wait for the end.
func (c *Sidecar) halt(why *command.End) {
	c.stops.Do(func() { c.stop <- why })
}

// hasEnded returns why it has ended. Errors: fault.Precondition.
func (c *Sidecar) hasEnded() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == command.Ended {
		return fault.New(fault.Precondition, "sidecar %q: has ended: %s", c.spec.Name, c.end.Message)
	}
	return nil
}

// environment is what its processes begin with, over that of every sandbox.
func (s *Spec) environment(base map[string]string) map[string]string {
	env := map[string]string{"PATH": container.DefaultPath, "HOME": "/root", "LANG": "C.UTF-8"}
	maps.Copy(env, s.ImageEnv)
	maps.Copy(env, s.SecretEnv)
	maps.Copy(env, s.Env)
	maps.Copy(env, base)
	env["SKERRY_IMAGE_ID"], env["SKERRY_SIDECAR"] = s.ImageID, s.Name
	if s.Terminal && env["TERM"] == "" {
		env["TERM"] = "xterm-256color"
	}
	return env
}

// inner is the container that it is.
func (s *Spec) inner() box.InnerSpec {
	return box.InnerSpec{ID: s.ID, Name: s.Name, Image: s.Image, Mounts: s.Mounts, Volumes: s.Volumes}
}

func (s *Spec) workdir() string {
	for _, dir := range []string{s.Workdir, s.ImageWorkdir} {
		if dir != "" {
			return dir
		}
	}
	return container.DefaultWorkdir
}
