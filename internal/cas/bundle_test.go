package cas_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func TestStreamsAreReadAtAnyOffset(t *testing.T) {
	s := open(t)
	content := make([]byte, 2*cas.Piece+1234)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	w := cas.NewStream(t.Context(), s)
	for rest := content; len(rest) > 0; {
		n := min(1+r.IntN(300_000), len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	digest, err := w.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.Abort() // after Finish: nothing
	m, err := cas.Load(t.Context(), s, digest)
	if err != nil || m.Size != uint64(len(content)) || w.Size() != m.Size {
		t.Fatalf("%d bytes, %v", m.Size, err)
	}
	f := cas.NewReader(t.Context(), s, m)
	for range 20 {
		at := r.IntN(len(content))
		got := make([]byte, min(1+r.IntN(1_500_000), len(content)-at))
		if n, err := f.ReadAt(got, int64(at)); err != nil || n != len(got) || !bytes.Equal(got, content[at:at+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", len(got), at, n, err)
		}
	}
	if n, err := f.ReadAt(make([]byte, 2), int64(len(content)-1)); n != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("over the end: %d, %v", n, err)
	}
	if _, err := s.Remove(t.Context(), m.Chunks[1].Digest, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 1), cas.Piece); !errors.Is(err, fault.NotFound) {
		t.Errorf("of a missing chunk: %v", err)
	}
}

func TestBundlesThatMakeNoSense(t *testing.T) {
	a, b := ident.Digest([]byte("a")), ident.Digest([]byte("b"))
	good := &cas.Bundle{Root: a, Files: []cas.File{{Content: a, Size: 3, Manifest: b}, {Content: b, Size: 4, Manifest: b}}}
	data, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cas.DecodeBundle(data); err != nil || got.Bytes() != 7 || got.Root != a {
		t.Errorf("got %+v, %v", got, err)
	}
	for what, spoil := range map[string]func(string) string{
		"nothing":      func(string) string { return "" },
		"more":         func(s string) string { return s + "{}" },
		"format":       func(s string) string { return strings.Replace(s, "bundle.1", "bundle.2", 1) },
		"field":        func(s string) string { return strings.Replace(s, `"root"`, `"rooot"`, 1) },
		"no root":      func(s string) string { return strings.Replace(s, a, ident.Digest([]byte("c")), 1) },
		"twice":        func(s string) string { return strings.Replace(s, `"content":"`+b, `"content":"`+a, 1) },
		"large":        func(s string) string { return strings.Replace(s, `"size":3`, `"size":1099511627777`, 1) },
		"no digest":    func(s string) string { return strings.Replace(s, `"content":"sha256:`, `"content":"md5:`, 1) },
		"bad manifest": func(s string) string { return strings.Replace(s, `"manifest":"sha256:`, `"manifest":"../`, 1) },
	} {
		if _, err := cas.DecodeBundle([]byte(spoil(string(data)))); !errors.Is(err, fault.DataLoss) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
