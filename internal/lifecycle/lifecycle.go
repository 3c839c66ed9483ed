// Package lifecycle runs the long-lived parts of a process and unwinds half-built things.
//
// The convention of all our components: New allocates, Run(ctx) error acquires what it needs and blocks until ctx ends or it fails,
// Close gives back what New took.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrHandover is the cause of a context's end where the process ends so that its next one goes on with what it can be handed.
var ErrHandover = errors.New("the process hands over to its next one")

// Group owns goroutines. Each has a name and ends when the group's context does; the first that fails ends the group, with its error
// as the cause. The zero value is not usable; see NewGroup.
type Group struct {
	ctx    context.Context //nolint:containedctx // the group is the owner of this context and hands it to every goroutine
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

// NewGroup returns a group whose context is derived from ctx.
func NewGroup(ctx context.Context) *Group {
	c, cancel := context.WithCancelCause(ctx)
	return &Group{ctx: c, cancel: cancel}
}

// Context is done when the group ends; its cause is the first error.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs f until it returns. An error other than the context's own ends the group with "name: error".
func (g *Group) Go(name string, f func(context.Context) error) {
	g.wg.Go(func() {
		err := f(g.ctx)
		if err == nil || (g.ctx.Err() != nil && errors.Is(err, context.Canceled)) {
			return
		}
		g.fail(fmt.Errorf("%s: %w", name, err))
	})
}

func (g *Group) fail(err error) {
	g.once.Do(func() {
		g.err = err
		g.cancel(err)
	})
}

// Stop ends the group's context and waits for its goroutines. It returns the first error.
func (g *Group) Stop() error { return g.StopFor(context.Canceled) }

// StopFor is Stop with a cause of its own for the context's end.
func (g *Group) StopFor(cause error) error {
	g.cancel(cause)
	return g.Wait()
}

// Wait waits for all goroutines and returns the first error.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.once.Do(func() {})
	g.cancel(context.Canceled)
	return g.err
}

// Cleanup undoes the steps of building something, last first, unless Release is called when all steps are done.
//
//	undo := lifecycle.NewCleanup()
//	defer undo.Run()
//	... undo.Add(func() { ... })
//	undo.Release()
type Cleanup struct{ steps []func() }

// NewCleanup returns an empty stack.
func NewCleanup() *Cleanup { return &Cleanup{} }

// Add puts a step on the stack.
func (c *Cleanup) Add(step func()) { c.steps = append(c.steps, step) }

// Run undoes the steps, last first, once.
func (c *Cleanup) Run() {
	for i := len(c.steps) - 1; i >= 0; i-- {
		c.steps[i]()
	}
	c.steps = nil
}

// Release keeps what was built: Run then does nothing. It returns the steps as one function, for a Close to call later.
func (c *Cleanup) Release() func() {
	kept := &Cleanup{steps: c.steps}
	c.steps = nil
	return kept.Run
}

// Detach returns a context for cleaning up after ctx has ended: its values, not its end, and a limit of its own.
func Detach(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
