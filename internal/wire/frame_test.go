package wire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/wire"
)

// vectors are the frames of docs/runner-protocol.json; bytes and data are in hex.
type vectors struct {
	Frames []struct {
		Name, Meta, Data, Bytes string
		Kind                    wire.Kind
	}
	Refused []struct{ Name, Bytes string }
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("../../docs/runner-protocol.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil || len(v.Frames) == 0 || len(v.Refused) == 0 {
		t.Fatalf("vectors: %v", err)
	}
	return v
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFrameVectors(t *testing.T) {
	v := readVectors(t)
	var all []byte
	for _, x := range v.Frames {
		want := wire.Frame{Kind: x.Kind, Meta: []byte(x.Meta), Data: unhex(t, x.Data)}
		b := wire.AppendFrame(nil, want)
		if hex.EncodeToString(b) != x.Bytes {
			t.Errorf("%s: encoded %x, want %s", x.Name, b, x.Bytes)
		}
		all = append(all, b...)
	}
	r := wire.NewFrameReader(iotest.OneByteReader(bytes.NewReader(all)))
	for _, x := range v.Frames {
		f, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", x.Name, err)
		}
		if d := cmp.Diff(wire.Frame{Kind: x.Kind, Meta: []byte(x.Meta), Data: unhex(t, x.Data)}, f); d != "" {
			t.Errorf("%s: %s", x.Name, d)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for _, x := range v.Refused {
		if _, err := wire.NewFrameReader(bytes.NewReader(unhex(t, x.Bytes))).Next(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: error is %v, want invalid", x.Name, err)
		}
	}
}

// TestMetaVectors: the metas of the vectors are those of the structs.
func TestMetaVectors(t *testing.T) {
	metas := map[wire.Kind]func() any{
		wire.Start: func() any { return &wire.StartMeta{} }, wire.Input: func() any { return &wire.InputMeta{} },
		wire.Cancel: func() any { return &wire.CancelMeta{} }, wire.Output: func() any { return &wire.OutputMeta{} },
		wire.StartFailed: func() any { return &wire.StartFailedMeta{} }, wire.Withdrawn: func() any { return &wire.WithdrawnMeta{} },
		wire.Batch: func() any { return &wire.BatchMeta{} }, wire.Stop: func() any { return &wire.StopMeta{} },
		wire.Item: func() any { return &wire.ItemMeta{} }, wire.Slots: func() any { return &wire.SlotsMeta{} },
	}
	for _, x := range readVectors(t).Frames {
		newMeta, ok := metas[x.Kind]
		if !ok {
			continue
		}
		m := newMeta()
		d := json.NewDecoder(bytes.NewReader([]byte(x.Meta)))
		d.DisallowUnknownFields()
		if err := d.Decode(m); err != nil {
			t.Errorf("%s: %v", x.Name, err)
			continue
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(jsonValue(t, x.Meta), jsonValue(t, string(again))); d != "" {
			t.Errorf("%s: %s", x.Name, d)
		}
	}
}

func jsonValue(t *testing.T, s string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBuffered(t *testing.T) {
	frame := wire.AppendFrame(nil, wire.Frame{Kind: wire.Stop, Meta: []byte("{}")})
	r := wire.NewFrameReader(bytes.NewReader(append(append(append([]byte{}, frame...), frame...), frame[:8]...)))
	for _, want := range []bool{true, false} {
		if _, err := r.Next(); err != nil || r.Buffered() != want {
			t.Errorf("buffered is %v, want %v; %v", r.Buffered(), want, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("in a frame: %v", err)
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add([]byte("\x07\x00\x00\x00\x05\x02\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewFrameReader(bytes.NewReader(b))
		var again []byte
		for {
			f, err := r.Next()
			if err != nil {
				break
			}
			again = wire.AppendFrame(again, f)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("read %x from %x", again, b)
		}
	})
}
