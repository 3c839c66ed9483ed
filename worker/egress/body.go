package egress

import (
	"bytes"
	"io"
)

// bodyReplacer replaces a text in a stream. It holds back only what may be the beginning of that text, so that a stream whose ends wait for
// each other goes on, and keeps no more than it reads at a time, however much longer that becomes.
type bodyReplacer struct {
	source     io.ReadCloser
	old, fresh []byte

	ready []byte // to be returned; of buffer or fresh
	raw   []byte // of buffer: read, and after what is ready
	err   error  // of the source
	// buffer has room for what is held back besides what is read.
	buffer []byte
}

// bodyChunk is how much is read at a time, in bytes.
const bodyChunk = 16 << 10

// Read reads what has been replaced.
func (b *bodyReplacer) Read(out []byte) (int, error) {
	for len(b.ready) == 0 {
		if b.next() {
			continue
		}
		if b.err != nil {
			return 0, b.err
		}
		b.fill()
	}
	n := copy(out, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}

// next makes some of what has been read ready. It returns false if more has to be read first.
func (b *bodyReplacer) next() bool {
	upTo := bytes.Index(b.raw, b.old)
	switch {
	case upTo == 0:
		b.ready, b.raw = b.fresh, b.raw[len(b.old):]
		return true // ready is empty if fresh is: then next comes again
	case upTo < 0 && b.err == nil:
		upTo = len(b.raw) - beginning(b.raw, b.old)
	case upTo < 0:
		upTo = len(b.raw)
	}
	b.ready, b.raw = b.raw[:upTo], b.raw[upTo:]
	return upTo > 0
}

func (b *bodyReplacer) fill() {
	if b.buffer == nil {
		b.buffer = make([]byte, bodyChunk+len(b.old))
	}
	held := copy(b.buffer, b.raw)
	n, err := b.source.Read(b.buffer[held : held+bodyChunk])
	b.raw, b.err = b.buffer[:held+n], err
}

// beginning is how many bytes at the end of text are a beginning of word.
func beginning(text, word []byte) int {
	for n := min(len(text), len(word)-1); n > 0; n-- {
		if bytes.HasPrefix(word, text[len(text)-n:]) {
			return n
		}
	}
	return 0
}

// Close closes the source.
func (b *bodyReplacer) Close() error { return b.source.Close() }
