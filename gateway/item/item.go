// Package item is the noun of what generators yield: it numbers the items of an input, keeps each once however often the input is run,
// and hands them to readers at their pace.
//
// A Stream has the items of one input. They are stored in a Log before anybody sees them, so that a reader that comes again, or a gateway
// that has been started again, goes on where it was. What is kept in memory of a stream is bounded by MaxWaiting and MaxTail: a reader that
// falls behind reads the Log, a Log that falls behind holds up the generator.
package item

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
)

// Bounds.
const (
	// Window is how many items beyond those it has seen a reader is given.
	Window = 1000
	// MaxWaiting is how many bytes of a stream wait to be stored, beside one batch that is being stored; Add blocks beyond.
	MaxWaiting = 256 << 10
	// MaxTail is how many bytes of stored items a stream with readers keeps for them.
	MaxTail = 256 << 10
	// Retention is how long a log keeps items at most.
	Retention = 24 * time.Hour
	// overhead is what an item counts beside its bytes, so that empty ones are bounded too.
	overhead = 64
)

// Batch is consecutive items of one input.
type Batch struct {
	Key    payload.Key
	First  uint64 // number of the first of them; the first of all has number 1
	Values []*payload.Payload
}

// Range is what a reader asks a Log for.
type Range struct {
	Key   payload.Key
	From  uint64 // number of the first item wanted
	Limit int    // most items
	// Cursor is 0, or what an earlier read of the input up to From returned: it saves a search.
	Cursor uint64
}

// Log stores items for a while. Implemented by gateway/jetstream.
type Log interface {
	// PutItems stores a batch and calls done, from a goroutine of the log's, when it is stored or has failed; done must not block. There is
	// one put of an input at a time. After a failure some of the items may be stored; they are put again.
	PutItems(b Batch, done func(error))
	// LastItem returns the number of the last stored item of an input; 0: there is none.
	LastItem(ctx context.Context, key payload.Key) (uint64, error)
	// Items returns stored items from r.From on, at least one, and a cursor. It returns a fault.DataLoss if that item is not there.
	Items(ctx context.Context, r Range) (b Batch, cursor uint64, err error)
	// PurgeItems removes the items of a call.
	PurgeItems(ctx context.Context, callID string) error
}

func size(p *payload.Payload) int { return len(p.Inline) + overhead }

// Size is about how much of memory and messages the batch takes, in bytes.
func (b *Batch) Size() int {
	n := 0
	for _, v := range b.Values {
		n += size(v)
	}
	return n
}
