package call_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/call/calltest"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

func generator(d *function.Definition) { d.Generator = true }

// yield has the container yield items of an input, n at a time.
func yield(b *box, in *task.Input, from, to uint64, n int) {
	for first := from; first <= to; first += uint64(n) {
		b.events.Items(in.Key, first, calltest.Batch(in.Key, first, min(n, int(to-first)+1)).Values)
	}
}

func yielded(n uint64) *payload.Result {
	return &payload.Result{Status: payload.Success, Generated: true, Items: n}
}

// counting yields the numbers up to last.
func counting(last uint64) func(*box, *task.Input) *payload.Result {
	return func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, last, 7)
		return yielded(last)
	}
}

// reader is a client of one generator. It counts the items that it has.
type reader struct {
	*client
	seen uint64
}

func (r *rig) reader(t *testing.T, fn *function.Function) *reader {
	u := &reader{client: r.client(t, fn, call.Sync)}
	u.submit(0, 1)
	return u
}

// frame takes what is there and checks that it is what comes next; it tells the gateway what it has, if it is to.
func (u *reader) frame(tell bool) {
	u.t.Helper()
	f := u.next()
	for _, refusal := range f.Refused {
		u.t.Fatalf("refused: %v", refusal.Err)
	}
	for _, b := range f.Items {
		if b.Key.CallID != u.id || b.First != u.seen+1 {
			u.t.Fatalf("items from %d on, want those from %d on", b.First, u.seen+1)
		}
		for i, v := range b.Values {
			if want := calltest.Batch(b.Key, b.First+uint64(i), 1).Values[0]; string(v.Inline) != string(want.Inline) {
				u.t.Fatalf("item %d is %s", b.First+uint64(i), v.Inline)
			}
		}
		u.seen += uint64(len(b.Values))
		if tell {
			u.session.Seen(b.Key, u.seen)
		}
	}
	u.note(f)
}

// until reads up to an item.
func (u *reader) until(n uint64) {
	u.t.Helper()
	for u.seen < n {
		u.frame(true)
	}
}

// finish reads up to the output.
func (u *reader) finish() payload.Result {
	u.t.Helper()
	for len(u.results) == 0 {
		u.frame(true)
	}
	return u.results[0]
}

// resume comes again over another session.
func (u *reader) resume() {
	u.session.Close()
	u.session = u.r.calls.NewSession()
	u.session.Submit(u.t.Context(), call.Submit{
		CallID: u.id, FunctionID: u.fn.ID, Kind: call.Sync, Inputs: []call.Item{input(0)}, Resumed: true, Seen: map[uint32]uint64{0: u.seen},
	})
}

func TestGenerator(t *testing.T) {
	const items = 5000
	r := newRig(t)
	r.join(t, newWorker(counting(items)), 1)
	u := r.reader(t, r.define(generator))
	if res := u.finish(); u.seen != items || res.Status != payload.Success || res.Items != items {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
	u.session.Release([]string{u.id})
	if id := <-r.purged; id != u.id {
		t.Errorf("purged %q", id)
	}
	if n, err := r.engine.LastItem(t.Context(), payload.Key{CallID: u.id}); err != nil || n != 0 {
		t.Errorf("items are left: %d, %v", n, err)
	}
	if n := r.calls.Retained(); n != (call.Retained{}) {
		t.Errorf("left behind: %+v", n)
	}
}

func TestEmptyGenerator(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(counting(0)), 1)
	u := r.reader(t, r.define(generator))
	if res := u.finish(); u.seen != 0 || !res.Generated {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
}

// TestGeneratorMethod is a generator that is a method, beside one that is none.
func TestGeneratorMethod(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		if in.Method == "count" {
			return counting(10)(b, in)
		}
		return echo(b, in)
	}), 1)
	fn := r.define(func(d *function.Definition) {
		d.Class = &function.Class{Methods: []function.Method{{Name: "count", Generator: true}, {Name: "get"}}}
	})
	u := &reader{client: r.client(t, fn, call.Sync)}
	u.method = "count"
	u.submit(0, 1)
	u.finish()
	v := r.client(t, fn, call.Sync)
	v.method = "get"
	v.submit(0, 1)
	v.collect(1)
	v.echoed()
	if u.seen != 10 {
		t.Errorf("%d items", u.seen)
	}
}

