package cas

// Sizes of chunks in bytes.
const (
	// Piece is the size of the pieces of a large file.
	Piece = 1 << 20
	// minPack is how much small files are packed into a chunk before it may end, meanPack how much on average comes on top.
	minPack  = 256 << 10
	meanPack = 512 << 10
	// Large is from where on a part has chunks of its own.
	Large = 1 << 20
)

// Cutter decides where a file that is made of many parts is cut. Cuts lie at the edges of parts and depend on the contents around them
// alone, so that files made of the same parts are cut alike from the next edge on, wherever in the file those are.
type Cutter struct {
	sizes []uint32
	open  uint64 // bytes of the chunk that is not ended
}

// Sizes returns the chunks' sizes, in order, and ends the last.
func (c *Cutter) Sizes() []uint32 {
	c.End()
	return c.sizes
}

// Ended returns the sizes of chunks that are ended, and forgets them.
func (c *Cutter) Ended() []uint32 {
	done := c.sizes
	c.sizes = nil
	return done
}

// End ends a chunk.
func (c *Cutter) End() {
	if c.open > 0 {
		c.sizes = append(c.sizes, uint32(c.open)) //nolint:gosec // at most MaxChunk
		c.open = 0
	}
}

// Part adds a part of size bytes; mark is a hash of its content that is spread evenly over 32 bits. A part from Large on, and one that is
// whole in itself, has chunks of its own.
func (c *Cutter) Part(size uint64, mark uint32) {
	if size >= Large {
		c.Whole(size)
		return
	}
	if c.open+size > MaxChunk {
		c.End()
	}
	c.open += size
	// A part ends the chunk with a chance as large as it is itself, so that chunks of many small parts and of few larger ones are alike.
	if c.open >= minPack && uint64(mark) < (size<<32)/meanPack {
		c.End()
	}
}

// Whole adds a part in chunks of its own, of Piece bytes each and a rest.
func (c *Cutter) Whole(size uint64) {
	c.End()
	for ; size > Piece; size -= Piece {
		c.sizes = append(c.sizes, Piece)
	}
	c.open = size
	c.End()
}
