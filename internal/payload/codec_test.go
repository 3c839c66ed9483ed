package payload_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/payload"
)

var results = map[string]payload.Result{
	"inline":  {Status: payload.Success, Value: &payload.Payload{Format: payload.Pickle, Inline: []byte("value")}},
	"blob":    {Status: payload.Success, Value: &payload.Payload{Format: payload.CBOR, Blob: &payload.Ref{Digest: "sha256:" + strings.Repeat("ab", 32), Size: 1 << 29}}},
	"message": payload.Failed(payload.OutOfMemory, "out of memory"),
	"raised": {Status: payload.Failure, Error: &payload.RemoteError{
		Type: "builtins.ValueError", Message: "no", Traceback: "...",
		Exception: &payload.Payload{Format: payload.Pickle, Inline: []byte{0, 1, 2}},
	}},
}

func TestResultCodec(t *testing.T) {
	for name, want := range results {
		t.Run(name, func(t *testing.T) {
			b := want.Append(nil)
			got, err := payload.ParseResult(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			for n := range b {
				if _, err := payload.ParseResult(b[:n]); err == nil {
					t.Errorf("the first %d of %d bytes were taken for a result", n, len(b))
				}
			}
			if _, err := payload.ParseResult(append(b, 0)); err == nil {
				t.Error("a trailing byte was ignored")
			}
		})
	}
}

func FuzzParseResult(f *testing.F) {
	for _, r := range results {
		f.Add(r.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := payload.ParseResult(b)
		if err != nil {
			return
		}
		again, err := payload.ParseResult(r.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, again); d != "" {
			t.Error(d)
		}
	})
}
