package call_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// stuck runs inputs that do not end, and tells of each.
func stuck(began chan payload.Key) func(*box, *task.Input) *payload.Result {
	return func(_ *box, in *task.Input) *payload.Result {
		began <- in.Key
		return nil
	}
}

// TestVanishedClient cancels the call of a client that has gone without a word and stays away.
func TestVanishedClient(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	began := make(chan payload.Key, 100)
	w := newWorker(stuck(began))
	r.join(t, w, 1)
	u := r.client(t, r.function(function.Autoscaler{MaxContainers: 1}), call.Sync)
	u.submit(0, 10)
	<-began
	u.session.Close()
	c.advance(call.VanishedAfter - time.Second)
	u.reconnect() // in time
	c.advance(call.VanishedAfter)
	if len(w.cancels) != 0 {
		t.Fatal("cancelled though the client came again")
	}
	u.session.Close()
	c.advance(call.VanishedAfter)
	if k := <-w.cancels; k.CallID != u.id {
		t.Errorf("cancelled %v", k)
	}
	u.reconnect()
	u.collect(10)
	cancelledAll(t, u)
	if n := w.total(); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// TestVanishedWithTheGateway takes up a call after a restart, and its client does not come.
func TestVanishedWithTheGateway(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	u := r.client(t, r.function(function.Autoscaler{MaxContainers: 1}), call.Sync)
	u.submit(0, 10)
	other := r.client(t, u.fn, call.Sync)
	other.submit(0, 1)
	r.stop(t)
	r.start(t)
	began := make(chan payload.Key, 100)
	w := newWorker(stuck(began))
	r.join(t, w, 1)
	<-began
	c.planned(t, call.VanishedAfter, 1)
	c.advance(call.VanishedAfter)
	<-w.cancels
}

// TestReleasedCallGoesOn has a client say that it wants no outputs.
func TestReleasedCallGoesOn(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	began := make(chan payload.Key, 100)
	w := newWorker(stuck(began))
	r.join(t, w, 1)
	u := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	u.submit(0, 1)
	<-began
	u.session.Release([]string{u.id})
	u.session.Close()
	c.advance(10 * call.VanishedAfter)
	if len(w.cancels) != 0 {
		t.Error("cancelled")
	}
}

// TestCancelledMapDoesNotBegin cancels a map that is broken off, with the containers that run it.
func TestCancelledMapDoesNotBegin(t *testing.T) {
	r := newRig(t)
	began := make(chan payload.Key, 1000)
	w := newWorker(stuck(began))
	r.join(t, w, 1)
	u := r.client(t, r.function(function.Autoscaler{MaxContainers: 1}), call.Sync)
	u.submit(0, 1000)
	first := <-began
	u.session.Release([]string{u.id})
	if err := r.calls.Cancel(t.Context(), u.id, true); err != nil {
		t.Fatal(err)
	}
	// What comes after it is run by a new container; of the cancelled one nothing is.
	v := r.client(t, u.fn, call.Sync)
	v.submit(0, 1)
	if next := <-began; first.CallID != u.id || next.CallID != v.id {
		t.Errorf("began %v, then %v", first, next)
	}
	if n := w.total(); n != 2 {
		t.Errorf("%d runs", n)
	}
}

// TestExpiry forgets the outputs of a spawned call seven days after it has ended.
func TestExpiry(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	r.join(t, newWorker(echo), 1)
	u := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	u.submit(0, 3)
	u.accepted(3)
	look := func() call.State {
		clear(u.results)
		u.session.Watch(t.Context(), call.Watch{CallID: u.id})
		for {
			f := u.next()
			if len(f.States) > 0 {
				u.note(f)
				return f.States[0]
			}
			u.note(f)
		}
	}
	look()
	u.collect(3)
	reconciled := func(d time.Duration) {
		c.advance(d)
		// Those of the time in between may still be on their way.
		last := c.Now().Add(-call.Retention - call.ReconcileInterval)
		for before := <-r.expired; before.Before(last); {
			before = <-r.expired
		}
	}
	reconciled(call.Retention - time.Hour)
	if s := look(); s.Expired || s.NumInputs != 3 || s.NumFinished != 3 {
		t.Errorf("before its time: %+v", s)
	}
	u.collect(3)
	reconciled(2 * time.Hour)
	if s := look(); !s.Expired || s.NumInputs != 3 {
		t.Errorf("after its time: %+v", s)
	}
	if s, err := r.calls.Get(t.Context(), u.id); err != nil || !s.Expired {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSpawnMany records many calls of one input each in few transactions.
func TestSpawnMany(t *testing.T) {
	const calls = 1000
	r := newRig(t)
	var transactions atomic.Int32
	all := make(chan struct{})
	r.accepting = func() {
		transactions.Add(1)
		<-all
	}
	r.join(t, newWorker(echo), 2)
	fn := r.function(function.Autoscaler{})
	x := r.calls.NewSession()
	defer x.Close()
	var ids []string
	for range calls {
		id := ident.New(ident.Call)
		ids = append(ids, id)
		x.Submit(t.Context(), call.Submit{CallID: id, FunctionID: fn.ID, Kind: call.Spawn, Inputs: []call.Item{input(0)}})
	}
	close(all)
	for left := calls; left > 0; {
		f, err := x.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		left -= len(f.Accepted)
	}
	if n := transactions.Load(); n > 5 {
		t.Errorf("%d transactions", n)
	}
	for _, id := range ids {
		x.Watch(t.Context(), call.Watch{CallID: id})
	}
	for left := calls; left > 0; {
		f, err := x.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		left -= len(f.Outputs)
	}
	x.Release(ids)
	if n := r.calls.Retained(); n != (call.Retained{}) {
		t.Errorf("left behind: %+v", n)
	}
}

// TestReconcilerOffersAgain what waits, and what the flow has already is not remembered.
func TestReconcilerOffersAgain(t *testing.T) {
	c := newClock()
	r := newRigAt(t, c)
	u := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	for i := uint32(0); i < 3000; i += 1000 {
		u.submit(i, i+1000)
		u.accepted(1000)
	}
	c.planned(t, call.ReconcileInterval, 1)
	if err := r.engine.PurgeCall(t.Context(), u.id); err != nil { // lost, but for those in hand
		t.Fatal(err)
	}
	c.advance(call.ReconcileInterval)
	<-r.expired
	c.planned(t, call.ReconcileInterval, 1)
	c.advance(call.ReconcileInterval)
	<-r.expired
	if n := r.calls.Retained(); n.Doubtful != 0 { // the flow has all
		t.Errorf("remembered: %+v", n)
	}
	r.join(t, newWorker(echo), 1)
	u.session.Watch(t.Context(), call.Watch{CallID: u.id})
	u.collect(3000)
	u.echoed()
	c.planned(t, call.ReconcileInterval, 1)
	c.advance(call.ReconcileInterval)
	<-r.expired
	if n := r.calls.Retained(); n.Doubtful != 0 {
		t.Errorf("remembered after the end: %+v", n)
	}
}

// TestSpawnInParts sends one call's inputs in several frames, the last after the others have ended.
func TestSpawnInParts(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(echo), 2)
	u := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	for i := range uint32(5) {
		u.submit(100*i, 100*i+100)
	}
	u.accepted(500)
	u.session.Watch(t.Context(), call.Watch{CallID: u.id})
	u.collect(500)
	u.submit(500, 510)
	u.collect(510)
	u.echoed()
	// Looking again gives all again; looking at a part gives the part.
	clear(u.results)
	u.session.Watch(t.Context(), call.Watch{CallID: u.id, FromIndex: 500, Seen: []uint32{505}})
	u.collect(9)
	if _, ok := u.results[505]; ok {
		t.Error("an output that the client has was sent")
	}
	state, err := r.calls.Get(t.Context(), u.id)
	if err != nil || state.NumInputs != 510 || state.NumFinished != 510 {
		t.Errorf("state %+v, error %v", state, err)
	}
}

// TestNothingGrows runs a large map, some inputs of which fail, and has nothing left of it.
func TestNothingGrows(t *testing.T) {
	const inputs, chunk = 30_000, 250
	r := newRig(t)
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		if in.Key.Index%100 == 7 {
			return failing(1, payload.Failure)(b, in)
		}
		return echo(b, in)
	}), 2)
	u := r.client(t, r.define(func(d *function.Definition) { d.Retries = &function.Retries{Max: 3, Backoff: 1} }), call.Sync)
	most := call.Retained{}
	for sent := uint32(0); len(u.results) < inputs; {
		for sent < inputs && len(u.pending) <= call.MaxUnfinished-chunk {
			u.submit(sent, sent+chunk)
			sent += chunk
		}
		u.collect(len(u.results) + 1)
		if n := r.calls.Retained(); n.Hand > most.Hand {
			most = n
		}
	}
	u.echoed()
	if most.Calls != 1 || most.Hand > call.MaxUnfinished || most.Traced+most.Doubtful+most.Recorded+most.Generators > 0 {
		t.Errorf("meanwhile: %+v", most)
	}
	u.session.Release([]string{u.id})
	if n := r.calls.Retained(); n != (call.Retained{}) {
		t.Errorf("left behind: %+v", n)
	}
}

