// Package portstream is how what a port in a sandbox sends is carried as an answer of HTTP/2 that goes on after the port's end: a server there can't
// end an answer while it still reads the request. The answer is frames, each the length of what follows in four bytes, the most significant first;
// one of length 0 is the port's end, and an answer without it was cut.
//
// A request asks for it with Header, and an answer that has it is so. Who doesn't know the header sends the port's bytes as they are.
package portstream

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
)

const (
	// Header is that of requests and answers.
	Header = "X-Skerry-Port-Stream"
	// Version is its value.
	Version = "1"
	// HeadBytes is what is before a frame's data.
	HeadBytes = 4
)

// PutHead writes the head of a frame with n bytes of data; 0: the port's end.
func PutHead(head []byte, n int) {
	binary.BigEndian.PutUint32(head, uint32(n)) //nolint:gosec // buffers are smaller
}

// Reader gives what the port has sent, with io.EOF at its end and io.ErrUnexpectedEOF where it was cut. It is for one goroutine at a time.
type Reader struct {
	from  io.Reader
	left  uint32 // of the frame
	ended atomic.Bool
}

// NewReader reads frames.
func NewReader(from io.Reader) *Reader { return &Reader{from: from} }

// Ended says whether the port's end has been read. It may be asked at any time.
func (r *Reader) Ended() bool { return r.ended.Load() }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.ended.Load() {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.left == 0 {
		var head [HeadBytes]byte
		if _, err := io.ReadFull(r.from, head[:]); err != nil {
			return 0, whole(err)
		}
		if r.left = binary.BigEndian.Uint32(head[:]); r.left == 0 {
			r.ended.Store(true)
			return 0, io.EOF
		}
	}
	n, err := r.from.Read(p[:min(uint64(len(p)), uint64(r.left))])
	r.left -= uint32(n) //nolint:gosec // at most left
	if n > 0 {
		err = nil // it comes again
	}
	return n, whole(err)
}

// whole turns an end where there is to be more into an error.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
