package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/runner"
)

// short is a session whose inputs have been short: it has had the outputs of inputs 100 to 102.
func short(t *testing.T, change func(*runner.Config)) *peer {
	t.Helper()
	p := ready(t, change)
	for i := 100; i < 103; i++ {
		p.session.Submit([]container.Input{input(i)})
		p.expectInput(i)
		advance(10 * time.Microsecond)
		p.answer(i, "")
	}
	p.heard.take()
	return p
}

func (p *peer) submit(from, to int) {
	var inputs []container.Input
	for i := from; i < to; i++ {
		inputs = append(inputs, input(i))
	}
	p.session.Submit(inputs)
}

func (p *peer) expectInputs(from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		p.expectInput(i)
	}
}

// answers gives the outputs of inputs in one piece, each after the time that the runner says.
func (p *peer) answers(from, to int, elapsed time.Duration) {
	p.t.Helper()
	p.sendRaw(outputs(p.t, from, to, elapsed))
}

func outputs(t *testing.T, from, to int, elapsed time.Duration) (b []byte) {
	t.Helper()
	for i := from; i < to; i++ {
		m, err := json.Marshal(wire.OutputMeta{
			Call: "fc-1", Index: uint32(i), Status: payload.Success, ElapsedUS: uint64(elapsed.Microseconds()), Format: payload.Pickle,
		})
		if err != nil {
			t.Fatal(err)
		}
		b = wire.AppendFrame(b, wire.Frame{Kind: wire.Output, Meta: m})
	}
	return b
}

func (p *peer) withdrawn(indexes ...int) {
	p.t.Helper()
	m := wire.WithdrawnMeta{Inputs: []wire.CancelMeta{}}
	for _, i := range indexes {
		m.Inputs = append(m.Inputs, wire.CancelMeta{Call: "fc-1", Index: uint32(i)})
	}
	p.send(wire.Withdrawn, m, nil)
}

func keys(from, to int) (all []payload.Key) {
	for i := from; i < to; i++ {
		all = append(all, key(i))
	}
	return all
}

// drained is what is heard of the outputs of inputs that ended together.
func drained(from, to int, elapsed time.Duration) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf(`output fc-1/%d "" %v`, i, elapsed))
	}
	return lines
}

func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := short(t, nil)
		p.submit(0, 70)
		p.expectInputs(0, 32)
		if got := p.session.Running(); !slices.Equal(got, keys(0, 32)) {
			t.Errorf("running %v", got)
		}
		advance(time.Millisecond)
		p.answers(0, 20, 30*time.Microsecond) // in one piece
		p.expectInputs(32, 52)
		p.heard.want(t, drained(0, 20, 30*time.Microsecond)...)
		// What can't be true is not believed: then each took its part.
		advance(time.Millisecond)
		p.answers(20, 40, time.Hour)
		p.expectInputs(52, 70)
		p.heard.want(t, drained(20, 40, 50*time.Microsecond)...)
		p.answers(40, 70, 0)
		p.heard.want(t, drained(40, 70, 0)...)
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNotAhead: inputs that are to have the runner for themselves, and those behind one that may be slow.
func TestNotAhead(t *testing.T) {
	lost, large := input(1), input(1)
	lost.Attempt = 1
	large.Args.Inline = make([]byte, 40<<10)
	for name, second := range map[string]container.Input{"lost before": lost, "large": large} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := short(t, nil)
				p.session.Submit([]container.Input{input(0), second, input(2)})
				for i := range 3 {
					p.expectInput(i)
					if got := p.session.Running(); !slices.Equal(got, keys(i, i+1)) {
						t.Errorf("running %v", got)
					}
					p.answer(i, "")
				}
				_ = p.close()
			})
		})
	}
	t.Run("behind one that takes long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := short(t, nil)
			p.submit(0, 1)
			p.expectInput(0)
			advance(6 * time.Millisecond)
			p.submit(1, 3)
			p.heard.want(t)
			if got := p.session.TakeQueued(); !slices.Equal(got, keys(1, 3)) {
				t.Errorf("queued %v", got)
			}
			_ = p.close()
		})
	})
	t.Run("inputs take long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := ready(t, nil)
			p.submit(0, 2)
			p.expectInput(0)
			advance(2 * time.Millisecond)
			p.answer(0, "")
			p.expectInput(1)
			p.submit(2, 3)
			p.heard.take()
			if got := p.session.Running(); !slices.Equal(got, keys(1, 2)) {
				t.Errorf("running %v", got)
			}
			_ = p.close()
		})
	})
}

