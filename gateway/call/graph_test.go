package call_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/lineage"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestGraph has the inputs of a spawned call make calls of both kinds, and one of these another.
func TestGraph(t *testing.T) {
	r := newRig(t)
	began := make(chan payload.Key, 10)
	fn := r.define(func(d *function.Definition) {
		d.Name, d.Class = "Tree", &function.Class{Methods: []function.Method{{Name: "grow"}, {Name: "rest"}}}
	})
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		if in.Method == "rest" {
			began <- in.Key
			return nil
		}
		return echo(b, in)
	}), 10)
	x := r.calls.NewSession()
	defer x.Close()
	submit := func(kind call.Kind, parent, method string, inputs uint32) string {
		id := ident.New(ident.Call)
		m := call.Submit{CallID: id, FunctionID: fn.ID, Kind: kind, ParentInputID: parent}
		for i := range inputs {
			in := input(i)
			in.Method = method
			m.Inputs = append(m.Inputs, in)
		}
		x.Submit(t.Context(), m)
		if kind == call.Spawn {
			x.Watch(t.Context(), call.Watch{CallID: id})
		}
		for outputs := uint32(0); outputs < inputs; {
			if method == "rest" {
				<-began
				outputs++
				continue
			}
			f, err := x.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, refusal := range f.Refused {
				if !errors.Is(refusal.Err, fault.NotFound) { // watched before it was accepted
					t.Fatal(refusal.Err)
				}
				x.Watch(t.Context(), call.Watch{CallID: id})
			}
			outputs += uint32(len(f.Outputs))
		}
		return id
	}
	key := func(id string, i uint32) payload.Key { return payload.Key{CallID: id, Index: i} }
	root := submit(call.Spawn, "", "grow", 2)
	child := submit(call.Sync, lineage.InputID(key(root, 1)), "grow", 2)
	spawned := submit(call.Spawn, lineage.InputID(key(root, 0)), "grow", 1)
	leaf := submit(call.Sync, lineage.InputID(key(child, 1)), "rest", 1)
	nodes, err := r.calls.Graph(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, n := range nodes {
		if n.ContainerID == "" || n.FunctionID != fn.ID {
			t.Errorf("%+v", n)
		}
		got[fmt.Sprint(n.Key, n.ParentInputID, n.FunctionName, n.Finished, n.Status)] = true
	}
	want := map[string]bool{}
	for _, n := range []lineage.Node{
		{Key: key(root, 0)}, {Key: key(root, 1)},
		{Key: key(child, 0), ParentInputID: lineage.InputID(key(root, 1))}, {Key: key(child, 1), ParentInputID: lineage.InputID(key(root, 1))},
		{Key: key(spawned, 0), ParentInputID: lineage.InputID(key(root, 0))},
	} {
		want[fmt.Sprint(n.Key, n.ParentInputID, "Tree.grow", true, payload.Success)] = true
	}
	want[fmt.Sprint(key(leaf, 0), lineage.InputID(key(child, 1)), "Tree.rest", false, payload.Status(0))] = true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if nodes[0].Key.CallID != root || nodes[5].Key.CallID != leaf {
		t.Error("children come before parents")
	}
	if below, err := r.calls.Graph(t.Context(), child); err != nil || len(below) != 3 {
		t.Errorf("graph of a call that an input made: %+v, %v", below, err)
	}
	if _, err := r.calls.Graph(t.Context(), ident.New(ident.Call)); !errors.Is(err, fault.NotFound) {
		t.Errorf("graph of no call: %v", err)
	}
}

// TestGraphOfLiveCall is of a call that a client waits for.
func TestGraphOfLiveCall(t *testing.T) {
	r := newRig(t)
	began := make(chan payload.Key, 10)
	r.join(t, newWorker(stuck(began)), 1)
	u := r.client(t, r.function(function.Autoscaler{MaxContainers: 1}), call.Sync)
	u.submit(0, 2)
	<-began
	nodes, err := r.calls.Graph(t.Context(), u.id)
	if err != nil || len(nodes) != 2 || nodes[0].Finished || nodes[0].ContainerID == "" || nodes[0].FunctionName != "f" {
		t.Errorf("%+v, %v", nodes, err)
	}
}

// TestTracesAreBounded has one input make more calls than are remembered.
func TestTracesAreBounded(t *testing.T) {
	const each = 1000
	r := newRig(t)
	r.join(t, newWorker(echo), 2)
	fn := r.function(function.Autoscaler{})
	parent := payload.Key{CallID: ident.New(ident.Call)}
	var last string
	for range lineage.MaxTraced/each + 5 {
		u := r.client(t, fn, call.Sync)
		m := call.Submit{CallID: u.id, FunctionID: fn.ID, Kind: call.Sync, ParentInputID: lineage.InputID(parent)}
		for i := range uint32(each) {
			m.Inputs = append(m.Inputs, input(i))
		}
		u.session.Submit(t.Context(), m)
		u.collect(each)
		u.session.Release([]string{u.id})
		last = u.id
	}
	if n := r.calls.Retained(); n != (call.Retained{Traced: lineage.MaxTraced}) {
		t.Errorf("left behind: %+v", n)
	}
	if nodes, err := r.calls.Graph(t.Context(), last); err != nil || len(nodes) != each {
		t.Errorf("%d inputs of the last call, %v", len(nodes), err)
	}
}
