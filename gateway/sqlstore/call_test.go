package sqlstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

func openCalls(t *testing.T) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func spawned(callID string, indexes ...uint32) call.Accept {
	a := call.Accept{Record: call.Record{CallID: callID, FunctionID: "fu-1", AppID: "ap-1", CreatedAt: time.UnixMilli(1000).UTC()}}
	for _, i := range indexes {
		a.Inputs = append(a.Inputs, call.Input{
			Key: payload.Key{CallID: callID, Index: i}, FunctionID: "fu-1", Kind: call.Spawn,
			Args: payload.Payload{Format: payload.Pickle, Inline: []byte{byte(i)}},
		})
	}
	return a
}

func returned(callID string, index uint32, value string) call.Output {
	return call.Output{Key: payload.Key{CallID: callID, Index: index}, Result: payload.Result{
		Status: payload.Success, Value: &payload.Payload{Format: payload.Pickle, Inline: []byte(value)},
	}}
}

func TestASpawnedCallFromAcceptToExpiry(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	first := spawned("fc-a", 0, 1)
	for range 2 { // accepting twice changes nothing
		if err := db.Accept(ctx, []call.Accept{first, spawned("fc-b", 0)}); err != nil {
			t.Fatal(err)
		}
	}
	pending, err := db.Pending(ctx, "", payload.Key{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Inputs, pending); diff != "" {
		t.Errorf("first page (-want +got):\n%s", diff)
	}
	if pending, err = db.Pending(ctx, "", pending[1].Key, 2); err != nil || len(pending) != 1 || pending[0].Key.CallID != "fc-b" {
		t.Errorf("second page: %v, %v", pending, err)
	}

	if err := db.Finish(ctx, time.Now(), []call.Output{returned("fc-a", 1, "one"), returned("fc-nobody", 0, "x")}); err != nil {
		t.Fatal(err)
	}
	// The first output wins.
	if err := db.Finish(ctx, time.Now(), []call.Output{returned("fc-a", 1, "late"), returned("fc-a", 0, "zero")}); err != nil {
		t.Fatal(err)
	}
	outputs, err := db.Outputs(ctx, "fc-a", 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]call.Output{returned("fc-a", 0, "zero"), returned("fc-a", 1, "one")}, outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	state, err := db.Get(ctx, "fc-a")
	if err != nil || state.NumInputs != 2 || state.NumFinished != 2 || state.Expired {
		t.Errorf("state %+v, %v", state, err)
	}
	if open, err := db.PendingOfApp(ctx, "ap-1"); err != nil || !cmp.Equal(open, []string{"fc-b"}) {
		t.Errorf("pending calls %v, %v", open, err)
	}

	if err := db.Expire(ctx, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if state, err = db.Get(ctx, "fc-a"); err != nil || !state.Expired {
		t.Errorf("after expiry: %+v, %v", state, err)
	}
	if outputs, err = db.Outputs(ctx, "fc-a", 0, 10); err != nil || len(outputs) != 0 {
		t.Errorf("outputs after expiry: %v, %v", outputs, err)
	}
	if state, err = db.Get(ctx, "fc-b"); err != nil || state.Expired {
		t.Errorf("a call under way expired: %+v, %v", state, err)
	}
}

func TestUnknownCall(t *testing.T) {
	if _, err := openCalls(t).Get(t.Context(), "fc-none"); !errors.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}
