package command

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/box"
)

// Linked is what has an init: a box, or a container in it.
type Linked interface {
	// Guest returns the link to its init, waiting while there is none. Errors: fault.Unavailable if it has ended.
	Guest(ctx context.Context) (box.Guest, error)
}

var (
	_ Linked = (*box.Box)(nil)
	_ Linked = (*box.Inner)(nil)
)

// OnLink calls f with the link of a box or of a container in it, and again with the next one when f says that a link is lost.
// Errors: f's others, fault.Unavailable when it has ended.
func OnLink(ctx context.Context, of Linked, f func(box.Guest) error) error {
	for {
		g, err := of.Guest(ctx)
		if err != nil {
			return err
		}
		err = f(g)
		ends := errors.Is(err, context.Canceled) // init has ended what was under way: it closes the link next
		if ctx.Err() != nil || !ends && !errors.Is(err, fault.Unavailable) {
			return err
		}
		awaitLinkEnd(ctx, g, ends)
	}
}

// closingGrace is how long an init may take to close a link.
const closingGrace = 5 * time.Second

// awaitLinkEnd returns when a link has ended that is of no use any more; unless init ends it, it is ended here.
func awaitLinkEnd(ctx context.Context, g box.Guest, byInit bool) {
	if byInit {
		timer := time.NewTimer(closingGrace)
		defer timer.Stop()
		select {
		case <-g.Done():
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
	_ = g.Close() // the box dials another
	<-g.Done()
}
