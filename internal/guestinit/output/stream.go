package output

import (
	"sync"
	"time"
)

const (
	// Rest is how much more is kept in memory of a process that has ended: what its pipe held, in bytes.
	Rest = 1<<20 + 64<<10
	// Patience is how long a writer waits for a reader that is behind and makes no progress. Then it waits for none until one goes on.
	Patience = 10 * time.Second
)

// Stream keeps the last bytes of what a process writes by their offset from its start. While somebody follows it, a writer waits when the
// reader is more than Limit behind, but not for ever; else it never waits. It is safe for concurrent use.
type Stream struct {
	store      *Store
	mu         sync.Mutex
	buf        []byte // byte at offset o is buf[o%len(buf)]; grown up to limit
	limit      int
	patience   time.Duration
	start, end uint64 // what buf has
	spill      *spill // what comes before start; nil without
	closed     bool
	changed    chan struct{} // closed at the next change; nil while nobody waits
	followers  map[*Follower]struct{}
	progress   chan struct{} // closed when a follower has read or gone; nil while no writer waits
	rushing    bool          // writers don't wait: a follower is too slow, or the process has ended
	spent      bool          // somebody has read it to its end
	abandoned  bool          // it is given back with its last follower
}

// Write appends p. It never fails and, once the stream is closed, does nothing.
func (r *Stream) Write(p []byte) (int, error) {
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
func (r *Stream) rush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rushing = true
}

// put appends as much of p as there is room for. Where that is not all, progress is closed when there may be more, which is worth so much
// patience.
func (r *Stream) put(p []byte) (n int, progress <-chan struct{}, patience time.Duration) {
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

// room is how much may be written without a follower falling further behind than the limit.
func (r *Stream) room() int {
	const all = int(^uint(0) >> 1)
	if r.rushing || len(r.followers) == 0 {
		return all
	}
	slowest := r.end
	for f := range r.followers {
		slowest = min(slowest, max(f.offset, r.first()))
	}
	return max(0, r.limit-int(r.end-slowest)) //nolint:gosec // at most SpillLimit and two times limit
}

// first is the offset of the oldest byte that is kept.
func (r *Stream) first() uint64 {
	if r.spill != nil {
		return r.spill.first
	}
	return r.start
}

// append appends p in pieces that memory has room for, and puts what it displaces on the disk.
func (r *Stream) append(p []byte) {
	if len(p) == 0 {
		return
	}
	for len(p) > 0 {
		r.grow(len(p))
		k := min(len(p), len(r.buf))
		if over := int(r.end-r.start) + k - len(r.buf); over > 0 { //nolint:gosec // at most limit
			r.evict(uint64(over))
		}
		r.copyIn(r.end, p[:k])
		r.end += uint64(k) //nolint:gosec // counts are positive
		p = p[k:]
	}
	r.notify()
}

// evict takes the oldest n bytes from memory to the disk. Where that has no room they are forgotten, with all before them.
func (r *Stream) evict(n uint64) {
	if r.spill == nil {
		r.spill, _ = newSpill(r.store, r.start) // no room on the disk: they are forgotten, as is documented
	}
	for n > 0 {
		at := r.start % uint64(len(r.buf))
		k := min(n, uint64(len(r.buf))-at)
		if r.spill != nil && r.spill.write(r.buf[at:at+k]) != nil {
			r.unspill()
		}
		r.start += k
		n -= k
	}
}

func (r *Stream) unspill() {
	if r.spill != nil {
		r.spill.close()
		r.spill = nil
	}
}

// Rest makes room for what an ended process had written: nobody who writes it waits.
func (r *Stream) Rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit += Rest
	r.patience = 0
	r.rushing = true
	r.moved()
}

// moved wakes writers that wait for room.
func (r *Stream) moved() {
	if r.progress != nil {
		close(r.progress)
		r.progress = nil
	}
}

// grow makes room for n more bytes, as far as the limit and the other streams allow. Without a disk the limit is the only one.
func (r *Stream) grow(n int) {
	need := min(int(r.end-r.start)+n, r.limit) //nolint:gosec // both are at most limit
	if need <= len(r.buf) {
		return
	}
	size := max(len(r.buf), 4096)
	for size < need {
		size *= 2
	}
	size = min(size, r.limit)
	if !r.store.claim(len(r.buf), size, r.store.dir == "") {
		if size = min(size, minMemory); size <= len(r.buf) || !r.store.claim(len(r.buf), size, true) {
			return
		}
	}
	kept := r.copyOut(r.start, r.end-r.start)
	r.buf = make([]byte, size)
	r.copyIn(r.start, kept)
}

// copyIn puts bytes at an offset, copyOut returns those from an offset on; there are at most len(buf).
func (r *Stream) copyIn(offset uint64, p []byte) {
	for len(p) > 0 {
		k := copy(r.buf[offset%uint64(len(r.buf)):], p)
		offset, p = offset+uint64(k), p[k:] //nolint:gosec // copy counts are positive
	}
}

func (r *Stream) copyOut(offset, n uint64) []byte {
	p := make([]byte, n)
	for k := uint64(0); k < n; {
		k += uint64(copy(p[k:], r.buf[(offset+k)%uint64(len(r.buf)):])) //nolint:gosec // copy counts are positive
	}
	return p
}

// Close says that nothing more comes.
func (r *Stream) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.notify()
	}
}

// End is how much was written so far, in bytes.
func (r *Stream) End() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end
}

// Memory is how much memory it takes, in bytes.
func (r *Stream) Memory() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.buf)
}

// Forget gives back what somebody has read to its end and nobody reads now.
func (r *Stream) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spent && len(r.followers) == 0 {
		r.release()
	}
}

// Park moves what memory has of a closed stream to the disk, if there is room.
func (r *Stream) Park() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed || len(r.buf) == 0 || r.store.dir == "" {
		return
	}
	r.evict(r.end - r.start)
	r.store.unclaim(len(r.buf))
	r.buf = nil
}

// Abandon gives everything back, once nobody reads it any more. The stream is closed.
func (r *Stream) Abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abandoned = true
	if len(r.followers) == 0 {
		r.release()
	}
}

// release forgets all that was written.
func (r *Stream) release() {
	r.unspill()
	r.store.unclaim(len(r.buf))
	r.start, r.buf = r.end, nil
}

func (r *Stream) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}
