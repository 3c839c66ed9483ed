package call_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

func TestSync(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(echo), 4)
	c := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	c.submit(0, 10)
	c.collect(10)
	c.echoed()
	state, err := r.calls.Get(t.Context(), c.id)
	if err != nil || state.NumInputs != 10 || state.NumFinished != 10 {
		t.Errorf("state %+v, error %v", state, err)
	}
	c.session.Release([]string{c.id})
	if _, err := r.calls.Get(t.Context(), c.id); !errors.Is(err, fault.NotFound) {
		t.Errorf("a released call: %v", err)
	}
}

// TestMapSurvivesCrash runs a map with the gateway's core ended rudely in the middle, more than once.
func TestMapSurvivesCrash(t *testing.T) {
	for name, kind := range map[string]call.Kind{"sync": call.Sync, "spawn": call.Spawn} {
		t.Run(name, func(t *testing.T) { mapWithCrashes(t, kind) })
	}
}

func mapWithCrashes(t *testing.T, kind call.Kind) {
	const inputs, chunk = 2000, 500
	r := newRig(t)
	r.join(t, newWorker(echo), 4)
	fn := r.function(function.Autoscaler{})
	c := r.client(t, fn, kind)
	sent := uint32(0)
	crashes := 0
	for len(c.results) < inputs {
		for sent < inputs && len(c.pending) <= chunk {
			c.submit(sent, sent+chunk)
			if kind == call.Spawn {
				c.accepted(chunk)
			}
			sent += chunk
			if kind == call.Spawn && sent == chunk {
				c.session.Watch(t.Context(), call.Watch{CallID: c.id})
			}
		}
		if len(c.results) > (crashes+1)*600 && crashes < 2 {
			crashes++
			r.crash(t)
			r.start(t)
			r.join(t, newWorker(echo), 4)
			if kind == call.Sync {
				c.reconnect()
			} else {
				c.session.Close()
				c.session = r.calls.NewSession()
				w := call.Watch{CallID: c.id}
				for i := range c.results {
					w.Seen = append(w.Seen, i)
				}
				c.session.Watch(t.Context(), w)
			}
		}
		c.collect(len(c.results) + 1)
	}
	if crashes == 0 {
		t.Fatal("the core was never ended")
	}
	c.echoed()
}

// TestSpawnWithoutClient has a spawned call finish after a crash with nobody there, and its outputs read later.
func TestSpawnWithoutClient(t *testing.T) {
	r := newRig(t)
	fn := r.function(function.Autoscaler{})
	c := r.client(t, fn, call.Spawn)
	c.submit(0, 100)
	c.accepted(100) // no worker yet: nothing can have run
	c.session.Close()
	// What the flow has lost is found in SQL.
	if err := r.engine.PurgeCall(t.Context(), c.id); err != nil {
		t.Fatal(err)
	}
	r.crash(t)
	r.start(t)
	w := newWorker(echo)
	r.join(t, w, 4)
	c.session = r.calls.NewSession()
	c.session.Watch(t.Context(), call.Watch{CallID: c.id, FromIndex: 10, Seen: []uint32{50}})
	c.collect(89)
	c.echoed()
	if _, ok := c.results[50]; ok {
		t.Error("an output that the client has was sent")
	}
	state, err := r.calls.Get(t.Context(), c.id)
	if err != nil || state.FunctionID != fn.ID || state.AppID != fn.AppID || state.NumInputs != 100 {
		t.Errorf("state %+v, error %v", state, err)
	}
}

func TestWorkerLost(t *testing.T) {
	r := newRig(t)
	var held atomic.Int32
	full := make(chan struct{})
	w := newWorker(func(*box, *task.Input) *payload.Result {
		if held.Add(1) == 2 {
			close(full)
		}
		return nil
	})
	leave := r.join(t, w, 2)
	c := r.client(t, r.function(function.Autoscaler{MinContainers: 2}), call.Sync)
	c.submit(0, 20)
	<-full
	w.lose()
	leave()
	again := newWorker(echo)
	r.join(t, again, 2)
	c.collect(20)
	c.echoed()
	if n := again.total(); n != 20 {
		t.Errorf("%d runs on the second worker, want 20", n)
	}
}

