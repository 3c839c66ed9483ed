package portstream_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/skerry-dev/skerry/internal/portstream"
)

func frame(text string) string {
	var head [portstream.HeadBytes]byte
	portstream.PutHead(head[:], len(text))
	return string(head[:]) + text
}

// TestReader reads whole streams and such that were cut at each of their bytes, however they arrive.
func TestReader(t *testing.T) {
	const text = "hello, port"
	stream := frame(text[:5]) + frame(text[5:]) + frame("")
	for name, arrives := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with its end": iotest.DataErrReader,
	} {
		r := portstream.NewReader(arrives(bytes.NewReader([]byte(stream + "more"))))
		if got, err := io.ReadAll(r); string(got) != text || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: after the end: %d, %v", name, n, err)
		}
		for cut := range len(stream) {
			r := portstream.NewReader(arrives(bytes.NewReader([]byte(stream[:cut]))))
			got, err := io.ReadAll(r)
			if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix([]byte(text), got) {
				t.Errorf("%s: cut at %d: %q, %v", name, cut, got, err)
			}
		}
	}
}
