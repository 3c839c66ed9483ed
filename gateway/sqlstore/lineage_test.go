package sqlstore_test

import (
	"database/sql"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/lineage"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/payload"
)

const (
	rootCall  = "fc-0000000000000000000000"
	childCall = "fc-1111111111111111111111"
)

func TestNodes(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	root, child := spawned(rootCall, 0, 1), spawned(childCall, 0)
	root.FunctionName, child.FunctionName = "f", "C"
	child.ParentInputID = "in-0000000000000000000000-1"
	child.Inputs[0].Method = "m"
	if err := db.Accept(ctx, []call.Accept{root, child}); err != nil {
		t.Fatal(err)
	}
	pending, err := db.Pending(ctx, childCall, payload.Key{}, 10)
	if err != nil || len(pending) != 1 || pending[0].Method != "m" {
		t.Errorf("pending %+v, %v", pending, err)
	}
	failed := call.Output{Key: payload.Key{CallID: childCall}, Result: payload.Failed(payload.TimedOut, "slow"), ContainerID: "ta-1"}
	if err := db.Finish(ctx, time.Now(), []call.Output{failed}); err != nil {
		t.Fatal(err)
	}
	if outputs, err := db.Outputs(ctx, childCall, 0, 10); err != nil || !cmp.Equal(outputs, []call.Output{failed}) {
		t.Errorf("outputs %+v, %v", outputs, err)
	}
	nodes, err := db.CallNodes(ctx, rootCall, 1)
	if want := []lineage.Node{{Key: payload.Key{CallID: rootCall}, FunctionID: "fu-1", FunctionName: "f"}}; err != nil || !cmp.Equal(nodes, want) {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
	nodes, err = db.ChildNodes(ctx, rootCall, 10)
	want := []lineage.Node{{
		Key: payload.Key{CallID: childCall}, ParentInputID: child.ParentInputID, FunctionID: "fu-1", FunctionName: "C.m", ContainerID: "ta-1",
		Finished: true, Status: payload.TimedOut,
	}}
	if err != nil || !cmp.Equal(nodes, want) {
		t.Errorf("children %+v, %v", nodes, err)
	}
	if nodes, err := db.ChildNodes(ctx, "", 10); err != nil || len(nodes) != 0 {
		t.Errorf("children of nothing: %+v, %v", nodes, err)
	}
}

// TestCallsOfAnEarlierRelease are shown in graphs like those of this one.
func TestCallsOfAnEarlierRelease(t *testing.T) {
	path := storetest.Where(t)
	old, err := sql.Open(storetest.Driver(), path)
	if err != nil {
		t.Fatal(err)
	}
	run := func(statement string, args ...any) {
		t.Helper()
		if _, err := old.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`)
	for i, name := range []string{"0001_base.sql", "0002_calls.sql"} {
		script, err := os.ReadFile(filepath.Join("migrations", name))
		if err != nil {
			t.Fatal(err)
		}
		run(string(script))
		run(`INSERT INTO schema_migrations VALUES ($1, $2, 0)`, i+1, name)
	}
	run(`INSERT INTO calls (id, function_id, app_id, parent_input_id, created_at, num_inputs, num_finished, expired)
		VALUES ($1, 'fu-1', 'ap-1', 'in-0000000000000000000000-7', 0, 9, 7, 0)`, childCall)
	for status := payload.Status(0); status <= payload.OutOfMemory; status++ {
		var output any
		if status > 0 {
			r := payload.Failed(status, "x")
			output = base64.StdEncoding.EncodeToString(r.Append(nil))
		}
		run(`INSERT INTO call_inputs (call_id, position, args, output) VALUES ($1, $2, '', $3)`, childCall, status, output)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sqlstore.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	nodes, err := db.ChildNodes(t.Context(), rootCall, 100)
	if err != nil || len(nodes) != 8 {
		t.Fatalf("%+v, %v", nodes, err)
	}
	for i, n := range nodes {
		if n.Status != payload.Status(i) || n.Finished != (i > 0) {
			t.Errorf("input %d: %+v", i, n)
		}
	}
}
