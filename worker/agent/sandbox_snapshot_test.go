package agent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/ident"
)

// counter is a program whose state is in memory: each line that it reads has it say the next number.
const counter = "n=0; while read x; do n=$((n+1)); echo $x $n; done"

func paused(s *workerv1.SandboxStatus) bool {
	return s.GetState() == skerryv1.SandboxState_SANDBOX_STATE_PAUSED
}

// say sends a line to the counter of a sandbox, and awaits its answer.
func (g *sandboxGateway) say(t *testing.T, id, line string, inputs, outputs uint64) string {
	t.Helper()
	const process = "p"
	p := g.processes(id)
	_, err := p.WriteProcessInput(t.Context(), connect.NewRequest(&skerryv1.WriteProcessInputRequest{ProcessId: process, Offset: inputs, Data: []byte(line + "\n")}))
	ok(t, err)
	s, err := p.FollowProcess(t.Context(), connect.NewRequest(&skerryv1.FollowProcessRequest{ProcessId: process, StdoutOffset: outputs}))
	ok(t, err)
	defer s.Close()
	for s.Receive() {
		if text := s.Msg().GetEvent().GetOutput().GetStdout(); len(text) > 0 {
			return string(text)
		}
	}
	t.Fatal(s.Err())
	return ""
}

// TestSandboxMemory keeps a sandbox with its memory, pauses and resumes it, over a restart of the worker as well, and makes copies of what was kept.
func TestSandboxMemory(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer func() { stop() }()
	spec := g.spec("sleep", "1000")
	id := g.start(t, spec)
	next := startProcess(t, g.processes(id), &skerryv1.StartProcessRequest{ProcessId: "p", Argv: []string{"sh", "-c", counter}, Stdin: true})
	_, err := next()
	ok(t, err)
	if got := g.say(t, id, "a", 0, 0); got != "a 1\n" {
		t.Fatalf("said %q", got)
	}

	kept := ident.New(ident.Snapshot)
	snap, err := g.states.SnapshotMemory(t.Context(), connect.NewRequest(&workerv1.SnapshotMemoryRequest{SandboxId: id, SnapshotId: kept, Limit: durationpb.New(time.Minute)}))
	ok(t, err)
	if snap.Msg.GetSize() == 0 || snap.Msg.GetSnapshot().GetSnapshotId() != kept {
		t.Errorf("snapshot %v", snap.Msg)
	}
	if got := g.say(t, id, "b", 2, 4); got != "b 2\n" {
		t.Errorf("after the snapshot it said %q", got)
	}

	for range 2 { // paused twice is paused
		_, err = g.states.PauseSandbox(t.Context(), connect.NewRequest(&workerv1.PauseSandboxRequest{SandboxId: id}))
		ok(t, err)
	}
	if s := g.await(t, id, paused); s.GetResources() != nil || s.GetExpiresAt() != nil {
		t.Errorf("paused: %v", s)
	}
	stop()
	stop = g.inProcess(t, data, tools)
	if s := g.first[id]; !paused(s) {
		t.Fatalf("after a restart: %v", s)
	}
	if got := g.say(t, id, "c", 4, 8); got != "c 3\n" { // whoever uses it has it resumed
		t.Errorf("resumed, it said %q", got)
	}
	if s := g.await(t, id, runs); s.GetExpiresAt() == nil || s.GetEnd() != nil {
		t.Errorf("resumed: %v", s)
	}

	// Copies begin where it was kept, and are sandboxes of their own.
	for i := range 2 {
		fork := g.spec("sleep", "1000")
		fork.Snapshot = &workerv1.SnapshotRef{SnapshotId: kept}
		g.start(t, fork)
		if got, want := g.say(t, fork.GetSandboxId(), fmt.Sprint(i), 2, 4), fmt.Sprintf("%d 2\n", i); got != want {
			t.Errorf("copy %d said %q, want %q", i, got, want)
		}
		out, _ := follow(t, startProcess(t, g.processes(fork.GetSandboxId()), &skerryv1.StartProcessRequest{ProcessId: "h", Argv: []string{"hostname"}}))
		if out != strings.ToLower(fork.GetSandboxId())+"\n" {
			t.Errorf("copy %d is called %q", i, out)
		}
	}
	_, err = g.states.DropSnapshot(t.Context(), connect.NewRequest(&workerv1.DropSnapshotRequest{SnapshotId: kept}))
	ok(t, err)

	// One that is paused ends without running again.
	_, err = g.states.PauseSandbox(t.Context(), connect.NewRequest(&workerv1.PauseSandboxRequest{SandboxId: id}))
	ok(t, err)
	_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	if end := g.await(t, id, ended).GetEnd(); end.GetReason() != skerryv1.SandboxEndReason_SANDBOX_END_REASON_TERMINATED {
		t.Errorf("end %v", end)
	}
	if _, err := g.states.ResumeSandbox(t.Context(), connect.NewRequest(&workerv1.ResumeSandboxRequest{SandboxId: id})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("resumed after its end: %v", err)
	}
	left, err := os.ReadDir(data + "/snapshots/kept")
	ok(t, err)
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	stop()
	nothingOf(t)
}

