package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

func TestResultRoundTrip(t *testing.T) {
	inline := &payload.Payload{Format: payload.Pickle, Inline: []byte("v")}
	blob := &payload.Payload{Format: payload.CBOR, Blob: &payload.Ref{Digest: ident.Digest([]byte("x")), Size: 1}}
	for name, r := range map[string]payload.Result{
		"inline": {Status: payload.Success, Value: inline},
		"empty":  {Status: payload.Success, Value: &payload.Payload{Format: payload.Pickle}},
		"blob":   {Status: payload.Success, Value: blob},
		"failed": payload.Failed(payload.OutOfMemory, "out of memory"),
		"raised": {Status: payload.Failure, Error: &payload.RemoteError{Type: "E", Message: "m", Traceback: "t", Exception: inline}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := wire.ResultFromProto(wire.ResultToProto(r))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(r, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestResultRefused(t *testing.T) {
	good := wire.PayloadToProto(&payload.Payload{Format: payload.Pickle})
	for name, m := range map[string]*skerryv1.Result{
		"missing":         nil,
		"no status":       {Value: good},
		"unknown status":  {Status: 8, Error: &skerryv1.RemoteError{}},
		"both":            {Status: 1, Value: good, Error: &skerryv1.RemoteError{}},
		"failed, value":   {Status: 2, Value: good, Error: &skerryv1.RemoteError{}},
		"failed, nothing": {Status: 2},
		"long text":       {Status: 2, Error: &skerryv1.RemoteError{Message: strings.Repeat("x", wire.MaxErrorText+1)}},
		"bad exception":   {Status: 2, Error: &skerryv1.RemoteError{Exception: &skerryv1.Payload{}}},
		"bad value":       {Status: 1, Value: &skerryv1.Payload{Format: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := wire.ResultFromProto(m); !errors.Is(err, fault.Invalid) {
				t.Errorf("error is %v, want invalid", err)
			}
		})
	}
}

func TestPayloadRefused(t *testing.T) {
	ref := func(d string, n uint64) *skerryv1.Payload_Blob {
		return &skerryv1.Payload_Blob{Blob: &skerryv1.BlobRef{Digest: d, Size: n}}
	}
	for name, m := range map[string]*skerryv1.Payload{
		"missing":   nil,
		"format":    {Content: &skerryv1.Payload_Inline{}},
		"format+":   {Format: 257, Content: &skerryv1.Payload_Inline{}},
		"content":   {Format: 1},
		"long":      {Format: 1, Content: &skerryv1.Payload_Inline{Inline: make([]byte, payload.MaxInline+1)}},
		"no blob":   {Format: 1, Content: &skerryv1.Payload_Blob{}},
		"digest":    {Format: 1, Content: ref("sha256:xyz", 1)},
		"blob size": {Format: 1, Content: ref(ident.Digest(nil), payload.MaxSize+1)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := wire.PayloadFromProto(m); !errors.Is(err, fault.Invalid) {
				t.Errorf("error is %v, want invalid", err)
			}
		})
	}
}

func TestKey(t *testing.T) {
	k := payload.Key{CallID: "fc-1", Index: 3}
	got, err := wire.KeyFromProto(wire.KeyToProto(k))
	if err != nil || got != k {
		t.Errorf("got %v, %v", got, err)
	}
	for _, m := range []*workerv1.InputKey{nil, {}, {CallId: strings.Repeat("c", wire.MaxCallID+1)}} {
		if _, err := wire.KeyFromProto(m); !errors.Is(err, fault.Invalid) {
			t.Errorf("%v: error is %v, want invalid", m, err)
		}
	}
}
