package agent

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// runOnce runs a module's function in a container until it has ended, and returns what it wrote, and to standard output.
func (r *rig) runOnce(t *testing.T, spec container.Spec, inputs ...uint32) (entries []container.LogEntry, stdout []byte) {
	t.Helper()
	l := r.start(t, spec)
	l.awaitReady(t)
	l.submit(inputs...)
	for range inputs {
		if o := l.awaitOutput(t); o.Result.Status != payload.Success {
			t.Fatalf("output %+v %+v", o.Result, o.Result.Error)
		}
	}
	l.Stop(true)
	l.awaitExit(t)
	ok(t, r.host.Wait(t.Context()))
	entries = r.logs.entries(l.id)
	for _, e := range entries {
		switch {
		case e.System:
			t.Errorf("system line %q", e.Text)
		case !e.Stderr:
			stdout = append(stdout, e.Text...)
		}
	}
	return entries, stdout
}

// TestOutputIsWhole checks that nothing of what code writes is lost or out of order, however it writes and how much.
func TestOutputIsWhole(t *testing.T) {
	r := newRig(t)
	garbage := make([]byte, 256)
	for i := range garbage {
		garbage[i] = byte(i)
	}
	for name, c := range map[string]struct {
		code string
		want func() []byte
	}{
		"no newline": {"print('a', end=''); print('b', end='')", func() []byte { return []byte("ab") }},
		"garbage":    {"sys.stdout.buffer.write(bytes(range(256)))", func() []byte { return garbage }},
		"past Python": {
			"print('first'); os.write(1, b'second\\n'); subprocess.run(['echo', 'third'], check=True); print('fourth')",
			func() []byte { return []byte("first\nsecond\nthird\nfourth\n") },
		},
		"a line of 10 MB": {"print('x' * (10 << 20))", func() []byte { return append(bytes.Repeat([]byte("x"), 10<<20), '\n') }},
		"one big write":   {"sys.stdout.buffer.write(b'y\\n' * (1 << 20))", func() []byte { return bytes.Repeat([]byte("y\n"), 1<<20) }},
	} {
		t.Run(name, func(t *testing.T) {
			_, out := r.runOnce(t, r.spec("import os, subprocess, sys\ndef f():\n    "+c.code), 0)
			if want := c.want(); !bytes.Equal(out, want) {
				t.Errorf("got %d bytes, want %d: %.100q", len(out), len(want), out)
			}
		})
	}
}

// TestManyLines checks that lines printed as fast as Python can are whole, in order, and attributed to their input.
func TestManyLines(t *testing.T) {
	const count = 200_000
	r := newRig(t)
	began := time.Now()
	entries, out := r.runOnce(t, r.spec(fmt.Sprintf(`
import time
def f():
    began = time.monotonic()
    for i in range(%d): print("line", i)
    print(time.monotonic() - began)
`, count)), 0)
	lines := strings.Split(string(out), "\n")
	for i := range count {
		if want := fmt.Sprintf("line %d", i); lines[i] != want {
			t.Fatalf("line %d is %q", i, lines[i])
		}
	}
	for _, e := range entries {
		if e.Input.CallID != "fc-1" || e.Input.Index != 0 {
			t.Fatalf("entry %q is of %v", e.Text, e.Input)
		}
	}
	t.Logf("%d lines in %s s, in all %s", count, lines[count], time.Since(began))
}

// TestWhoWrites checks that the output of inputs that run at the same time is told apart, that of what they call included.
func TestWhoWrites(t *testing.T) {
	r := newRig(t)
	spec := r.spec(`
import skerry, sys, threading
barrier = threading.Barrier(3)
print("imported")
def f():
    me = skerry.current_input_id()[-1]
    for i in range(20):
        barrier.wait(30)
        print(me, end=" ")
        print(i, file=sys.stderr if i % 2 else sys.stdout)
`)
	spec.Slots = 3
	entries, _ := r.runOnce(t, spec, 0, 1, 2)
	type stream struct {
		key    payload.Key
		stderr bool
	}
	got, want := map[stream]string{}, map[stream]string{{}: "imported\n"}
	for _, e := range entries {
		got[stream{e.Input, e.Stderr}] += string(e.Text)
	}
	for k := range uint32(3) {
		key := payload.Key{CallID: "fc-1", Index: k}
		for i := 0; i < 20; i += 2 {
			want[stream{key, false}] += fmt.Sprintf("%d %d\n%d ", k, i, k)
			want[stream{key, true}] += fmt.Sprintf("%d\n", i+1)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