func TestMethods(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var methods []string
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		mu.Lock()
		defer mu.Unlock()
		methods = append(methods, in.Method)
		return echo(b, in)
	}), 1)
	fn := r.define(func(d *function.Definition) {
		d.Class = &function.Class{Methods: []function.Method{{Name: "a"}, {Name: "b"}}}
	})
	for _, kind := range []call.Kind{call.Sync, call.Spawn} {
		for _, method := range []string{"a", "b"} {
			u := r.client(t, fn, kind)
			u.method = method
			u.submit(0, 1)
			if kind == call.Spawn {
				u.accepted(1)
				u.session.Watch(t.Context(), call.Watch{CallID: u.id})
			}
			u.collect(1)
		}
	}
	if want := []string{"a", "b", "a", "b"}; !slices.Equal(methods, want) {
		t.Errorf("methods %q, want %q", methods, want)
	}
	plain := r.function(function.Autoscaler{})
	for _, c := range []struct {
		fn     *function.Function
		method string
		kind   *fault.Kind
	}{{fn, "", fault.Invalid}, {fn, "c", fault.NotFound}, {plain, "a", fault.Invalid}} {
		u := r.client(t, c.fn, call.Sync)
		u.method = c.method
		u.submit(0, 1)
		if err := u.refused(); !errors.Is(err, c.kind) {
			t.Errorf("method %q: refused with %v", c.method, err)
		}
	}
}

