package sandbox

import (
	"time"

	"github.com/skerry-dev/skerry/gateway/fleet"
)

// entry is what memory holds of a sandbox that has not ended, or whose end is not in the store yet. The service's mutex guards it.
type entry struct {
	Sandbox
	reservation *fleet.Reservation // nil while its worker is away, or it is paused
	changed     chan struct{}      // closed at the next change; nil while nobody waits
	placed      bool               // a worker has taken it
	failed      error              // why no worker has; the entry is gone then
	link        uint64             // the link of its worker over which it was last heard of; 0: none
	absence     *time.Timer        // ends it if its worker does not come back
}

// watch returns a channel that is closed at the next change.
func (e *entry) watch() <-chan struct{} {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}

// touch says that something has changed.
func (e *entry) touch() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// release gives back what the sandbox holds of its worker.
func (e *entry) release() {
	if e.reservation != nil {
		e.reservation.Release()
		e.reservation = nil
	}
}

// present says whether its worker is linked.
func (e *entry) present() bool { return e.link != 0 }

// stopAbsence takes back that it ends without its worker.
func (e *entry) stopAbsence() {
	if e.absence != nil {
		e.absence.Stop()
		e.absence = nil
	}
}
