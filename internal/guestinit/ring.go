package guestinit

import (
	"sync"
	"time"
)

const (
	// ringLimit is how much of each stream is kept, in bytes.
	ringLimit = 1 << 20
	// ringRest is how much more is kept of a process that has ended: what its pipe held, in bytes.
	ringRest = 1<<20 + 64<<10
	// ringPatience is how long a writer waits for a reader that is behind and makes no progress. Then the oldest bytes are forgotten.
	ringPatience = 10 * time.Second
)

// ring keeps the last bytes of a stream by their offset from its start. While somebody follows it, a writer waits instead of having bytes
// forgotten that are still to be read, but not for ever. It is safe for concurrent use.
type ring struct {
	mu         sync.Mutex
	buf        []byte // byte at offset o is buf[o%len(buf)]; grown up to limit
	limit      int
	patience   time.Duration
	start, end uint64
	closed     bool
	changed    chan struct{} // closed at the next change; nil while nobody waits
	followers  map[*follower]struct{}
	progress   chan struct{} // closed when a follower has read or gone; nil while no writer waits
	rushing    bool          // writers don't wait: a follower is too slow, or the process has ended
	spent      bool          // somebody has read it to its end
}

func newRing(limit int) *ring {
	return &ring{limit: limit, patience: ringPatience, followers: make(map[*follower]struct{})}
}

// Write appends p. It never fails and, once the ring is closed, does nothing.
func (r *ring) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k, progress, patience := r.put(p)
		if p = p[k:]; progress == nil {
			continue
		}
		timer := time.NewTimer(patience)
		select {
		case <-progress:
		case <-timer.C:
			r.rush()
		}
		timer.Stop()
	}
	return n, nil
}

// rush has writers wait no longer, until a follower goes on.
func (r *ring) rush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rushing = true
}

// put appends as much of p as there is room for. Where that is not all, progress is closed when there may be more, which is worth so much
// patience.
func (r *ring) put(p []byte) (n int, progress <-chan struct{}, patience time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return len(p), nil, 0
	}
	n = min(len(p), r.room())
	r.append(p[:n])
	if n < len(p) {
		if r.progress == nil {
			r.progress = make(chan struct{})
		}
		progress = r.progress
	}
	return n, progress, r.patience
}

// room is how much may be written without forgetting what a follower has yet to read.
func (r *ring) room() int {
	const all = int(^uint(0) >> 1)
	if r.rushing || len(r.followers) == 0 {
		return all
	}
	slowest := r.end
	for f := range r.followers {
		slowest = min(slowest, max(f.offset, r.start))
	}
	return r.limit - int(r.end-slowest) //nolint:gosec // at most limit
}

// append appends p, forgetting the oldest bytes beyond the limit.
func (r *ring) append(p []byte) {
	if len(p) == 0 {
		return
	}
	if skip := len(p) - r.limit; skip > 0 {
		r.end += uint64(skip)
		r.start = r.end
		p = p[skip:]
	}
	r.grow(len(p))
	r.copyIn(r.end, p)
	r.end += uint64(len(p))
	if kept := uint64(len(r.buf)); r.end-r.start > kept {
		r.start = r.end - kept
	}
	r.notify()
}

// rest makes room for what an ended process had written: nobody who writes it waits.
func (r *ring) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit += ringRest
	r.patience = 0
	r.rushing = true
	r.moved()
}

// moved wakes writers that wait for room.
func (r *ring) moved() {
	if r.progress != nil {
		close(r.progress)
		r.progress = nil
	}
}

// grow makes room for n more bytes, as far as the limit allows.
func (r *ring) grow(n int) {
	need := min(int(r.end-r.start)+n, r.limit) //nolint:gosec // both are at most limit
	if need <= len(r.buf) {
		return
	}
	size := max(len(r.buf), 4096)
	for size < need {
		size *= 2
	}
	kept := r.copyOut(r.start, r.end-r.start)
	r.buf = make([]byte, min(size, r.limit))
	r.copyIn(r.start, kept)
}

// copyIn puts bytes at an offset, copyOut returns those from an offset on; there are at most len(buf).
func (r *ring) copyIn(offset uint64, p []byte) {
	for len(p) > 0 {
		k := copy(r.buf[offset%uint64(len(r.buf)):], p)
		offset, p = offset+uint64(k), p[k:] //nolint:gosec // copy counts are positive
	}
}

func (r *ring) copyOut(offset, n uint64) []byte {
	p := make([]byte, n)
	for k := uint64(0); k < n; {
		k += uint64(copy(p[k:], r.buf[(offset+k)%uint64(len(r.buf)):])) //nolint:gosec // copy counts are positive
	}
	return p
}

// Close says that nothing more comes.
func (r *ring) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.notify()
	}
}

func (r *ring) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// follower reads a stream from an offset on.
type follower struct {
	ring   *ring
	offset uint64 // guarded by the ring's mutex
}

// follow begins to read at an offset; close ends it.
func (r *ring) follow(offset uint64) *follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &follower{ring: r, offset: offset}
	r.followers[f] = struct{}{}
	return f
}

// next returns at most limit bytes, and goes on behind them.
func (f *follower) next(limit int) chunk {
	f.ring.mu.Lock()
	defer f.ring.mu.Unlock()
	c := f.ring.read(f.offset, limit)
	f.ring.spent = f.ring.spent || c.eof
	if c.beyond || c.next == f.offset {
		return c
	}
	f.offset = c.next
	f.ring.rushing = f.ring.patience == 0
	f.ring.moved()
	return c
}

// size is how much is kept, in bytes.
func (r *ring) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.buf)
}

// forget gives the memory back of what somebody has read to its end and nobody reads now.
func (r *ring) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spent && len(r.followers) == 0 {
		r.start, r.buf = r.end, nil
	}
}

// close ends the reading.
func (f *follower) close() {
	f.ring.mu.Lock()
	defer f.ring.mu.Unlock()
	delete(f.ring.followers, f)
	f.ring.moved()
}

// chunk is what a ring holds from an offset on.
type chunk struct {
	data    []byte
	dropped uint64          // bytes before data that are no longer there
	next    uint64          // the offset after data
	eof     bool            // nothing comes after next
	changed <-chan struct{} // closed when there is more; only without data and eof
	beyond  bool            // the offset has not been written yet, or never will
}

// read returns at most limit bytes from an offset on. The mutex is held.
func (r *ring) read(offset uint64, limit int) chunk {
	if offset > r.end {
		return chunk{beyond: true}
	}
	from := max(offset, r.start)
	n := min(r.end-from, uint64(limit)) //nolint:gosec // limits are positive
	c := chunk{dropped: from - offset, next: from + n, eof: r.closed && from+n == r.end}
	if n > 0 {
		c.data = r.copyOut(from, n)
		return c
	}
	if !c.eof {
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		c.changed = r.changed
	}
	return c
}