// TestItemsBeforeException has them arrive before the output that says how the generator failed.
func TestItemsBeforeException(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, 1500, 100)
		res := payload.Failed(payload.Failure, "boom")
		return &res
	}), 1)
	u := r.reader(t, r.define(generator))
	if res := u.finish(); u.seen != 1500 || res.Status != payload.Failure {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
}

// TestWindow has a client that does not say what it has seen get a window's worth and no more, while other calls go on.
func TestWindow(t *testing.T) {
	const items = 100_000
	r := newRig(t)
	ended := make(chan struct{})
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		if len(in.Args.Inline) == 0 {
			defer close(ended)
			yield(b, in, 1, items, 100)
			return yielded(items)
		}
		return echo(b, in)
	}), 2)
	u := &reader{client: r.client(t, r.define(generator), call.Sync)}
	u.session.Submit(t.Context(), call.Submit{
		CallID: u.id, FunctionID: u.fn.ID, Kind: call.Sync, Inputs: []call.Item{{Args: payload.Payload{Format: payload.Pickle}}},
	})
	for u.seen < item.Window {
		u.frame(false)
	}
	<-ended // nobody waited for the client
	plain := r.client(t, r.function(function.Autoscaler{}), call.Sync)
	plain.session.Close()
	plain.session = u.session
	plain.submit(0, 100)
	for len(plain.results) < 100 {
		f := u.next()
		if len(f.Items) > 0 {
			t.Fatalf("items from %d on, beyond the window", f.Items[0].First)
		}
		plain.note(f)
	}
	plain.echoed()
	u.session.Seen(payload.Key{CallID: u.id}, u.seen)
	if u.finish(); u.seen != items {
		t.Errorf("%d items", u.seen)
	}
}

// TestGeneratorRunsAgain loses the container of a generator that has yielded; the second run yields from the first on.
func TestGeneratorRunsAgain(t *testing.T) {
	r := newRig(t)
	var once sync.Once
	half := make(chan struct{})
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		res := yielded(3000)
		once.Do(func() {
			yield(b, in, 1, 2000, 100)
			close(half)
			res = nil
		})
		if res != nil {
			yield(b, in, 1, 3000, 33)
		}
		return res
	})
	leave := r.join(t, w, 1)
	u := r.reader(t, r.define(generator))
	<-half
	u.until(1500)
	w.lose()
	leave()
	r.join(t, w, 1)
	if res := u.finish(); u.seen != 3000 || res.Items != 3000 {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
}

// TestReaderComesAgain breaks the session while the generator runs, and after it has ended.
func TestReaderComesAgain(t *testing.T) {
	r := newRig(t)
	half, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, 1000, 10)
		close(half)
		<-goOn
		defer close(ended)
		yield(b, in, 1001, 3000, 10)
		return yielded(3000)
	})
	r.join(t, w, 1)
	u := r.reader(t, r.define(generator))
	u.until(300)
	<-half
	u.resume()
	u.until(900)
	u.session.Close()
	close(goOn)
	<-ended
	u.resume()
	u.until(1800)
	u.resume()
	if res := u.finish(); u.seen != 3000 || res.Items != 3000 {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
	if n := w.total(); n != 1 {
		t.Errorf("%d runs", n)
	}
}

// TestGeneratorSurvivesRestart ends the core rudely while a generator runs, and in good order once it has ended.
func TestGeneratorSurvivesRestart(t *testing.T) {
	const items = 6000
	r := newRig(t)
	half := make(chan struct{})
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, 2500, 10)
		close(half)
		return nil
	}), 1)
	u := r.reader(t, r.define(generator))
	<-half
	u.until(1200)
	r.crash(t)
	r.start(t)
	ended := make(chan struct{})
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		defer close(ended)
		return counting(items)(b, in)
	})
	r.join(t, w, 1)
	u.resume()
	u.until(3000)
	<-ended
	r.stop(t)
	r.start(t)
	r.join(t, newWorker(counting(items)), 1)
	u.resume()
	if res := u.finish(); u.seen != items || res.Items != items {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
}

