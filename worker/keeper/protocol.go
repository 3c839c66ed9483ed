package keeper

import (
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Protocols of this release. A number is what worker and keeper say to one another: a change that the other side may ignore leaves it alone.
const (
	// OldestProtocol is the oldest that this release still speaks: at least that of the release before.
	OldestProtocol = 1
	NewestProtocol = 1
)

// What the worker asks the keeper. Hello comes first and never changes.
const (
	opHello  = "hello"
	opOpen   = "open"   // an image; the answer has its session
	opAdopt  = "adopt"  // the same, of one that is mounted
	opResume = "resume" // go on with the session of a keeper that has died
	opGive   = "give"   // an image back
	opSettle = "settle" // what earlier workers had and this one has not taken over is given back, and what is left of earlier keepers goes
	opStop   = "stop"   // end, if nobody has an image open
)

// What the keeper asks the worker.
const (
	opBlob     = "blob"
	opProfile  = "profile"
	opRemember = "remember"
)

// hello is what both sides say first.
type hello struct {
	Oldest  int    `json:"oldest"` // of the protocols that it speaks
	Newest  int    `json:"newest"`
	Release string `json:"release"`
}

// with returns the protocol that both sides speak.
func (h hello) with(other hello) (protocol int, err error) {
	protocol = min(h.Newest, other.Newest)
	if protocol < max(h.Oldest, other.Oldest) {
		return 0, fault.New(fault.Precondition, "keeper of release %s: speaks protocols %d to %d, release %s speaks %d to %d",
			h.Release, h.Oldest, h.Newest, other.Release, other.Oldest, other.Newest)
	}
	return protocol, nil
}

// imageArgs is an image, and with opResume what the kernel said of its session.
type imageArgs struct {
	Image  payload.Ref `json:"image"`
	Kernel []byte      `json:"kernel,omitempty"`
}

// opened is where an image is. With a Kernel its session comes along, so that another keeper can go on with it.
type opened struct {
	Path   string `json:"path"`
	Kernel []byte `json:"kernel,omitempty"`
}

// blobArgs names a blob of at most so many bytes.
type blobArgs struct {
	Digest string `json:"digest"`
	Limit  int64  `json:"limit"`
}

// profileArgs is an image's profile, or names it.
type profileArgs struct {
	Image  string   `json:"image"`
	Chunks []uint32 `json:"chunks,omitempty"`
}
