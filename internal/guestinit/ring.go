package guestinit

import "sync"

// ringLimit is how much of each stream is kept, in bytes.
const ringLimit = 1 << 20

// ring keeps the last bytes of a stream by their offset from its start. It is safe for concurrent use.
type ring struct {
	mu         sync.Mutex
	buf        []byte // byte at offset o is buf[o%len(buf)]; grown up to limit
	limit      int
	start, end uint64
	closed     bool
	changed    chan struct{} // closed at the next change; nil while nobody waits
}

func newRing(limit int) *ring { return &ring{limit: limit} }

// Write appends p, forgetting the oldest bytes beyond the limit. It never fails and, once the ring is closed, does nothing.
func (r *ring) Write(p []byte) (int, error) {
	n := len(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || n == 0 {
		return n, nil
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
	return n, nil
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

// chunk is what a ring holds from an offset on.
type chunk struct {
	data    []byte
	dropped uint64          // bytes before data that are no longer there
	next    uint64          // the offset after data
	eof     bool            // nothing comes after next
	changed <-chan struct{} // closed when there is more; only without data and eof
	beyond  bool            // the offset has not been written yet, or never will
}

// read returns at most limit bytes from an offset on.
func (r *ring) read(offset uint64, limit int) chunk {
	r.mu.Lock()
	defer r.mu.Unlock()
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
