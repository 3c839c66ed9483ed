package sandbox

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/worker/command"
)

// TestExplainOfOneThatIsPaused has a request lose its link to a pause: it waits for that, and not for an end, which does not come.
func TestExplainOfOneThatIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Sandbox{state: command.Running, moved: make(chan struct{})} // without a box, as while a pause is under way
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		lost, got := errors.New("the link was lost"), make(chan error, 1)
		go func() { got <- s.Explain(ctx, lost) }()
		synctest.Wait()
		if len(got) > 0 {
			t.Errorf("while the pause is under way: %v", <-got)
		}
		began := time.Now()
		s.mu.Lock()
		s.state = command.Paused
		s.move()
		s.mu.Unlock()
		if err := <-got; !errors.Is(err, lost) || time.Since(began) > 0 {
			t.Errorf("once it is paused: %v after %s", err, time.Since(began))
		}
	})
}
