package agent

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/worker/container"
)

// BenchmarkColdStart times a container from its start to its first output, phase by phase.
func BenchmarkColdStart(b *testing.B) {
	r := newRig(b)
	b.Run("plain", func(b *testing.B) { coldStart(b, r, 0, false) })
	b.Run("limited", func(b *testing.B) { coldStart(b, r, 512, false) })
	b.Run("booted ahead", func(b *testing.B) {
		r.warm.Take() // so that there will be others
		coldStart(b, r, 0, true)
	})
}

func coldStart(b *testing.B, r *rig, memoryLimit uint32, ahead bool) {
	sums := map[string]time.Duration{}
	n := 0
	for b.Loop() {
		if ahead {
			b.StopTimer()
			ok(b, r.warm.AwaitReady(b.Context(), 1))
			b.StartTimer()
		}
		began := time.Now()
		spec := r.spec("def f(): pass")
		spec.MemoryLimitMiB, spec.BlockNetwork = memoryLimit, !ahead
		l := r.start(b, spec)
		l.submit(0)
		phases := l.awaitReady(b)
		l.awaitOutput(b)
		sums["total"] += time.Since(began)
		for _, p := range phases {
			sums[p.Name] += p.Elapsed
		}
		n++
		b.StopTimer()
		l.Stop(false)
		if e := l.awaitExit(b); e.Reason != container.Stopped {
			b.Fatalf("exit %+v", e)
		}
		b.StartTimer()
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		b.ReportMetric(float64(sums[name].Milliseconds())/float64(n), name+"-ms")
	}
}