// TestWatchOfManyOutputs has a client that reads late get all outputs of a large spawned call, of which few wait in memory.
func TestWatchOfManyOutputs(t *testing.T) {
	const inputs, chunk = 20_000, 1000
	r := newRig(t)
	r.join(t, newWorker(echo), 2)
	u := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	u.submit(0, chunk)
	u.accepted(chunk)
	u.session.Watch(t.Context(), call.Watch{CallID: u.id})
	for i := uint32(chunk); i < inputs; i += chunk {
		u.submit(i, i+chunk)
	}
	// Another client sees the last output; this one has not read since.
	v := r.client(t, u.fn, call.Spawn)
	v.id = u.id
	v.session.Watch(t.Context(), call.Watch{CallID: u.id})
	for len(v.results) < inputs {
		f := v.next()
		v.note(f)
		if n := u.session.Queued(); n > 4000 {
			t.Fatalf("%d outputs wait in memory", n)
		}
	}
	u.session.Watch(t.Context(), call.Watch{CallID: u.id, FromIndex: 10})
	clear(u.results)
	for len(u.results) < inputs-10 {
		f := u.next()
		for _, o := range f.Outputs {
			u.results[o.Key.Index] = o.Result // those of before the second watch may come twice
		}
	}
	u.echoed()
}

// TestSpawnWithoutSession makes the same call twice, before it has ended and after.
func TestSpawnWithoutSession(t *testing.T) {
	r := newRig(t)
	w := newWorker(echo)
	r.join(t, w, 1)
	u := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	m := call.Submit{CallID: u.id, FunctionID: u.fn.ID, Inputs: []call.Item{input(0)}}
	for range 3 {
		if err := r.calls.Spawn(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		clear(u.results)
		u.session.Watch(t.Context(), call.Watch{CallID: u.id})
		u.collect(1)
	}
	if n := w.total(); n != 1 {
		t.Errorf("%d runs", n)
	}
	r.functions.remove(u.fn.ID)
	if err := r.calls.StopApp(t.Context(), u.fn.AppID); err != nil {
		t.Fatal(err)
	}
	m.CallID = ident.New(ident.Call)
	if err := r.calls.Spawn(t.Context(), m); !errors.Is(err, fault.NotFound) {
		t.Errorf("of a stopped app: %v", err)
	}
}

// TestScope keeps code in containers of another environment off a call.
func TestScope(t *testing.T) {
	r := newRig(t)
	began := make(chan payload.Key, 10)
	r.join(t, newWorker(stuck(began)), 1)
	u := r.client(t, r.function(function.Autoscaler{}), call.Spawn)
	u.submit(0, 1)
	u.accepted(1)
	<-began
	for environment, want := range map[string]*fault.Kind{"other": fault.NotFound, "main": nil} {
		ctx := identity.WithScope(t.Context(), identity.Scope{AppID: ident.New(ident.App), Environment: environment})
		x := r.calls.NewSession()
		x.Watch(ctx, call.Watch{CallID: u.id})
		f, err := x.Next(t.Context())
		if err != nil || (len(f.Refused) > 0) != (want != nil) {
			t.Errorf("%s: watch: %+v, %v", environment, f, err)
		}
		x.Close()
		_, got := r.calls.Get(ctx, u.id)
		_, graph := r.calls.Graph(ctx, u.id)
		m := call.Submit{CallID: ident.New(ident.Call), FunctionID: u.fn.ID, Inputs: []call.Item{input(0)}}
		for what, err := range map[string]error{
			"get": got, "graph": graph, "spawn": r.calls.Spawn(ctx, m), "cancel": r.calls.Cancel(ctx, u.id, false),
		} {
			if want == nil && err != nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %s: %v", environment, what, err)
			}
		}
	}
}
