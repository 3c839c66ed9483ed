package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/runner"
)

func TestInputsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, func(c *runner.Config) { c.AppID, c.FunctionIDs = "ap-1", map[string]string{"g": "fu-2"} })
		p.session.Submit([]container.Input{input(0)}) // waits for ready
		var m wire.StartMeta
		if err := json.Unmarshal(p.expect(wire.Start).Meta, &m); err != nil {
			t.Fatal(err)
		}
		want := wire.StartMeta{Module: "m", Qualname: "f", AppID: "ap-1", FunctionIDs: map[string]string{"g": "fu-2"}, ContainerID: "ta-1", MaxInputs: 1}
		if d := cmp.Diff(want, m); d != "" {
			t.Error(d)
		}
		p.session.Submit([]container.Input{input(1), input(0), input(2), input(1)}) // those that are there are dropped
		p.send(wire.Ready, struct{}{}, nil)
		for i := range 3 {
			if got, want := p.expectInput(i), string(input(i).Args.Inline); got != want {
				t.Errorf("arguments %q, want %q", got, want)
			}
			if got := p.session.Running(); !slices.Equal(got, []payload.Key{key(i)}) {
				t.Errorf("running %v", got)
			}
			advance(5 * time.Millisecond)
			p.answer(i, strings.Repeat("v", i+1))
		}
		p.heard.want(t, "ready", `output fc-1/0 "v" 5ms`, `output fc-1/1 "vv" 5ms`, `output fc-1/2 "vvv" 5ms`)
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ready(t, nil)
		p.session.Submit([]container.Input{input(0)})
		p.expectInput(0)
		e := &wire.ErrorMeta{Type: "ValueError", Message: "bad \xff", Traceback: strings.Repeat("t", wire.MaxErrorText-1) + "\u20ac"}
		p.heard.outputs = make(chan container.Output, 1)
		p.send(wire.Output, wire.OutputMeta{Call: "fc-1", Status: payload.Failure, Error: e}, nil)
		o := <-p.heard.outputs
		if r := o.Result; r.Status != payload.Failure || r.Error.Message != "bad \uFFFD" || r.Error.Traceback != strings.Repeat("t", wire.MaxErrorText-1) {
			t.Errorf("output %+v: %q, %d bytes of traceback", o, r.Error.Message, len(r.Error.Traceback))
		}
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStartFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, nil)
		p.expect(wire.Start)
		p.send(wire.StartFailed, wire.StartFailedMeta{Format: payload.Pickle, Error: wire.ErrorMeta{Message: "no module"}}, []byte("x"))
		p.heard.want(t, "start failed: no module")
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWaitingInputsAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ready(t, nil)
		p.session.Submit([]container.Input{input(0), input(1)})
		p.expectInput(0)
		advance(15 * time.Millisecond)
		p.session.Submit([]container.Input{input(2)})
		advance(4 * time.Millisecond)
		p.heard.want(t)
		advance(2 * time.Millisecond)
		p.heard.want(t, "returned fc-1/1")
		advance(15 * time.Millisecond)
		p.heard.want(t, "returned fc-1/2")
		p.answer(0, "")
		// Time in the queue counts behind one input only.
		p.session.Submit([]container.Input{input(3), input(4), input(5)})
		for i := 3; i < 6; i++ {
			p.expectInput(i)
			advance(15 * time.Millisecond)
			p.answer(i, "")
		}
		if got := p.heard.take(); len(got) != 4 || strings.Contains(strings.Join(got, ""), "returned") {
			t.Errorf("heard %q", got)
		}
		_ = p.close()
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ready(t, func(c *runner.Config) { c.Timeout = 5 * time.Second })
		p.session.Submit([]container.Input{input(0)})
		p.expectInput(0)
		advance(4 * time.Second)
		p.answer(0, "")
		p.session.Submit([]container.Input{input(1)})
		p.expectInput(1)
		p.heard.want(t, `output fc-1/0 "" 4s`)
		advance(4900 * time.Millisecond)
		p.heard.want(t)
		advance(100 * time.Millisecond)
		p.heard.want(t, "output fc-1/1 status 4: input ran longer than its timeout of 5s 5s", "ending: overran")
		if got := p.session.Running(); len(got) > 0 {
			t.Errorf("running %v", got)
		}
		p.answer(1, "late")
		p.heard.want(t)
		_ = p.close()
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ready(t, nil)
		p.session.Submit([]container.Input{input(0), input(1)})
		p.expectInput(0)
		p.session.Cancel([]payload.Key{key(1), key(9)})
		p.heard.want(t, "output fc-1/1 status 3: the input was cancelled 0s")

		p.session.Cancel([]payload.Key{key(0)})
		p.session.Cancel([]payload.Key{key(0)})
		if got, want := string(p.expect(wire.Cancel).Meta), `{"call":"fc-1","index":0}`; got != want {
			t.Errorf("cancel %s, want %s", got, want)
		}
		if sig := <-p.signals; sig != int(syscall.SIGUSR1) {
			t.Errorf("signal %d", sig)
		}
		p.send(wire.Output, wire.OutputMeta{Call: "fc-1", Status: payload.Cancelled, Error: &wire.ErrorMeta{Message: "cancelled"}}, nil)
		p.heard.want(t, "output fc-1/0 status 3: cancelled 0s")

		// An input that ends by itself just then has its own outcome.
		p.session.Submit([]container.Input{input(2)})
		p.expectInput(2)
		p.session.Cancel([]payload.Key{key(2)})
		p.expect(wire.Cancel)
		p.answer(2, "done")
		p.heard.want(t, `output fc-1/2 "done" 0s`)

		p.session.Submit([]container.Input{input(3)})
		p.expectInput(3)
		p.session.Cancel([]payload.Key{key(3)})
		p.expect(wire.Cancel)
		advance(999 * time.Millisecond)
		p.heard.want(t)
		advance(time.Millisecond)
		p.heard.want(t, "output fc-1/3 status 3: the input was cancelled 1s", "ending: overran")
		if n := len(p.signals); n != 2 {
			t.Errorf("%d more signals, want 2", n)
		}
		_ = p.close()
	})
}

func TestTakeQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ready(t, nil)
		p.session.Submit([]container.Input{input(0), input(1), input(2)})
		p.expectInput(0)
		if got := p.session.TakeQueued(); !slices.Equal(got, []payload.Key{key(1), key(2)}) {
			t.Errorf("took %v", got)
		}
		_ = p.conn.Close()
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		if got := p.session.Running(); !slices.Equal(got, []payload.Key{key(0)}) {
			t.Errorf("running after the end %v", got)
		}
	})
}

func TestBlobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB
		p := newPeer(t, func(c *runner.Config) {
			c.Serialized = &payload.Payload{Format: payload.Pickle, Inline: []byte("function")}
		})
		if f := p.expect(wire.Start); string(f.Data) != "function" || !strings.Contains(string(f.Meta), `"has_serialized":true`) {
			t.Errorf("start %s %q", f.Meta, f.Data)
		}
		p.send(wire.Ready, struct{}{}, nil)
		large := container.Input{Key: key(0), Args: payload.Payload{Format: payload.Pickle, Blob: p.blobs.put(data)}}
		gone := container.Input{Key: key(1), Args: payload.Payload{Format: payload.Pickle, Blob: &payload.Ref{Digest: "sha256:0", Size: 1}}}
		p.session.Submit([]container.Input{large, gone, input(2)})
		if p.expectInput(0) != string(data) {
			t.Error("wrong arguments")
		}
		p.send(wire.Output, wire.OutputMeta{Call: "fc-1", Status: payload.Success, Format: payload.Pickle, BlobSize: uint64(len(data))}, nil)
		p.heard.outputs = make(chan container.Output, 1)
		for part := range slices.Chunk(data, wire.MaxData) {
			p.send(wire.OutputData, nil, part)
		}
		o := <-p.heard.outputs
		if d := cmp.Diff(large.Args, *o.Result.Value); d != "" || p.blobs.open != 0 {
			t.Errorf("output: %s; %d writers open", d, p.blobs.open)
		}
		if o = <-p.heard.outputs; o.Key != key(1) || o.Result.Status != payload.InternalFailure {
			t.Errorf("output of arguments that are gone: %+v", o)
		}
		p.expectInput(2)
		p.answer(2, "x")
		<-p.heard.outputs
		p.blobs.broken = io.ErrNoProgress
		p.session.Submit([]container.Input{large})
		if err := <-p.ended; !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("with a broken store, Run ends with %v", err)
		}
		if got := p.session.Running(); !slices.Equal(got, []payload.Key{key(0)}) {
			t.Errorf("running after the end %v", got)
		}
	})
}

func TestStop(t *testing.T) {
	cause := errors.New("told to")
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := ready(t, nil)
			p.cancel(cause)
			p.expect(wire.Stop)
			advance(500 * time.Millisecond)
			if err := p.close(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("idle and stuck", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := ready(t, nil)
			p.cancel(cause)
			p.expect(wire.Stop)
			before := time.Now()
			if err := <-p.ended; !errors.Is(err, cause) || time.Since(before) != runner.DefaultStopGrace {
				t.Errorf("after %v: %v", time.Since(before), err)
			}
		})
	})
	t.Run("running", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := ready(t, nil)
			p.session.Submit([]container.Input{input(0)})
			p.expectInput(0)
			p.cancel(context.Canceled)
			if err := <-p.ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	})
	t.Run("not started", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPeer(t, nil)
			synctest.Wait()
			p.cancel(cause)
			if err := <-p.ended; !errors.Is(err, cause) {
				t.Error(err)
			}
		})
	})
}

