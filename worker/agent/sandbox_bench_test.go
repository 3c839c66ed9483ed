package agent

import (
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
)

// BenchmarkSandbox times a sandbox at the worker's services, from the moment that it is asked for to the result of a first command: as sandboxes are
// made by default, with a limit of memory (which no box made ahead is good for), and many at once.
func BenchmarkSandbox(b *testing.B) {
	g, data, tools := newSandboxGateway(b)
	stop := g.inProcess(b, data, tools)
	defer stop()
	g.burst(b, 40, 0) // so that as many are made ahead
	for _, c := range []struct {
		name        string
		memoryLimit uint32
		at          int // at a time
	}{{"cold", 1024, 1}, {"hot", 0, 1}, {"burst", 0, 40}} {
		b.Run(c.name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				b.StopTimer()
				ok(b, g.agent.pool.Load().AwaitReady(b.Context(), 50))
				b.StartTimer()
				times = append(times, g.burst(b, c.at, c.memoryLimit)...)
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// burst makes n sandboxes at once, runs a command in each, and ends them.
func (g *sandboxGateway) burst(b *testing.B, n int, memoryLimit uint32) []time.Duration {
	times := make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			spec := g.spec()
			spec.Definition.Resources.MemoryLimitMib = memoryLimit
			spec.Definition.Network = nil
			began := time.Now()
			id := g.start(b, spec)
			out, exit := follow(b, startProcess(b, g.processes(id), &skerryv1.StartProcessRequest{ProcessId: "p", Argv: []string{"echo", "ready"}}))
			times[i] = time.Since(began)
			if out != "ready\n" || exit.GetExitCode() != 0 {
				b.Errorf("output %q, exit %v", out, exit)
			}
			_, err := g.rpc.StopSandbox(b.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
			ok(b, err)
		})
	}
	wg.Wait()
	return times
}
