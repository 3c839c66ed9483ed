package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestExpiryOfManyAndOfLargeCalls forgets exactly the calls that ended before, whatever their number and size.
func TestExpiryOfManyAndOfLargeCalls(t *testing.T) {
	db := openCalls(t)
	now := time.UnixMilli(1_800_000_000_000)
	make1 := func(id string, inputs int, ended time.Time) {
		a := call.Accept{Record: call.Record{CallID: id, FunctionID: "fu-1", AppID: "ap-1", CreatedAt: now}}
		outputs := make([]call.Output, inputs)
		for i := range inputs {
			k := payload.Key{CallID: id, Index: uint32(i)}
			a.Inputs = append(a.Inputs, call.Input{Key: k, FunctionID: "fu-1", Kind: call.Spawn, Args: payload.Payload{Format: payload.Pickle}})
			outputs[i] = call.Output{Key: k, Result: payload.Result{Status: payload.Success}}
		}
		if err := db.Accept(t.Context(), []call.Accept{a}); err != nil {
			t.Fatal(err)
		}
		if !ended.IsZero() {
			if err := db.Finish(t.Context(), ended, outputs); err != nil {
				t.Fatal(err)
			}
		}
	}
	old, young := now.Add(-time.Hour), now.Add(time.Hour)
	make1("fc-large", 5_500, old)
	for i := range 600 {
		make1(fmt.Sprintf("fc-old-%d", i), 1, old)
	}
	make1("fc-young", 3, young)
	make1("fc-running", 2, time.Time{})
	if err := db.Expire(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	for id, expired := range map[string]bool{"fc-large": true, "fc-old-0": true, "fc-old-599": true, "fc-young": false, "fc-running": false} {
		state, err := db.Get(t.Context(), id)
		if err != nil || state.Expired != expired {
			t.Errorf("%s: %+v, %v; want expired: %t", id, state, err, expired)
		}
		nodes, err := db.CallNodes(t.Context(), id, 1)
		if err != nil || (len(nodes) == 0) != expired {
			t.Errorf("%s: inputs %v, %v", id, nodes, err)
		}
	}
}