// TestHostileRunner: a runner that breaks the protocol ends its session, and nothing else.
func TestHostileRunner(t *testing.T) {
	frame := func(k wire.Kind, meta, data string) []byte {
		return wire.AppendFrame(nil, wire.Frame{Kind: k, Meta: []byte(meta), Data: []byte(data)})
	}
	const mine = `{"call":"fc-1","index":0,"status":1,"format":1`
	long := strings.Repeat("x", payload.MaxInline+1)
	for name, x := range map[string]struct {
		bytes []byte
		want  error
	}{
		"length":           {[]byte("\xff\xff\xff\xff\x12\x00\x00\x00\x00"), fault.Invalid},
		"no length":        {[]byte("\x04\x00\x00\x00\x12\x00\x00\x00\x00"), fault.Invalid},
		"meta":             {[]byte("\x09\x00\x00\x00\x12\xff\xff\xff\xff"), fault.Invalid},
		"long meta":        {wire.AppendHeader(nil, wire.Output, bytes.Repeat([]byte(" "), wire.MaxMeta+1), 0), fault.Invalid},
		"long data":        {wire.AppendHeader(nil, wire.Output, nil, wire.MaxData+1), fault.Invalid},
		"kind":             {frame(wire.Ready, "{}", ""), fault.Invalid},
		"data first":       {frame(wire.OutputData, "", "x"), fault.Invalid},
		"no meta":          {frame(wire.Output, "", ""), fault.Invalid},
		"no json":          {frame(wire.Output, "x", ""), fault.Invalid},
		"deep json":        {frame(wire.Output, strings.Repeat(`{"x":`, 20_000), ""), fault.Invalid},
		"wrong json":       {frame(wire.Output, `{"call":3}`, ""), fault.Invalid},
		"index":            {frame(wire.Output, `{"call":"fc-1","index":-1}`, ""), fault.Invalid},
		"another's":        {frame(wire.Output, `{"call":"fc-2","index":0,"status":1,"format":1}`, ""), fault.Invalid},
		"status":           {frame(wire.Output, `{"call":"fc-1","index":0,"status":7,"error":{}}`, ""), fault.Invalid},
		"no status":        {frame(wire.Output, `{"call":"fc-1","index":0,"format":1}`, ""), fault.Invalid},
		"no value":         {frame(wire.Output, `{"call":"fc-1","index":0,"status":1}`, ""), fault.Invalid},
		"no error":         {frame(wire.Output, `{"call":"fc-1","index":0,"status":2}`, ""), fault.Invalid},
		"value and error":  {frame(wire.Output, mine+`,"error":{}}`, ""), fault.Invalid},
		"format":           {frame(wire.Output, `{"call":"fc-1","index":0,"status":1,"format":9}`, ""), fault.Invalid},
		"large inline":     {frame(wire.Output, mine+"}", long), fault.Invalid},
		"large blob":       {frame(wire.Output, mine+`,"blob_size":1073741825}`, ""), fault.Invalid},
		"blob and data":    {frame(wire.Output, mine+`,"blob_size":2}`, "x"), fault.Invalid},
		"blob too long":    {append(frame(wire.Output, mine+`,"blob_size":2}`, ""), frame(wire.OutputData, "", "abc")...), fault.Invalid},
		"blob empty":       {append(frame(wire.Output, mine+`,"blob_size":2}`, ""), frame(wire.OutputData, "", "")...), fault.Invalid},
		"blob interrupted": {append(frame(wire.Output, mine+`,"blob_size":2}`, ""), frame(wire.Output, mine+"}", "")...), fault.Invalid},
		"cut off":          {frame(wire.Output, mine+"}", "x")[:20], io.ErrUnexpectedEOF},
		"cut in the head":  {frame(wire.Output, mine+"}", "x")[:5], io.ErrUnexpectedEOF},
		"cut blob":         {frame(wire.Output, mine+`,"blob_size":2}`, ""), io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := ready(t, nil)
				p.session.Submit([]container.Input{input(0)})
				p.expectInput(0)
				p.sendRaw(x.bytes)
				if err := p.close(); !errors.Is(err, x.want) {
					t.Errorf("Run ends with %v, want %v", err, x.want)
				}
				p.heard.want(t)
				if got := p.session.Running(); !slices.Equal(got, []payload.Key{key(0)}) || p.blobs.open != 0 {
					t.Errorf("running after the end %v; %d blob writers open", got, p.blobs.open)
				}
			})
		})
	}
	t.Run("before ready", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPeer(t, nil)
			p.expect(wire.Start)
			p.answer(0, "x")
			if err := p.close(); !errors.Is(err, fault.Invalid) {
				t.Errorf("Run ends with %v", err)
			}
		})
	})
}
