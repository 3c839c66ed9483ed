// Package calltest is the conformance suite of package call's ports.
package calltest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Inputs returns n inputs of a SYNC call.
func Inputs(functionID, callID string, n uint32) []call.Input {
	inputs := make([]call.Input, n)
	for i := range inputs {
		inputs[i] = call.Input{
			Key: payload.Key{CallID: callID, Index: uint32(i)}, FunctionID: functionID, Kind: call.Sync,
			Args: payload.Payload{Format: payload.Pickle, Inline: []byte{byte(i), byte(i >> 8)}},
		}
	}
	return inputs
}

// Put stores inputs, and ends the test if that fails.
func Put(t testing.TB, f call.Flow, inputs ...call.Input) {
	t.Helper()
	if err := errors.Join(put(f, inputs)...); err != nil {
		t.Fatal(err)
	}
}

func put(f call.Flow, inputs []call.Input) []error {
	done := make(chan []error, 1)
	f.PutInputs(inputs, func(errs []error) { done <- errs })
	return <-done
}

// PutOutput stores an output, and ends the test if that fails.
func PutOutput(t testing.TB, f call.Outputs, k payload.Key, r payload.Result) {
	t.Helper()
	if err := errors.Join(putOutputs(f, call.Output{Key: k, Result: r})...); err != nil {
		t.Fatal(err)
	}
}

func putOutputs(f call.Outputs, outputs ...call.Output) []error {
	done := make(chan []error, 1)
	f.PutOutputs(outputs, func(errs []error) { done <- errs })
	return <-done
}

// Store is what Flow checks.
type Store interface {
	call.Flow
	call.Outputs
}

// Flow checks an implementation of call.Flow and call.Outputs; open returns an empty one.
func Flow(t *testing.T, open func(t *testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"deliver": deliver, "deliver later": deliverLater, "one per subject": onePerSubject, "first output wins": firstWins,
		"purge": purge, "purge outputs": purgeOutputs, "payloads": payloads, "blocked": blocked, "one subscription": oneSubscription,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// subscribe returns a channel of deliveries.
func subscribe(t *testing.T, f call.Flow, functionID string) <-chan call.Delivery {
	t.Helper()
	ch := make(chan call.Delivery, 1000)
	sub, err := f.Subscribe(t.Context(), functionID, func(d call.Delivery) { ch <- d })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	})
	return ch
}

func deliver(t *testing.T, f Store) {
	fn, id := ident.New(ident.Function), ident.New(ident.Call)
	ch := subscribe(t, f, fn)
	inputs := Inputs(fn, id, 600)
	Put(t, f, inputs...)
	Put(t, f, Inputs(ident.New(ident.Function), id, 3)...) // of another function
	for i := range inputs {
		d := <-ch
		if diff := cmp.Diff(inputs[i], d.Input); diff != "" {
			t.Fatal(diff)
		}
		if d.StoredAt.IsZero() || d.Earlier || d.Again {
			t.Fatalf("delivery %+v", d)
		}
		d.Ticket.Working()
		d.Ticket.Ack()
	}
}

func deliverLater(t *testing.T, f Store) {
	fn := ident.New(ident.Function)
	Put(t, f, Inputs(fn, ident.New(ident.Call), 50)...)
	waiting, err := f.Waiting(t.Context(), "")
	if err != nil || len(waiting) != 1 || waiting[fn] != 50 {
		t.Errorf("waiting %v, error %v", waiting, err)
	}
	ch := subscribe(t, f, fn)
	for i := range uint32(50) {
		if d := <-ch; d.Key.Index != i || d.Behind != 49-int(i) {
			t.Fatalf("delivery %d: %+v", i, d)
		}
	}
}

func onePerSubject(t *testing.T, f Store) {
	fn, id := ident.New(ident.Function), ident.New(ident.Call)
	Put(t, f, Inputs(fn, id, 2)...)
	errs := put(f, Inputs(fn, id, 3))
	if len(errs) != 3 || !errors.Is(errs[0], fault.Exists) || !errors.Is(errs[1], fault.Exists) || errs[2] != nil {
		t.Errorf("put again: %v", errs)
	}
}

func firstWins(t *testing.T, f Store) {
	k := payload.Key{CallID: ident.New(ident.Call), Index: 7}
	if _, err := f.Output(t.Context(), k); !errors.Is(err, fault.NotFound) {
		t.Errorf("no output yet: %v", err)
	}
	first, second := payload.Failed(payload.Failure, "first"), payload.Failed(payload.Failure, "second")
	PutOutput(t, f, k, first)
	if errs := putOutputs(f, call.Output{Key: k, Result: second}); len(errs) != 1 || !errors.Is(errs[0], fault.Exists) {
		t.Errorf("a second output: %v", errs)
	}
	got, err := f.Output(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, got.Result); diff != "" || got.Key != k || got.Place == 0 {
		t.Errorf("%+v: %s", got, diff)
	}
}

