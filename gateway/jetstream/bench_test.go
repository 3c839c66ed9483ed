package jetstream_test

import (
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// BenchmarkRoundTrip takes inputs through the flow with nothing around it: put, delivered, output put, acknowledged.
func BenchmarkRoundTrip(b *testing.B) {
	for name, window := range map[string]int{"one": 1, "thousand": 1000} {
		b.Run(name, func(b *testing.B) { benchmarkRoundTrip(b, window) })
	}
}

func benchmarkRoundTrip(b *testing.B, window int) {
	e, err := jetstream.Open(b.Context(), jetstream.Config{Dir: b.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	}()
	fn, id := ident.New(ident.Function), ident.New(ident.Call)
	free := make(chan struct{}, window)
	for range window {
		free <- struct{}{}
	}
	var failed atomic.Int64
	value := payload.Payload{Format: payload.Pickle, Inline: make([]byte, 40)}
	sub, err := e.Subscribe(b.Context(), fn, func(d call.Delivery) {
		out := []call.Output{{Key: d.Key, Result: payload.Result{Status: payload.Success, Value: &value}}}
		e.PutOutputs(out, func(errs []error) {
			if errs != nil {
				failed.Add(1)
			}
			d.Ticket.Ack()
			free <- struct{}{}
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	i := uint32(0)
	for b.Loop() {
		<-free
		in := call.Input{Key: payload.Key{CallID: id, Index: i}, FunctionID: fn, Kind: call.Sync, Args: value}
		e.PutInputs([]call.Input{in}, func(errs []error) {
			if errs != nil {
				failed.Add(1)
			}
		})
		i++
	}
	for range window {
		<-free
	}
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d failed", n)
	}
	if err := sub.Close(); err != nil {
		b.Fatal(err)
	}
}
