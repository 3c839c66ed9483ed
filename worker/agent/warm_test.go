package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/pool"
)

// open is a container that a sandbox is good for which was booted ahead.
func (r *rig) open(module string) container.Spec {
	spec := r.spec(module)
	spec.BlockNetwork, spec.MemoryLimitMiB = false, 0
	return spec
}

// hasOwnGroup says whether a container's sandbox was booted for it alone.
func hasOwnGroup(t *testing.T, id string) bool {
	t.Helper()
	groups, err := filepath.Glob("/sys/fs/cgroup/*/skerry_" + instance + "/" + id)
	ok(t, err)
	return len(groups) > 0
}

// TestBootedAhead starts a container in a sandbox that was booted before it was asked for: it is as any other to the code in it.
func TestBootedAhead(t *testing.T) {
	r := newRig(t)
	const module = `
import os, socket, subprocess
def f():
    assert os.getenv("GREETING") == "hello" and len(socket.if_nameindex()) == 2
    open("/root/mine", "w").write("x")
    nameserver = open("/etc/resolv.conf").read().split()[1]
    print(socket.gethostname(), socket.gethostbyname(socket.gethostname()) != "127.0.0.1", os.statvfs("/").f_blocks * 4096 >> 20, nameserver,
          subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True).returncode != 0)
`
	seen := map[bool]string{} // by whether it was booted for the container
	for _, ahead := range []bool{false, true} {
		if ahead {
			ok(t, r.warm.AwaitReady(t.Context(), 1))
		}
		l := r.start(t, r.open(module))
		l.awaitReady(t)
		if hasOwnGroup(t, l.id) == ahead {
			t.Errorf("booted ahead: %v, want %v", !ahead, ahead)
		}
		l.submit(0)
		if o := l.awaitOutput(t); o.Result.Status != payload.Success {
			t.Fatalf("output %+v", o.Result.Error)
		}
		l.Stop(true)
		if e := l.awaitExit(t); e.Reason != container.Stopped {
			t.Errorf("exit %+v", e)
		}
		text, _ := r.logs.text(l.id)
		if !strings.Contains(text, box.Hostname(l.id)+" True ") {
			t.Errorf("says %q", text)
		}
		_, seen[ahead], _ = strings.Cut(text, " ")
		if n := processesOf(t, l.id); n != 0 {
			t.Errorf("%d processes are left", n)
		}
	}
	if seen[true] != seen[false] {
		t.Errorf("one says %q, the other %q", seen[true], seen[false])
	}
}

// TestBootedAheadEnds: what ends such a container is told as of any other.
func TestBootedAheadEnds(t *testing.T) {
	r := newRig(t)
	r.warm.Take()
	ok(t, r.groups.Limit(cgroup.Limits{MemoryBytes: 500 << 20, CPUMilli: 2000, Processes: 20_000}))
	for _, c := range []struct {
		name, body string
		status     payload.Status
		reason     container.Reason
	}{
		{"memory", hungry, payload.OutOfMemory, container.OutOfMemory},
		{"exit", "import os\ndef f(): os._exit(3)", payload.Failure, container.RunnerExited},
	} {
		ok(t, r.warm.AwaitReady(t.Context(), 1))
		l := r.start(t, r.open(c.body))
		l.awaitReady(t)
		if hasOwnGroup(t, l.id) {
			t.Errorf("%s: it was not booted ahead", c.name)
		}
		l.submit(0)
		if o := l.awaitOutput(t); o.Result.Status != c.status {
			t.Errorf("%s: output %+v %+v", c.name, o.Result, o.Result.Error)
		}
		if e := l.awaitExit(t); e.Reason != c.reason {
			t.Errorf("%s: exit %+v", c.name, e)
		}
	}
}

// TestBootedAheadInVain: one that has died while it waited is of no harm, nor is a container that can't be added.
func TestBootedAheadInVain(t *testing.T) {
	r := newRig(t)
	r.warm.Take()
	ok(t, r.warm.AwaitReady(t.Context(), 1))
	waiting, err := r.runtime.List()
	ok(t, err)
	box, err := r.runtime.Open(waiting[0], filepath.Join(r.dir, "w", waiting[0]))
	ok(t, err)
	ok(t, box.Kill())
	<-box.Done()
	l := r.start(t, r.open("def f(): pass"))
	l.awaitReady(t)
	l.Stop(false)
	l.awaitExit(t)

	ok(t, r.warm.AwaitReady(t.Context(), 1))
	r.ahead.fails = true
	broken := r.start(t, r.open("def f(): pass"))
	if e := broken.awaitExit(t); e.Reason != container.NotStarted || !strings.Contains(e.Message, errNotAdded.Error()) {
		t.Errorf("exit %+v", e)
	}
	entries, err := os.ReadDir(filepath.Join(r.dir, "c"))
	if err != nil || len(entries) != 0 {
		t.Errorf("folders %v, %v", entries, err)
	}
	if n := processesOf(t, broken.id); n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

var errNotAdded = errors.New("it was not added")

// ahead is what a rig's containers take sandboxes from.
type ahead struct {
	*pool.Warm
	fails bool
}

func (a *ahead) Take() container.Booted {
	b := a.Warm.Take()
	if a.fails && b != nil {
		return useless{b}
	}
	return b
}

// useless is a sandbox that no container can be added to.
type useless struct{ container.Booted }

func (useless) Add(context.Context, container.SandboxParams) (container.Sandbox, error) {
	return nil, errNotAdded
}
