package server

import (
	"context"
	"errors"
	"sync"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
)

// errOverTime is the cause of the end of a build that took too long.
var errOverTime = errors.New("the build took too long")

// timed makes an image within the time that a whole build may take. Steps have limits of their own; this one is for what has none, such as a
// registry that goes silent, and for many steps that each stay below theirs.
func (s *Server) timed(ctx context.Context, r build.Request, events build.Events) (*build.Image, error) {
	inner, cancel := context.WithTimeoutCause(ctx, s.config.Time, errOverTime)
	defer cancel()
	f := &following{Events: events}
	im, err := s.make(inner, r, f)
	if err == nil || !errors.Is(context.Cause(inner), errOverTime) {
		return im, err
	}
	failure := f.failure()
	failure.Message = "the build took longer than " + runtime.Duration(s.config.Time) + " (the builder's build_total_timeout)"
	return nil, failure
}

// following knows which step of a build was heard of last.
type following struct {
	build.Events
	mu   sync.Mutex
	last build.Step
}

// Step implements build.Events.
func (f *following) Step(s build.Step) {
	f.mu.Lock()
	if s.State == build.Running || s.State == build.Failed {
		f.last = s
	}
	f.mu.Unlock()
	f.Events.Step(s)
}

// failure is that of the step that ran last; of none where none had begun.
func (f *following) failure() *build.FailedError {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &build.FailedError{Step: f.last.Name, RecipeStep: f.last.RecipeStep}
}
