package blob

import (
	"errors"
	"io"
)

// Frames hands the bytes of r to send in pieces of size, the last one shorter. A piece is valid until send returns. It returns nil at the
// end of r, or the first error of r or send; it does not close r.
func Frames(r io.Reader, size int, send func(piece []byte) error) error {
	buf := make([]byte, size)
	for {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := send(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}
