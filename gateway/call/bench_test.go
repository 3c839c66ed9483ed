package call_test

import (
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/ident"
)

// BenchmarkSingle is what the gateway's core adds to a warm call: from Submit to its output, with a container that answers at once.
func BenchmarkSingle(b *testing.B) {
	r := newRig(b)
	r.join(b, newWorker(echo), 1)
	fn := r.function(function.Autoscaler{MinContainers: 1})
	x := r.calls.NewSession()
	defer x.Close()
	for b.Loop() {
		id := ident.New(ident.Call)
		x.Submit(b.Context(), call.Submit{CallID: id, FunctionID: fn.ID, Kind: call.Sync, Inputs: []call.Item{input(0)}})
		for n := 0; n == 0; {
			f, err := x.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			n = len(f.Outputs)
		}
		x.Release([]string{id})
	}
}

// BenchmarkMap is a map over two containers: the time per input.
func BenchmarkMap(b *testing.B) {
	r := newRig(b)
	r.join(b, newWorker(echo), 2)
	fn := r.function(function.Autoscaler{MinContainers: 2})
	x := r.calls.NewSession()
	defer x.Close()
	id := ident.New(ident.Call)
	const frame = 50
	sent, got := 0, 0
	for b.Loop() {
		if sent%frame == 0 {
			m := call.Submit{CallID: id, FunctionID: fn.ID, Kind: call.Sync}
			for i := range uint32(frame) {
				m.Inputs = append(m.Inputs, input(uint32(sent)+i))
			}
			x.Submit(b.Context(), m)
		}
		sent++
		for sent-got > call.MaxUnfinished-2*frame {
			f, err := x.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if len(f.Refused) > 0 {
				b.Fatal(f.Refused[0].Err)
			}
			got += len(f.Outputs)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
