package item

import (
	"context"
	"slices"

	"github.com/skerry-dev/skerry/internal/payload"
)

// Reader gives a stream's items to one client, at its pace: at most Window beyond those it has seen. Take is for one goroutine; all else is
// safe for concurrent use.
type Reader struct {
	s      *Stream
	wake   func()
	seen   uint64 // the client has
	given  uint64 // Take has returned
	cursor uint64
}

// Read begins reading after the items that are seen. Wake is called when Take may have something; it must not block, nor call the stream.
func (s *Stream) Read(seen uint64, wake func()) *Reader {
	r := &Reader{s: s, wake: wake, seen: seen, given: seen}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, r)
	return r
}

// Seen says how many items the client has, from the first.
func (r *Reader) Seen(n uint64) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if n > r.seen {
		r.seen = n
		r.given = max(r.given, n)
		r.wake()
	}
}

// Close ends reading.
func (r *Reader) Close() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if i := slices.Index(r.s.readers, r); i >= 0 {
		r.s.readers = slices.Delete(r.s.readers, i, i+1)
	}
	if len(r.s.readers) == 0 {
		r.s.tail, r.s.tailing = nil, 0
	}
}

// Drained says whether all stored items have been given.
func (r *Reader) Drained() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.loaded && r.given >= r.s.stored
}

// Given returns how many items the client has, or is being given, from the first.
func (r *Reader) Given() uint64 {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.given
}

// Take returns the next items, about as many as fit into room bytes, and whether another Take would return more. It blocks while it reads
// the log. Errors: fault.DataLoss where the log has dropped them; fault.Unavailable; ctx's own.
func (r *Reader) Take(ctx context.Context, room int) (b Batch, more bool, err error) {
	if err := r.s.load(ctx); err != nil {
		return Batch{}, false, err
	}
	b, wanted := r.recent(room)
	if wanted > 0 {
		if b, err = r.read(ctx, b.First, wanted, room); err != nil {
			return Batch{}, false, err
		}
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if n := uint64(len(b.Values)); n > 0 && b.First == r.given+1 { // else the client said meanwhile that it has them
		r.given += n
	}
	return b, r.given < min(r.s.stored, r.seen+Window), nil
}

// recent returns items out of the tail, or how many are wanted of the log.
func (r *Reader) recent(room int) (b Batch, wanted int) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	b = Batch{Key: r.s.key, First: r.given + 1}
	end := min(r.s.stored, r.seen+Window)
	if r.given >= end {
		return b, 0
	}
	oldest := r.s.stored - uint64(len(r.s.tail)) + 1
	if b.First < oldest {
		return b, int(end - r.given) //nolint:gosec // at most Window
	}
	b.Values = slices.Clone(fit(r.s.tail[b.First-oldest:end-oldest+1], room))
	return b, 0
}

// read returns items out of the log.
func (r *Reader) read(ctx context.Context, from uint64, wanted, room int) (Batch, error) {
	b, cursor, err := r.s.k.d.Log.Items(ctx, Range{Key: r.s.key, From: from, Limit: wanted, Cursor: r.cursor})
	if err != nil {
		return Batch{}, err
	}
	kept := fit(b.Values, room)
	if len(kept) == len(b.Values) {
		r.cursor = cursor
	}
	b.Values = kept
	return b, nil
}

// fit returns the values that fit into room bytes, at least one.
func fit(values []*payload.Payload, room int) []*payload.Payload {
	n := 0
	for n < len(values) && (n == 0 || room > 0) {
		room -= size(values[n])
		n++
	}
	return values[:n]
}
