package output

// Follower reads a stream from an offset on. It is for one goroutine.
type Follower struct {
	stream *Stream
	offset uint64 // guarded by the stream's mutex
}

// Follow begins to read at an offset; Close ends it.
func (r *Stream) Follow(offset uint64) *Follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &Follower{stream: r, offset: offset}
	r.followers[f] = struct{}{}
	return f
}

// Next returns at most limit bytes, and goes on behind them.
func (f *Follower) Next(limit int) Chunk {
	r := f.stream
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.read(f.offset, limit)
	r.spent = r.spent || c.EOF
	if c.Beyond || c.Next == f.offset {
		return c
	}
	f.offset = c.Next
	r.rushing = r.patience == 0
	r.moved()
	return c
}

// Close ends the reading.
func (f *Follower) Close() {
	r := f.stream
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.followers, f)
	if r.abandoned && len(r.followers) == 0 {
		r.release()
	}
	r.moved()
}

// Chunk is what a stream holds from an offset on.
type Chunk struct {
	Data    []byte          // the reader's to keep
	Dropped uint64          // bytes before Data that are no longer there
	Next    uint64          // the offset after Data
	EOF     bool            // nothing comes after Next
	Changed <-chan struct{} // closed when there is more; only without Data and EOF
	Beyond  bool            // the offset has not been written yet, or never will
}

// Offset is that of the first byte of Data.
func (c Chunk) Offset() uint64 { return c.Next - uint64(len(c.Data)) }

// read returns at most limit bytes from an offset on. The mutex is held.
func (r *Stream) read(offset uint64, limit int) Chunk {
	if offset > r.end {
		return Chunk{Beyond: true}
	}
	data, from := r.kept(offset, limit)
	next := from + uint64(len(data))
	c := Chunk{Data: data, Dropped: from - offset, Next: next, EOF: r.closed && next == r.end}
	if len(data) == 0 && !c.EOF {
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		c.Changed = r.changed
	}
	return c
}

// kept returns at most limit bytes from the first one on that is kept at or behind an offset.
func (r *Stream) kept(offset uint64, limit int) (data []byte, from uint64) {
	if r.spill != nil && offset < r.start {
		from = max(offset, r.spill.first)
		data, err := r.spill.read(from, limit)
		if err == nil {
			return data, from
		}
		r.unspill() // what the disk has lost is a gap
	}
	from = max(offset, r.start)
	return r.copyOut(from, min(r.end-from, uint64(limit))), from //nolint:gosec // limits are positive
}
