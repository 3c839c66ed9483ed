package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

func TestHello(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.spec(`
import os, sys
def f():
    print(os.environ["GREETING"], os.getcwd(), sorted(k for k in os.environ if k.startswith("SKERRY")))
    print("partial", end="", file=sys.stderr)
    return 42
`))
	began := time.Now()
	phases := l.awaitReady(t)
	t.Logf("ready after %s: %v", time.Since(began), phases)
	l.submit(0, 1)
	for range 2 {
		if o := l.awaitOutput(t); o.Result.Status != payload.Success {
			t.Fatalf("output %+v %+v", o, o.Result.Error)
		}
	}
	l.Stop(true)
	if e := l.awaitExit(t); e.Reason != container.Stopped || len(e.Lost) != 0 {
		t.Fatalf("exit %+v", e)
	}
	ok(t, r.host.Wait(t.Context()))
	text, ended := r.logs.text(l.id)
	if !ended || !strings.Contains(text, "out:hello /root ['SKERRY_APP_ID'") || strings.Count(text, "err:partial") != 2 {
		t.Fatalf("log %q %v", text, ended)
	}
}

func TestEnds(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		code    string
		reason  container.Reason
		status  payload.Status
		message string
		change  func(*container.Spec)
	}{
		"exit":     {"import os\ndef f(): os._exit(3)", container.RunnerExited, payload.Failure, "exited with code 3", nil},
		"segfault": {"import ctypes\ndef f(): ctypes.string_at(0)", container.RunnerExited, payload.Failure, "signal 11 (segmentation fault)", nil},
		"memory": {
			"def f():\n  a=[]\n  while True: a.append(bytearray(b'x'*(8<<20)))", container.OutOfMemory, payload.OutOfMemory, "limit 256 MiB",
			func(s *container.Spec) { s.MemoryLimitMiB = 256 },
		},
		"timeout": {
			"import time\ndef f(): time.sleep(60)", container.TimedOut, payload.TimedOut, "",
			func(s *container.Spec) { s.Timeout = time.Second; s.StartupTimeout = time.Minute },
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := r.spec(c.code)
			if c.change != nil {
				c.change(&spec)
			}
			l := r.start(t, spec)
			l.awaitReady(t)
			l.submit(0)
			o := l.awaitOutput(t)
			if o.Result.Status != c.status || !strings.Contains(o.Result.Error.Message, c.message) {
				t.Errorf("output %+v %+v", o.Result, o.Result.Error)
			}
			e := l.awaitExit(t)
			if e.Reason != c.reason || len(e.Lost) != 0 {
				t.Errorf("exit %+v", e)
			}
			t.Logf("%+v; %s", e, o.Result.Error.Message)
		})
	}
}

func TestStartFailures(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		code    string
		message string
		change  func(*container.Spec)
	}{
		"import":  {"import nothing_there", "nothing_there", nil},
		"exit":    {"import os; os._exit(4)", "code 4", nil},
		"slow":    {"import time; time.sleep(60)", "startup timeout of 2s", func(s *container.Spec) { s.StartupTimeout = 2 * time.Second }},
		"memory":  {"a = bytearray(b'x'*(1<<30))", "limit 128 MiB", func(s *container.Spec) { s.MemoryLimitMiB = 128 }},
		"workdir": {"def f(): pass", "could not be started", func(s *container.Spec) { s.ImageWorkdir = "/etc/passwd/x" }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := r.spec(c.code)
			if c.change != nil {
				c.change(&spec)
			}
			l := r.start(t, spec)
			l.submit(0)
			e := l.awaitExit(t)
			if e.Reason != container.StartFailed || e.Error == nil || !strings.Contains(e.Message, c.message) {
				t.Fatalf("exit %+v %+v", e, e.Error)
			}
			if len(l.returned) != 1 {
				t.Errorf("returned %v", l.returned)
			}
		})
	}
}

func TestLost(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.spec("import time\ndef f(): print('on', flush=True); time.sleep(60)"))
	l.awaitReady(t)
	l.submit(0)
	pid, err := os.ReadFile(filepath.Join(r.dir, "c", l.id, "bundle", "sandbox.pid"))
	ok(t, err)
	awaitLine(t, r.logs, l.id, "on")
	killPID(t, string(pid))
	if e := l.awaitExit(t); e.Reason != container.Lost || len(e.Lost) != 1 {
		t.Fatalf("exit %+v", e)
	}
}

func TestDiskFull(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.spec(`
def f():
    try:
        with open("/tmp/big", "wb") as out:
            for _ in range(200): out.write(bytes(1 << 20))
    except OSError as err:
        assert err.errno == 28, err
        return
    raise SystemError("no limit")
`))
	l.awaitReady(t)
	l.submit(0)
	if o := l.awaitOutput(t); o.Result.Status != payload.Success {
		t.Fatalf("output %+v", o.Result.Error)
	}
}

func TestNothingLeft(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.spec("def f(): pass"))
	l.awaitReady(t)
	l.Stop(false)
	l.awaitExit(t)
	left, err := r.runtime.List()
	ok(t, err)
	if len(left) != 0 {
		t.Errorf("sandboxes %v", left)
	}
	entries, err := os.ReadDir(filepath.Join(r.dir, "c"))
	ok(t, err)
	if len(entries) != 0 {
		t.Errorf("folders %v", entries)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/skerry_" + instance + "/ta-*")
	ok(t, err)
	if len(groups) != 0 {
		t.Errorf("control groups %v", groups)
	}
	if n := processesOf(t, l.id); n != 0 {
		t.Errorf("%d processes", n)
	}
}

func TestReap(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.spec("def f(): pass"))
	l.awaitReady(t)
	// What a killed worker leaves is what a living one has; a second runtime of the instance clears it away.
	ok(t, r.runtime.Reap(t.Context(), nil))
	if n := processesOf(t, l.id); n != 0 {
		t.Errorf("%d processes", n)
	}
	if e := l.awaitExit(t); e.Reason != container.Lost {
		t.Errorf("exit %+v", e)
	}
}
