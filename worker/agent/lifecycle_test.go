package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// hooked is a class whose hooks and method say what happens to them; enter and body are Python statements.
func hooked(enter, body string) string {
	return `
import signal, sys, time, skerry
app = skerry.App("test")
@app.cls()
class C:
    @skerry.enter()
    def enter(self):
        print("enters", flush=True)
        ` + enter + `
    @skerry.method()
    def m(self):
        try:
            print("runs", flush=True)
            ` + body + `
        except BaseException as err:
            print("saw", type(err).__name__)
            raise
    @skerry.exit()
    def leave(self): print("leaves")
`
}

func (r *rig) classSpec(module string) container.Spec {
	s := r.spec(module)
	s.Qualname = "C"
	s.Class = &container.Class{Methods: []container.Method{{Name: "m"}}}
	return s
}

func (l *testLife) submitMethod(index uint32) {
	l.Submit([]container.Input{{Key: payload.Key{CallID: "fc-1", Index: index}, Args: noArguments, Method: "m"}})
}

// TestExitHooks checks that exit hooks run at every kind of stop, and what becomes of the input that ran.
func TestExitHooks(t *testing.T) {
	r := newRig(t)
	const sleep = "time.sleep(600)"
	for name, c := range map[string]struct {
		body   string
		slots  int
		stop   func(*testLife)
		change func(*container.Spec)
		reason container.Reason
		log    string
		lost   int
		output payload.Status // 0: none
	}{
		"drained":      {body: "return 1", stop: func(l *testLife) { l.Stop(true) }, reason: container.Stopped, log: "runs", output: payload.Success},
		"stopped":      {body: sleep, stop: func(l *testLife) { l.Stop(false) }, reason: container.Stopped, log: "saw KeyboardInterrupt", lost: 1},
		"stopped wide": {body: sleep, slots: 3, stop: func(l *testLife) { l.Stop(false) }, reason: container.Stopped, log: "runs", lost: 1},
		"link lost":    {body: sleep, stop: func(l *testLife) { l.cancel() }, reason: container.Stopped, log: "saw KeyboardInterrupt", lost: 1},
		"interrupted by itself": {
			body: "raise KeyboardInterrupt", stop: func(*testLife) {}, reason: container.Lost, log: "saw KeyboardInterrupt", lost: 1,
		},
		"too slow": {
			body: sleep, stop: func(*testLife) {}, reason: container.TimedOut, log: "saw KeyboardInterrupt", output: payload.TimedOut,
			change: func(s *container.Spec) { s.Timeout, s.StartupTimeout = time.Second, time.Minute },
		},
		"too slow wide": {
			body: sleep, slots: 3, stop: func(*testLife) {}, reason: container.TimedOut, log: "runs", output: payload.TimedOut,
			change: func(s *container.Spec) { s.Timeout, s.StartupTimeout = time.Second, time.Minute },
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := r.classSpec(hooked("pass", c.body))
			spec.Slots = c.slots
			if c.change != nil {
				c.change(&spec)
			}
			l := r.start(t, spec)
			l.awaitReady(t)
			l.submitMethod(0)
			awaitLine(t, r.logs, l.id, "runs")
			if c.output != 0 {
				if o := l.awaitOutput(t); o.Result.Status != c.output {
					t.Errorf("output %+v %+v", o.Result, o.Result.Error)
				}
			}
			c.stop(l)
			if e := l.awaitExit(t); e.Reason != c.reason || len(e.Lost) != c.lost {
				t.Errorf("exit %+v", e)
			}
			ok(t, r.host.Wait(t.Context()))
			text, _ := r.logs.text(l.id)
			if !strings.Contains(text, c.log) || strings.Count(text, "out:leaves\n") != 1 || strings.Contains(text, "Traceback") {
				t.Errorf("log %q", text)
			}
		})
	}
}

// TestStopWhileEntering stops a container whose enter hook runs: it is interrupted, and no exit hook runs.
func TestStopWhileEntering(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.classSpec(hooked("time.sleep(600)", "pass")))
	awaitLine(t, r.logs, l.id, "enters")
	began := time.Now()
	l.Stop(false)
	if e := l.awaitExit(t); e.Reason != container.Stopped || e.Error != nil {
		t.Errorf("exit %+v", e)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	ok(t, r.host.Wait(t.Context()))
	if text, _ := r.logs.text(l.id); text != "out:enters\n" {
		t.Errorf("log %q", text)
	}
}

// TestEnterFails checks that the failure of a hook is the one of the start, with its traceback and the exception itself.
func TestEnterFails(t *testing.T) {
	r := newRig(t)
	l := r.start(t, r.classSpec(hooked("raise LookupError('of the hook')", "pass")))
	e := l.awaitExit(t)
	if e.Reason != container.StartFailed || e.Error == nil || e.Error.Exception == nil || !strings.Contains(e.Error.Traceback, "in enter") {
		t.Fatalf("exit %+v %+v", e, e.Error)
	}
	ok(t, r.host.Wait(t.Context()))
	if text, _ := r.logs.text(l.id); strings.Contains(text, "leaves") || !strings.Contains(text, "LookupError: of the hook") {
		t.Errorf("log %q", text)
	}
}