func TestGeneratorCancelled(t *testing.T) {
	r := newRig(t)
	half := make(chan struct{})
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, 100, 10)
		close(half)
		return nil
	}), 1)
	u := r.reader(t, r.define(generator))
	<-half
	if err := r.calls.Cancel(t.Context(), u.id, false); err != nil {
		t.Fatal(err)
	}
	if res := u.finish(); u.seen != 100 || res.Status != payload.Cancelled {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
}

// TestReleasedGenerator goes on when its client wants no more, and leaves nothing behind.
func TestReleasedGenerator(t *testing.T) {
	r := newRig(t)
	goOn := make(chan struct{})
	w := newWorker(func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, 100, 10)
		<-goOn
		yield(b, in, 101, 20_000, 100)
		return yielded(20_000)
	})
	r.join(t, w, 1)
	u := r.reader(t, r.define(generator))
	u.until(10)
	u.session.Release([]string{u.id})
	close(goOn)
	if id := <-r.purged; id != u.id {
		t.Errorf("purged %q", id)
	}
	if n := r.calls.Retained(); n != (call.Retained{}) {
		t.Errorf("left behind: %+v", n)
	}
	if len(w.cancels) != 0 {
		t.Error("it was cancelled")
	}
}

// TestItemsMissing has a generator say that it yielded more than came.
func TestItemsMissing(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, 10, 10)
		b.events.Items(in.Key, 12, calltest.Batch(in.Key, 12, 5).Values) // one is left out
		return yielded(16)
	}), 1)
	u := r.reader(t, r.define(generator))
	if res := u.finish(); u.seen != 10 || res.Status != payload.InternalFailure {
		t.Errorf("%d items, then %+v", u.seen, res)
	}
}

// TestItemsDropped has the flow drop items that a client still wants.
func TestItemsDropped(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(func(b *box, in *task.Input) *payload.Result {
		yield(b, in, 1, 2000, 100)
		return nil
	}), 1)
	u := r.reader(t, r.define(generator))
	u.until(2000)
	if err := r.engine.PurgeItems(t.Context(), u.id); err != nil {
		t.Fatal(err)
	}
	u.seen = 500
	u.resume()
	if err := u.refused(); !errors.Is(err, fault.DataLoss) {
		t.Errorf("refused with %v", err)
	}
}

// TestAllItemsDropped is of a generator that has ended.
func TestAllItemsDropped(t *testing.T) {
	r := newRig(t)
	r.join(t, newWorker(counting(500)), 1)
	u := r.reader(t, r.define(generator))
	u.finish()
	u.session.Close()
	if err := r.engine.PurgeItems(t.Context(), u.id); err != nil {
		t.Fatal(err)
	}
	u.seen = 10
	u.resume()
	if err := u.refused(); !errors.Is(err, fault.DataLoss) {
		t.Errorf("refused with %v", err)
	}
}

func TestGeneratorNotSpawned(t *testing.T) {
	r := newRig(t)
	u := r.client(t, r.define(generator), call.Spawn)
	u.submit(0, 1)
	if err := u.refused(); !errors.Is(err, fault.Invalid) {
		t.Errorf("error %v", err)
	}
}

// BenchmarkItems is a generator of small items, from the container to a session's frames.
func BenchmarkItems(b *testing.B) {
	r := newRig(b)
	total := uint64(0)
	r.join(b, newWorker(func(c *box, in *task.Input) *payload.Result {
		yield(c, in, 1, total, 20)
		return yielded(total)
	}), 1)
	fn := r.define(generator)
	total = uint64(b.N)
	x := r.calls.NewSession()
	defer x.Close()
	id := ident.New(ident.Call)
	b.ResetTimer()
	x.Submit(b.Context(), call.Submit{CallID: id, FunctionID: fn.ID, Kind: call.Sync, Inputs: []call.Item{input(0)}})
	for outputs := 0; outputs == 0; {
		f, err := x.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for i := range f.Items {
			x.Seen(f.Items[i].Key, f.Items[i].First+uint64(len(f.Items[i].Values))-1)
		}
		outputs = len(f.Outputs)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "items/s")
}