func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := short(t, nil)
		p.submit(0, 34)
		p.expectInputs(0, 32)
		p.heard.want(t)
		advance(runner.DefaultReturnAfter)
		p.expect(wire.Withdraw)
		if sig := <-p.signals; sig != int(syscall.SIGUSR1) {
			t.Errorf("signal %d", sig)
		}
		p.heard.want(t, "returned fc-1/32", "returned fc-1/33")
		// The runner had ended two, and has the third.
		p.session.Cancel(keys(31, 32))
		p.expect(wire.Cancel)
		<-p.signals
		p.answers(0, 2, 10*time.Microsecond)
		var rest []int
		want := drained(0, 2, 10*time.Microsecond)
		for i := 3; i < 32; i++ {
			rest = append(rest, i)
			if i < 31 {
				want = append(want, "returned "+name(key(i)))
			}
		}
		p.heard.want(t, want[:2]...)
		p.submit(40, 41) // waits for the answer
		p.heard.want(t)
		p.withdrawn(rest...)
		p.heard.want(t, append([]string{"output fc-1/31 status 3: the input was cancelled 0s"}, want[2:]...)...)
		if got := p.session.Running(); !slices.Equal(got, keys(2, 3)) {
			t.Errorf("running %v", got)
		}
		p.answer(2, "")
		p.expectInput(40)
		p.answer(40, "")
		p.heard.want(t, `output fc-1/2 "" 0s`, `output fc-1/40 "" 0s`)
		_ = p.close()
	})
}

func TestCancelAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := short(t, nil)
		p.submit(0, 3)
		p.expectInputs(0, 3)
		p.session.Cancel(keys(1, 2))
		p.expect(wire.Cancel)
		<-p.signals
		p.send(wire.Output, wire.OutputMeta{Call: "fc-1", Index: 1, Status: payload.Cancelled, Error: &wire.ErrorMeta{Message: "cancelled"}}, nil)
		p.heard.want(t, "output fc-1/1 status 3: cancelled 0s")
		if got := p.session.Running(); !slices.Equal(got, []payload.Key{key(0), key(2)}) {
			t.Errorf("running %v", got)
		}
		// A runner that doesn't answer is stuck, nobody knows with what.
		p.session.Cancel(keys(2, 3))
		p.expect(wire.Cancel)
		<-p.signals
		go func() { p.expect(wire.Withdraw) }()
		advance(time.Second)
		p.heard.want(t, "output fc-1/2 status 3: the input was cancelled 1s", "ending: overran")
		if got := p.session.Running(); !slices.Equal(got, keys(0, 1)) {
			t.Errorf("running %v", got)
		}
		_ = p.close()
	})
}

// TestTimeoutAhead: the time of an input behind others is counted from the outputs of those.
func TestTimeoutAhead(t *testing.T) {
	timeout := func(c *runner.Config) { c.Timeout = time.Second }
	t.Run("known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := short(t, timeout)
			p.submit(0, 3)
			p.expectInputs(0, 3)
			advance(20 * time.Millisecond)
			p.expect(wire.Withdraw)
			p.answers(0, 1, 10*time.Microsecond)
			p.withdrawn(2)
			p.heard.want(t, `output fc-1/0 "" 10µs`, "returned fc-1/2")
			advance(999 * time.Millisecond)
			p.heard.want(t)
			advance(time.Millisecond)
			p.heard.want(t, "output fc-1/1 status 4: input ran longer than its timeout of 1s 1s", "ending: overran")
			if got := p.session.Running(); len(got) > 0 {
				t.Errorf("running %v", got)
			}
			_ = p.close()
		})
	})
	t.Run("not known", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := short(t, timeout)
			p.submit(0, 3)
			p.expectInputs(0, 3)
			go func() { p.expect(wire.Withdraw) }() // and doesn't answer
			advance(time.Second)
			p.heard.want(t, "ending: overran")
			if got := p.session.Running(); !slices.Equal(got, keys(0, 3)) {
				t.Errorf("running %v", got)
			}
			p.submit(3, 4)
			p.answers(0, 1, 0)
			p.heard.want(t, `output fc-1/0 "" 1s`)
			if got := p.session.TakeQueued(); !slices.Equal(got, keys(3, 4)) {
				t.Errorf("queued %v", got)
			}
			_ = p.close()
		})
	})
}

