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
	sums := map[string]time.Duration{}
	n := 0
	for b.Loop() {
		began := time.Now()
		l := r.start(b, r.spec("def f(): pass"))
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
