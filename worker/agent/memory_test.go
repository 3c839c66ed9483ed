package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
)

// TestBoxesAheadGiveWay has a sandbox fill the worker's memory: boxes that wait are given back before anybody lacks it, and are made again when
// the sandbox has ended.
func TestBoxesAheadGiveWay(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	cfg := agentConfig(g.server.URL, data, tools)
	cfg.MemoryMiB, cfg.HotMiB = 1024, 200
	stop := g.running(t, cfg)
	defer stop()
	a := g.agent
	free := func() int {
		m, err := a.memory()
		ok(t, err)
		return min(m.Offered-m.Used, m.Available)
	}
	boxes := a.pool.Load()
	first := g.start(t, g.spec())
	g.await(t, first, runs)
	await := func(what string, good func(waiting int) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := boxes.Await(ctx, good); err != nil {
			t.Fatalf("%s: %v; %d MiB are free", what, err, free())
		}
	}
	await("boxes wait", func(n int) bool { return n >= 2 })

	hog := g.start(t, g.spec())
	p := g.processes(hog)
	// Each process takes as much as leaves half of what is kept free for others, until nothing that waits can make up for it.
	for i := 0; free() > 30; i++ {
		take := max(4, free()-40)
		next := startProcess(t, p, &skerryv1.StartProcessRequest{
			ProcessId: fmt.Sprintf("p-%d", i),
			Argv:      []string{"python3", "-c", fmt.Sprintf("x = bytearray(b'x') * (%d << 20)\nprint('there', flush=True)\nimport time; time.sleep(1000)", take)},
		})
		for said := ""; !strings.Contains(said, "there"); {
			e, err := next()
			ok(t, err)
			if e.GetExited() != nil {
				t.Fatalf("what takes %d MiB has ended with %d MiB free: %v", take, free(), e.GetExited())
			}
			said += string(e.GetOutput().GetStdout())
		}
	}
	await("boxes are given back", func(n int) bool { return n == 0 })
	if s := g.await(t, first, runs); s.GetEnd() != nil {
		t.Errorf("the other sandbox: %v", s)
	}
	_, err := g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: hog}))
	ok(t, err)
	g.await(t, hog, ended)
	await("boxes wait again", func(n int) bool { return n >= 2 })
	stop()
	nothingOf(t)
}