// TestEndAhead: outputs that came before the end, or before what breaks the protocol, count.
func TestEndAhead(t *testing.T) {
	for name, x := range map[string]struct {
		then []byte
		want error
	}{
		"end":             {nil, nil},
		"cut off":         {[]byte("\x07\x00"), nil},
		"not asked":       {wire.AppendFrame(nil, wire.Frame{Kind: wire.Withdrawn, Meta: []byte(`{"inputs":[]}`)}), fault.Invalid},
		"breaks protocol": {wire.AppendFrame(nil, wire.Frame{Kind: wire.Ready, Meta: []byte("{}")}), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := short(t, nil)
				p.submit(0, 4)
				p.expectInputs(0, 4)
				p.sendRaw(append(outputs(t, 0, 2, 0), x.then...))
				if err := p.close(); x.want != nil && !errors.Is(err, x.want) {
					t.Errorf("Run ends with %v, want %v", err, x.want)
				}
				p.heard.want(t, drained(0, 2, 0)...)
				if got := p.session.Running(); !slices.Equal(got, keys(2, 4)) {
					t.Errorf("running %v", got)
				}
			})
		})
	}
	t.Run("withdraws what it does not have", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := short(t, nil)
			p.submit(0, 3)
			p.expectInputs(0, 3)
			advance(runner.DefaultReturnAfter)
			p.expect(wire.Withdraw)
			p.withdrawn(2, 9)
			if err := <-p.ended; !errors.Is(err, fault.Invalid) {
				t.Errorf("Run ends with %v", err)
			}
			p.heard.want(t, "returned fc-1/2")
			if got := p.session.Running(); !slices.Equal(got, keys(0, 2)) {
				t.Errorf("running %v", got)
			}
		})
	})
}

// TestPythonAhead has a real runner show it: many short inputs, then a slow one, and those behind that are given back.
func TestPythonAhead(t *testing.T) {
	p := startPython(t, `
import time
from skerry import current_input_id
def f():
    if current_input_id().endswith("-1500"): time.sleep(1000)
`, func(c *runner.Config) { c.CancelGrace = time.Minute })
	p.returned = make(chan payload.Key, 2000)
	var all []container.Input
	for i := range 2000 {
		all = append(all, container.Input{Key: key(i), Args: none})
	}
	p.session.Submit(all)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := map[payload.Key]payload.Status{} // 0: given back
	note := func(k payload.Key, status payload.Status) {
		if _, twice := seen[k]; twice {
			t.Errorf("%v ends twice", k)
		}
		seen[k] = status
	}
	next := func() {
		select {
		case o := <-p.outputs:
			note(o.Key, o.Result.Status)
		case k := <-p.returned:
			note(k, 0)
		case <-ctx.Done():
			t.Fatalf("only %d of the inputs have ended", len(seen))
		}
	}
	for len(seen) < 1999 {
		next()
	}
	// Where the machine stops for a while any may be given back, the slow one too.
	p.session.Cancel(keys(1500, 1501))
	next()
	for k, status := range seen {
		want := payload.Success
		if k == key(1500) {
			want = payload.Cancelled
		}
		if status != 0 && status != want {
			t.Errorf("%v has status %d", k, status)
		}
	}
	if seen[key(1500)] == payload.Cancelled && seen[key(1999)] != 0 {
		t.Error("an input behind a slow one was not given back")
	}
}