func purge(t *testing.T, f Store) {
	fn, other := ident.New(ident.Function), ident.New(ident.Function)
	gone, kept := ident.New(ident.Call), ident.New(ident.Call)
	Put(t, f, Inputs(fn, gone, 5)...)
	Put(t, f, Inputs(other, gone, 5)...)
	Put(t, f, Inputs(fn, kept, 5)...)
	if err := f.PurgeCall(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	waiting, err := f.Waiting(t.Context(), "")
	if err != nil || len(waiting) != 1 || waiting[fn] != 5 {
		t.Errorf("waiting %v, error %v", waiting, err)
	}
	if err := f.PurgeFunction(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
	if waiting, err = f.Waiting(t.Context(), ""); err != nil || len(waiting) != 0 {
		t.Errorf("waiting %v, error %v", waiting, err)
	}
	Put(t, f, Inputs(fn, gone, 5)...) // the subjects are free again
}

func purgeOutputs(t *testing.T, f Store) {
	kept, gone := ident.New(ident.Call), ident.New(ident.Call)
	outputs := make([]call.Output, 20)
	for i := range outputs { // in turn
		id := kept
		if i%2 == 1 {
			id = gone
		}
		outputs[i] = call.Output{Key: payload.Key{CallID: id, Index: uint32(i)}, Result: payload.Failed(payload.Failure, "x")}
	}
	if err := errors.Join(putOutputs(f, outputs...)...); err != nil {
		t.Fatal(err)
	}
	there := func(i int) bool {
		o, err := f.Output(t.Context(), outputs[i].Key)
		if err != nil && !errors.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		if err == nil && o.Place != outputs[i].Place {
			t.Errorf("output %d is at %d, and was said to be at %d", i, o.Place, outputs[i].Place)
		}
		return err == nil
	}
	for _, c := range []struct {
		before uint64
		first  int // of those of the call that are left
	}{{outputs[9].Place, 9}, {0, 20}, {0, 20}} {
		if err := f.PurgeOutputs(t.Context(), gone, c.before); err != nil {
			t.Fatal(err)
		}
		for i := range outputs {
			if want := i%2 == 0 || i >= c.first; there(i) != want {
				t.Errorf("before %d: output %d is there: %t", c.before, i, !want)
			}
		}
	}
}

func payloads(t *testing.T, f Store) {
	fn := ident.New(ident.Function)
	ch := subscribe(t, f, fn)
	for i, p := range []payload.Payload{
		{Format: payload.CBOR, Inline: []byte{}},
		{Format: payload.Pickle, Inline: bytes.Repeat([]byte("x"), payload.MaxInline)},
		{Format: payload.Pickle, Blob: &payload.Ref{Digest: ident.Digest([]byte("x")), Size: payload.MaxSize}},
	} {
		in := call.Input{Key: payload.Key{CallID: ident.New(ident.Call), Index: 1<<32 - 1}, FunctionID: fn, Kind: call.Spawn, Args: p}
		Put(t, f, in)
		d := <-ch
		if diff := cmp.Diff(in, d.Input, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("payload %d: %s", i, diff)
		}
		PutOutput(t, f, in.Key, payload.Result{Status: payload.Success, Value: &p})
		r, err := f.Output(t.Context(), in.Key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&p, r.Result.Value, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("payload %d: %s", i, diff)
		}
	}
}

// blocked holds deliveries up, and has all of them come in the end.
func blocked(t *testing.T, f Store) {
	const inputs = 2000
	fn, id := ident.New(ident.Function), ident.New(ident.Call)
	free, ch := make(chan struct{}), make(chan uint32)
	sub, err := f.Subscribe(t.Context(), fn, func(d call.Delivery) {
		<-free
		d.Ticket.Ack()
		ch <- d.Key.Index
	})
	if err != nil {
		t.Fatal(err)
	}
	Put(t, f, Inputs(fn, id, inputs)...)
	close(free)
	for i := range uint32(inputs) {
		if got := <-ch; got != i {
			t.Fatalf("input %d came as number %d", got, i)
		}
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

func oneSubscription(t *testing.T, f Store) {
	fn := ident.New(ident.Function)
	sub, err := f.Subscribe(t.Context(), fn, func(call.Delivery) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Subscribe(t.Context(), fn, func(call.Delivery) {}); !errors.Is(err, fault.Exists) {
		t.Errorf("a second subscription: %v", err)
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	Put(t, f, Inputs(fn, ident.New(ident.Call), 1)...)
	if d := <-subscribe(t, f, fn); d.Key.Index != 0 {
		t.Errorf("delivery %+v", d)
	}
}
