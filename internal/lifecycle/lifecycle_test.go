package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/lifecycle"
)

func TestGroupEndsWithTheFirstError(t *testing.T) {
	boom := errors.New("boom")
	g := lifecycle.NewGroup(t.Context())
	g.Go("waits", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.Go("fails", func(context.Context) error { return boom })
	err := g.Wait()
	if !errors.Is(err, boom) || err.Error() != "fails: boom" {
		t.Errorf("got %v", err)
	}
	if cause := context.Cause(g.Context()); !errors.Is(cause, boom) {
		t.Errorf("cause %v", cause)
	}
}

func TestStopIsNoError(t *testing.T) {
	g := lifecycle.NewGroup(t.Context())
	g.Go("waits", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
}

func TestCleanupRunsBackwardsUnlessReleased(t *testing.T) {
	var got []int
	c := lifecycle.NewCleanup()
	for i := range 3 {
		c.Add(func() { got = append(got, i) })
	}
	kept := c.Release()
	c.Run()
	if got != nil {
		t.Errorf("released steps ran: %v", got)
	}
	kept()
	if !slices.Equal(got, []int{2, 1, 0}) {
		t.Errorf("order %v", got)
	}
}

func TestDetachOutlivesItsParent(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	cancel()
	ctx, stop := lifecycle.Detach(parent, time.Hour)
	defer stop()
	if ctx.Err() != nil {
		t.Error("ended with its parent")
	}
}
