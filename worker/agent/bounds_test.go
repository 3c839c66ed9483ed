package agent

import (
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

const hungry = "def f():\n  a=[]\n  while True: a.append(bytearray(b'x'*(8<<20)))"

// TestSharedMemory has a container without a limit of its own use up what the worker offers, while another one goes on.
func TestSharedMemory(t *testing.T) {
	r := newRig(t)
	ok(t, r.groups.Limit(cgroup.Limits{MemoryBytes: 500 << 20, CPUMilli: 2000, Processes: 20_000}))
	modest := r.start(t, r.spec("def f(): return 1"))
	modest.awaitReady(t)
	spec := r.spec(hungry)
	spec.MemoryLimitMiB = 0 // so that of all together
	l := r.start(t, spec)
	l.awaitReady(t)
	l.submit(0)
	o := l.awaitOutput(t)
	if o.Result.Status != payload.OutOfMemory || !strings.Contains(o.Result.Error.Message, "all containers of its worker together") {
		t.Errorf("output %+v %+v", o.Result, o.Result.Error)
	}
	if e := l.awaitExit(t); e.Reason != container.OutOfMemory {
		t.Errorf("exit %+v", e)
	}
	modest.submit(0)
	if o := modest.awaitOutput(t); o.Result.Status != payload.Success {
		t.Errorf("the other container: %+v", o.Result.Error)
	}
}

// TestForkBomb has a container start processes until the kernel refuses more, which the sandbox does not survive.
func TestForkBomb(t *testing.T) {
	r := newRig(t)
	spec := r.spec("import os, time\ndef f():\n  while True:\n    if os.fork() == 0: time.sleep(1000)")
	spec.MemoryLimitMiB = 4096 // so that processes are the first to run out
	l := r.start(t, spec)
	l.awaitReady(t)
	l.submit(0)
	o := l.awaitOutput(t)
	if o.Result.Status != payload.Failure || !strings.Contains(o.Result.Error.Message, "more processes and threads") {
		t.Errorf("output %+v %+v", o.Result, o.Result.Error)
	}
	if e := l.awaitExit(t); e.Reason != container.RunnerExited || len(e.Lost) != 0 {
		t.Errorf("exit %+v", e)
	}
}

// TestGarbage has user code write to the descriptor of the runner's connection.
func TestGarbage(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.spec(`
import os, socket, time
def f():
    for fd in range(3, 64):
        try: s = socket.socket(fileno=os.dup(fd)); s.getpeername(); s.sendall(b"\xff" * 1000)
        except OSError: pass
    time.sleep(60)
`))
	l.awaitReady(t)
	l.submit(0)
	o := l.awaitOutput(t)
	if o.Result.Status != payload.Failure || !strings.Contains(o.Result.Error.Message, "connection to the worker") {
		t.Errorf("output %+v %+v", o.Result, o.Result.Error)
	}
	if e := l.awaitExit(t); e.Reason != container.RunnerExited {
		t.Errorf("exit %+v", e)
	}
}
