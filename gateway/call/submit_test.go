package call_test

import (
	"context"
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestSpawnsAreHeldBack while the inputs of before are not recorded and large.
func TestSpawnsAreHeldBack(t *testing.T) {
	r := newRig(t)
	goOn := make(chan struct{})
	r.accepting = func() { <-goOn }
	fn := r.function(function.Autoscaler{})
	large := call.Submit{CallID: ident.New(ident.Call), FunctionID: fn.ID, Kind: call.Spawn}
	args := payload.Payload{Format: payload.Pickle, Inline: make([]byte, payload.MaxInline)}
	for i := range uint32(64) {
		large.Inputs = append(large.Inputs, call.Item{Index: i, Args: args})
	}
	small := call.Submit{CallID: ident.New(ident.Call), FunctionID: fn.ID, Kind: call.Spawn, Inputs: []call.Item{input(0)}}
	x, other := r.calls.NewSession(), r.calls.NewSession()
	defer x.Close()
	defer other.Close()
	x.Submit(t.Context(), large)
	away, leave := context.WithCancel(t.Context())
	leave()
	x.Submit(away, small) // it waits, but not for long
	if _, err := x.Next(t.Context()); !errors.Is(err, fault.Unavailable) {
		t.Errorf("taken, or %v", err)
	}
	other.Submit(t.Context(), small) // another's room is another's
	close(goOn)
	if f, err := other.Next(t.Context()); err != nil || len(f.Accepted) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}
