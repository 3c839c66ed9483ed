package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/call/calltest"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

func open(t testing.TB, cfg jetstream.Config) *jetstream.Engine {
	t.Helper()
	e, err := jetstream.Open(context.Background(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, e) })
	return e
}

func shut(t testing.TB, e *jetstream.Engine) {
	t.Helper()
	select {
	case <-e.Done():
		return
	default:
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestFlow(t *testing.T) {
	for name, always := range map[string]bool{"lazy": false, "always": true} {
		t.Run(name, func(t *testing.T) {
			calltest.Flow(t, func(t *testing.T) calltest.Store {
				cfg := flowtest.Config(t, t.TempDir())
				cfg.SyncAlways = always
				return open(t, cfg)
			})
		})
	}
}

// TestReopen ends the server in good order, and as a crash would (the files are copied while it runs, a cluster is killed), and looks what is
func TestReopen(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%t", crash), func(t *testing.T) { reopen(t, crash) })
	}
}

func reopen(t *testing.T, crash bool) {
	const inputs = 500
	dir := t.TempDir()
	e := open(t, flowtest.Config(t, dir))
	fn, id := ident.New(ident.Function), ident.New(ident.Call)
	calltest.Put(t, e, calltest.Inputs(fn, id, inputs)...)
	// The first ten have outputs; the first five are acknowledged as well.
	delivered := make(chan call.Delivery, inputs)
	sub, err := e.Subscribe(t.Context(), fn, func(d call.Delivery) { delivered <- d })
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(10) {
		d := <-delivered
		calltest.PutOutput(t, e, d.Key, payload.Failed(payload.Failure, "boom"))
		if i < 5 {
			d.Ticket.Ack()
		}
	}
	// Acknowledgements are not answered; a request is, and comes after them.
	for waiting := inputs; waiting > inputs-5; {
		all, err := e.Waiting(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		waiting = all[fn]
	}
	if c := flowtest.Clustered(); crash && c != nil {
		for i := range flowtest.Size {
			c.Kill(i)
		}
		for i := range flowtest.Size {
			if err := c.Restart(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
	} else if crash {
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		dir = copied
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	shut(t, e)
	e = open(t, flowtest.Config(t, dir))
	waiting, err := e.Waiting(t.Context(), "")
	if err != nil || waiting[fn] != inputs-5 {
		t.Fatalf("waiting %v (error %v), want %d", waiting, err, inputs-5)
	}
	if _, err := e.Output(t.Context(), payload.Key{CallID: id, Index: 9}); err != nil {
		t.Error(err)
	}
	if _, err := e.Output(t.Context(), payload.Key{CallID: id, Index: 10}); !errors.Is(err, fault.NotFound) {
		t.Errorf("an output that was never put: %v", err)
	}
	again := make(chan call.Delivery, inputs)
	if _, err := e.Subscribe(t.Context(), fn, func(d call.Delivery) { again <- d }); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(inputs - 5) {
		d := <-again
		if d.Key.Index != i+5 || !d.Earlier {
			t.Fatalf("delivery %d: %+v", i, d)
		}
	}
	calltest.Put(t, e, calltest.Inputs(fn, ident.New(ident.Call), 1)...)
	if d := <-again; d.Earlier {
		t.Error("an input put after the start counts as recovered")
	}
}

// TestManyFunctions has more functions in use than a stream of the server has consumers by default.
func TestManyFunctions(t *testing.T) {
	e := open(t, flowtest.Config(t, t.TempDir()))
	functions := 1100
	if flowtest.Clustered() != nil {
		functions = 50 // a cluster's limit is in its own settings
	}
	came := make(chan string, functions)
	for range functions {
		fn := ident.New(ident.Function)
		if _, err := e.Subscribe(t.Context(), fn, func(d call.Delivery) { came <- d.FunctionID }); err != nil {
			t.Fatal(err)
		}
		calltest.Put(t, e, calltest.Inputs(fn, ident.New(ident.Call), 1)...)
		if got := <-came; got != fn {
			t.Fatalf("an input of %q came for %q", got, fn)
		}
	}
}

// TestClosed has what is on its way fail when the server ends.
func TestClosed(t *testing.T) {
	e := open(t, flowtest.Config(t, t.TempDir()))
	shut(t, e)
	done := make(chan []error, 1)
	e.PutInputs(calltest.Inputs(ident.New(ident.Function), ident.New(ident.Call), 2), func(errs []error) { done <- errs })
	for _, err := range <-done {
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("error %v", err)
		}
	}
}