// TestSandboxPausesWhenIdle has a sandbox pause by itself, and resume for who uses it.
func TestSandboxPausesWhenIdle(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	spec := g.spec()
	spec.Definition.IdleTimeout, spec.Definition.OnIdle = durationpb.New(200*time.Millisecond), skerryv1.IdleAction_IDLE_ACTION_PAUSE
	id := g.start(t, spec)
	g.await(t, id, paused)
	_, err := g.rpc.SealEnvironment(t.Context(), connect.NewRequest(&workerv1.SealEnvironmentRequest{SandboxId: id, EnvironmentId: "e", Variables: map[string]string{"A": "b"}}))
	ok(t, err)
	g.await(t, id, paused)

	// An empty folder where it was asked for, writable, which no checkpoint can have: while it is there the sandbox waits with its pause.
	_, err = g.states.MountImage(t.Context(), connect.NewRequest(&workerv1.MountImageRequest{SandboxId: id, Path: "/shown"}))
	ok(t, err)
	g.await(t, id, func(s *workerv1.SandboxStatus) bool { return runs(s) && s.GetIdleSince() == nil })
	out, exit := follow(t, startProcess(t, g.processes(id), &skerryv1.StartProcessRequest{
		ProcessId: "w", Argv: []string{"sh", "-c", "echo x > /shown/file && ls /shown"},
	}))
	if out != "file\n" || exit.GetExitCode() != 0 {
		t.Errorf("output %q, exit %v", out, exit)
	}
	if _, err := g.states.UnmountImage(t.Context(), connect.NewRequest(&workerv1.UnmountImageRequest{SandboxId: id, Path: "/shown"})); err != nil {
		t.Error(err)
	}
	g.await(t, id, paused)
}

// TestSandboxUsedWhilePausing has somebody use a sandbox whose pause is under way: it runs on for them, and nobody waits for another.
func TestSandboxUsedWhilePausing(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	id := g.start(t, g.spec("sleep", "1000"))
	g.await(t, id, runs)
	list := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := g.processes(id).ListProcesses(ctx, connect.NewRequest(&skerryv1.ListProcessesRequest{}))
		return err
	}
	for range 3 {
		over := make(chan error, 1)
		go func() {
			_, err := g.states.PauseSandbox(t.Context(), connect.NewRequest(&workerv1.PauseSandboxRequest{SandboxId: id}))
			over <- err
		}()
		// A request that was there before the pause loses its link.
		if err := list(); err != nil && connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("while it was paused: %v", err)
		}
		ok(t, <-over)
		ok(t, list())
	}
	stop()
	nothingOf(t)
}