// TestLostTooOften has an input whose containers are lost each time.
func TestLostTooOften(t *testing.T) {
	r := newRig(t)
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		if in.Key.Index == 0 {
			b.end(task.Exit{Reason: task.Lost, Message: "gone", Lost: []payload.Key{in.Key}})
			return nil
		}
		return echo(b, in)
	})
	r.join(t, w, 2)
	c := r.client(t, r.function(function.Autoscaler{MaxContainers: 1}), call.Sync)
	c.submit(0, 5)
	c.collect(5)
	if s := c.results[0].Status; s != payload.InternalFailure {
		t.Errorf("status %d", s)
	}
	if n := w.runs[payload.Key{CallID: c.id}]; n != task.MaxReruns+1 {
		t.Errorf("%d runs, want %d", n, task.MaxReruns+1)
	}
	delete(c.results, 0)
	c.echoed()
}

func TestCancel(t *testing.T) {
	for name, kind := range map[string]call.Kind{"sync": call.Sync, "spawn": call.Spawn} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			began := make(chan struct{}, 1)
			w := newWorker(func(*box, *task.Input) *payload.Result {
				began <- struct{}{}
				return nil
			})
			r.join(t, w, 1)
			c := r.client(t, r.function(function.Autoscaler{MaxContainers: 1}), kind)
			c.submit(0, 1000) // one runs, some are in hand, the others in the flow
			if kind == call.Spawn {
				c.accepted(1000)
				c.session.Watch(t.Context(), call.Watch{CallID: c.id})
			}
			<-began
			if err := r.calls.Cancel(t.Context(), c.id, false); err != nil {
				t.Fatal(err)
			}
			c.collect(1000)
			for i, res := range c.results {
				if res.Status != payload.Cancelled {
					t.Fatalf("input %d: %+v", i, res)
				}
			}
			if n := w.total(); n != 1 {
				t.Errorf("%d inputs ran", n)
			}
		})
	}
}

func TestCancelUnknown(t *testing.T) {
	r := newRig(t)
	if err := r.calls.Cancel(t.Context(), ident.New(ident.Call), false); !errors.Is(err, fault.NotFound) {
		t.Errorf("error %v", err)
	}
}

func TestStopApp(t *testing.T) {
	r := newRig(t)
	began := make(chan struct{}, 1)
	w := newWorker(func(*box, *task.Input) *payload.Result {
		began <- struct{}{}
		return nil
	})
	r.join(t, w, 1)
	fn := r.function(function.Autoscaler{MaxContainers: 1})
	sync, spawn := r.client(t, fn, call.Sync), r.client(t, fn, call.Spawn)
	sync.submit(0, 900)
	<-began
	spawn.submit(0, 10)
	spawn.accepted(10)
	spawn.session.Watch(t.Context(), call.Watch{CallID: spawn.id})
	r.functions.remove(fn.ID)
	done := r.tasks.AppDone(fn.AppID)
	if err := r.calls.StopApp(t.Context(), fn.AppID); err != nil {
		t.Fatal(err)
	}
	<-done
	sync.collect(900)
	spawn.collect(10)
	for _, c := range []*client{sync, spawn} {
		for i, res := range c.results {
			if res.Status != payload.Cancelled {
				t.Fatalf("input %d: %+v", i, res)
			}
		}
	}
	if n := r.tasks.CountByApp(fn.AppID); n != (task.Counts{}) {
		t.Errorf("left behind: %+v", n)
	}
	late := r.client(t, fn, call.Sync)
	late.submit(0, 1)
	if err := late.refused(); !errors.Is(err, fault.NotFound) {
		t.Errorf("a call of a stopped app: %v", err)
	}
}

func TestRefused(t *testing.T) {
	r := newRig(t)
	fn := r.function(function.Autoscaler{})
	good := call.Submit{CallID: ident.New(ident.Call), FunctionID: fn.ID, Kind: call.Sync, Inputs: []call.Item{input(0)}}
	for name, c := range map[string]struct {
		change func(*call.Submit)
		kind   *fault.Kind
	}{
		"call id":          {func(m *call.Submit) { m.CallID = "fc-1.>" }, fault.Invalid},
		"function id":      {func(m *call.Submit) { m.FunctionID = "fu-*" }, fault.Invalid},
		"unknown function": {func(m *call.Submit) { m.FunctionID = ident.New(ident.Function) }, fault.NotFound},
		"kind":             {func(m *call.Submit) { m.Kind = 3 }, fault.Invalid},
		"parent":           {func(m *call.Submit) { m.ParentInputID = "in-1-1" }, fault.Invalid},
		"parent index":     {func(m *call.Submit) { m.ParentInputID = "in-" + m.CallID[3:] + "-01" }, fault.Invalid},
		"own parent":       {func(m *call.Submit) { m.ParentInputID = "in-" + m.CallID[3:] + "-1" }, fault.Invalid},
		"index":            {func(m *call.Submit) { m.Inputs = []call.Item{input(call.MaxIndex + 1)} }, fault.Invalid},
		"no inputs":        {func(m *call.Submit) { m.Inputs = nil }, fault.Invalid},
		"too many":         {func(m *call.Submit) { m.Inputs = make([]call.Item, call.MaxSubmit+1) }, fault.Invalid},
		"format":           {func(m *call.Submit) { m.Inputs = []call.Item{{}} }, fault.Invalid},
		"large": {func(m *call.Submit) {
			m.Inputs = []call.Item{{Args: payload.Payload{Format: payload.Pickle, Inline: make([]byte, payload.MaxInline+1)}}}
		}, fault.Invalid},
		"no blob": {func(m *call.Submit) {
			m.Inputs = []call.Item{{Args: payload.Payload{Format: payload.Pickle, Blob: &payload.Ref{Digest: ident.Digest(nil), Size: 1}}}}
		}, fault.Precondition},
	} {
		t.Run(name, func(t *testing.T) {
			m := good
			c.change(&m)
			x := r.calls.NewSession()
			defer x.Close()
			x.Submit(t.Context(), m)
			f, err := x.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Refused) != 1 || f.Refused[0].CallID != m.CallID || !errors.Is(f.Refused[0].Err, c.kind) {
				t.Errorf("%+v, want a refusal that is %v", f, c.kind)
			}
		})
	}
}

