package agent

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// killEnv has a worker process kill itself at a step of a sandbox's life.
const killEnv = "SKERRY_TEST_KILL"

// killAt returns what has a worker kill itself when it comes to a step.
func killAt(step string) func(*box.Config) {
	if step == "" {
		return nil
	}
	at := func(name string) {
		if name == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal takes a moment
		}
	}
	return func(c *box.Config) {
		c.Network, c.Machines = killNetwork{c.Network, at}, killMachines{c.Machines, at}
		guest := c.Guest
		c.Guest = func(conn net.Conn) (box.Guest, error) {
			g, err := guest(conn)
			return killGuest{g, at}, err
		}
	}
}

type killNetwork struct {
	network.Endpoints
	at func(string)
}

func (n killNetwork) AcquireWith(ctx context.Context, id string, p policy.Policy) (*container.Endpoint, error) {
	e, err := n.Endpoints.AcquireWith(ctx, id, p)
	n.at("network")
	return e, err
}

func (n killNetwork) Release(e *container.Endpoint) error {
	n.at("deleted")
	err := n.Endpoints.Release(e)
	n.at("released")
	return err
}

type killMachines struct {
	box.Machines
	at func(string)
}

func (m killMachines) Start(ctx context.Context, p container.SandboxParams) (box.Machine, error) {
	m.at("prepared")
	machine, err := m.Machines.Start(ctx, p)
	if err != nil {
		return nil, err
	}
	m.at("booted")
	return killMachine{machine, m.at}, nil
}

type killMachine struct {
	box.Machine
	at func(string)
}

func (m killMachine) Kill() error {
	m.at("ended")
	err := m.Machine.Kill()
	m.at("killed")
	return err
}

type killGuest struct {
	box.Guest
	at func(string)
}

func (g killGuest) forward() http.RoundTripper { return guestTransport(g.Guest) }

func (g killGuest) Configure(ctx context.Context, id box.Identity) error {
	g.at("linked")
	if strings.HasPrefix(id.ContainerID, "sc-") {
		g.at("sidecar linked")
	}
	err := g.Guest.Configure(ctx, id)
	g.at("configured")
	return err
}

func (g killGuest) StartMain(ctx context.Context, argv []string, terminal *container.Terminal) error {
	err := g.Guest.StartMain(ctx, argv, terminal)
	g.at("commanded")
	return err
}

// worker starts a worker as a process of its own and meets it.
func (g *sandboxGateway) worker(t *testing.T, data, tools, step string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	ok(t, err)
	child := exec.Command(self)
	child.Env = append(os.Environ(), childEnv+"="+g.server.URL+" "+data+" "+tools, killEnv+"="+step)
	child.Stderr = os.Stderr
	ok(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() }) // ended already, as a rule
	g.meet(t)
	return child
}

// TestSandboxKilledWorker kills a worker at each step of a start and of an end: the next one says what became of the sandbox, and has nothing
// of it left.
func TestSandboxKilledWorker(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	for _, step := range []string{
		"network", "prepared", "booted", "linked", "configured", "commanded", "ended", "killed", "deleted", "released",
	} {
		t.Run(step, func(t *testing.T) {
			child := g.worker(t, data, tools, step)
			spec := g.spec("sleep", "1000")
			id := spec.GetSandboxId()
			_, err := g.rpc.StartSandbox(t.Context(), connect.NewRequest(&workerv1.StartSandboxRequest{Spec: spec}))
			if err != nil && connect.CodeOf(err) != connect.CodeUnavailable { // it may be killed before it answers
				t.Fatal(err)
			}
			want := skerryv1.SandboxEndReason_SANDBOX_END_REASON_START_FAILED
			switch step {
			case "ended", "killed", "deleted", "released":
				want = skerryv1.SandboxEndReason_SANDBOX_END_REASON_TERMINATED
				g.await(t, id, runs)
				_, err := g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
				ok(t, err)
			}
			if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("the worker ended: %v", err)
			}
			stop := g.inProcess(t, data, tools)
			defer stop()
			s := g.first[id]
			if !ended(s) || s.GetEnd().GetReason() != want || !s.GetAdopted() {
				t.Errorf("status %v", s)
			}
			_, err = g.rpc.ForgetSandbox(t.Context(), connect.NewRequest(&workerv1.ForgetSandboxRequest{SandboxId: id}))
			ok(t, err)
			stop()
			nothingOf(t, id)
			left, err := os.ReadDir(data + "/sandboxes")
			ok(t, err)
			if len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestSandboxOutlivesWorker kills a worker while a sandbox runs: the next one goes on with the same processes, and loses and doubles none of
// their output.
func TestSandboxOutlivesWorker(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	child := g.worker(t, data, tools, "")
	const count = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; if [ $i = 1500 ]; then read go; fi; done; exit 5"
	spec := g.spec("sh", "-c", count)
	spec.Definition.Network = nil
	id := g.start(t, spec)
	g.await(t, id, runs)
	next := startProcess(t, g.processes(id), &skerryv1.StartProcessRequest{ProcessId: "p-1", Argv: []string{"cat"}, Stdin: true})
	first, err := next()
	ok(t, err)
	ended1 := g.start(t, g.spec("true"))
	g.await(t, ended1, ended)

	for round, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR1} { // killed, and told to hand over
		ok(t, child.Process.Signal(sig))
		_ = child.Wait() // it ended by that
		child = g.worker(t, data, tools, "")
		if s := g.first[id]; !runs(s) || !s.GetAdopted() || string(s.GetRecord()) != "the gateway's" {
			t.Fatalf("round %d: status %v", round, s)
		}
		if s := g.first[ended1]; s.GetEnd().GetReason() != skerryv1.SandboxEndReason_SANDBOX_END_REASON_EXITED {
			t.Errorf("round %d: status of one that had ended: %v", round, s)
		}
	}

	p := g.processes(id)
	list, err := p.ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{}))
	ok(t, err)
	found := false
	for _, info := range list.Msg.GetProcesses() {
		if info.GetProcessId() == "p-1" {
			found = info.GetPid() == first.GetStarted().GetPid() && info.GetStartedAt().AsTime().Equal(first.GetStarted().GetStartedAt().AsTime())
		}
	}
	if !found {
		t.Errorf("p-1 is not as it was (%v): %v", first, list.Msg)
	}
	_, err = p.WriteProcessInput(t.Context(), connect.NewRequest(&skerryv1.WriteProcessInputRequest{ProcessId: box.MainProcess, Data: []byte("go\n")}))
	ok(t, err)
	end := g.await(t, id, ended).GetEnd()
	if end.GetReturnCode() != 5 {
		t.Errorf("end %v", end)
	}
	for got := ""; got != id; {
		got = <-g.ended
	}
	var want strings.Builder
	for i := range 3000 {
		want.WriteString("line " + strconv.Itoa(i+1) + "\n")
	}
	if got := g.textOf(id); got != want.String() {
		t.Errorf("%d bytes of output, want %d: %.200q", len(got), want.Len(), got)
	}
	ok(t, child.Process.Kill())
	_ = child.Wait() // killed
	g.inProcess(t, data, tools)()
	nothingOf(t, id)
}