func TestTooManyUnfinished(t *testing.T) {
	r := newRig(t) // no worker: nothing ends
	c := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	c.submit(0, 900)
	c.submit(900, 1001)
	if err := c.refused(); !errors.Is(err, fault.Exhausted) {
		t.Errorf("error %v", err)
	}
}

// TestTwiceInOneSubmit has an index that a broken client sends twice count once.
func TestTwiceInOneSubmit(t *testing.T) {
	r := newRig(t)
	w := newWorker(echo)
	r.join(t, w, 1)
	c := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	m := call.Submit{CallID: c.id, FunctionID: c.fn.ID, Kind: call.Sync, Inputs: []call.Item{input(1), input(1)}}
	c.session.Submit(t.Context(), m)
	c.collect(1)
	c.submit(0, 1)
	c.collect(2)
	c.echoed()
	if n := w.total(); n != 2 {
		t.Errorf("%d runs, want 2", n)
	}
}

func TestWatchUnknown(t *testing.T) {
	r := newRig(t)
	c := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	c.session.Watch(t.Context(), call.Watch{CallID: c.id})
	if err := c.refused(); !errors.Is(err, fault.NotFound) {
		t.Errorf("error %v", err)
	}
}

// TestLargeSpawn keeps a payload that is too large for a row as a blob, in both directions.
func TestLargeSpawn(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(echo), 1)
	c := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	large := payload.Payload{Format: payload.Pickle, Inline: make([]byte, call.MaxRecorded+1)}
	c.session.Submit(t.Context(), call.Submit{CallID: c.id, FunctionID: c.fn.ID, Kind: call.Spawn, Inputs: []call.Item{{Args: large}}})
	c.accepted(1)
	c.session.Watch(t.Context(), call.Watch{CallID: c.id})
	c.collect(1)
	outputs, err := r.db.Outputs(t.Context(), c.id, 0, 10)
	if err != nil || len(outputs) != 1 {
		t.Fatalf("%+v, %v", outputs, err)
	}
	if v := outputs[0].Result.Value; v.Blob == nil || v.Blob.Size != uint64(len(large.Inline)) {
		t.Errorf("recorded as %+v", v)
	}
}

// TestOutputsArriveWhereTheClientIs closes a session while its inputs run, and takes the call up in another.
func TestOutputsArriveWhereTheClientIs(t *testing.T) {
	r := newRig(t)
	release, began := make(chan struct{}), make(chan struct{}, 1)
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		select {
		case began <- struct{}{}:
		default:
		}
		<-release
		return echo(b, in)
	})
	r.join(t, w, 2)
	c := r.client(t, r.function(function.Autoscaler{MaxContainers: 1}), call.Sync)
	c.submit(0, 50)
	<-began
	c.reconnect()
	close(release)
	c.collect(50)
	c.echoed()
	if n := w.total(); n != 50 {
		t.Errorf("%d runs, want 50", n)
	}
	// Outputs that came while nobody was there are kept.
	c.reconnectAll()
	c.collect(50)
	if n := w.total(); n != 50 {
		t.Errorf("%d runs after asking again, want 50", n)
	}
}

// reconnectAll is a client that has lost all its results.
func (c *client) reconnectAll() {
	for i := range c.results {
		c.pending[i] = input(i)
	}
	clear(c.results)
	c.reconnect()
}
