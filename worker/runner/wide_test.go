package runner_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/runner"
)

func (p *peer) item(i int, number uint64, value string) {
	p.t.Helper()
	p.send(wire.Item, wire.ItemMeta{Call: "fc-1", Index: uint32(i), Number: number, Format: payload.Pickle}, []byte(value))
}

// TestSeveralAtATime hands over as many inputs as there are slots, and the next when one has ended.
func TestSeveralAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ready(t, func(c *runner.Config) { c.Slots, c.Timeout = 2, time.Second })
		p.session.Submit([]container.Input{input(0), input(1), input(2), input(3), input(4)})
		p.expectInput(0)
		p.expectInput(1)
		advance(100 * time.Millisecond)
		p.answer(1, "b")
		p.expectInput(2)
		p.heard.want(t, `output fc-1/1 "b" 100ms`)
		p.send(wire.Slots, wire.SlotsMeta{Slots: 1}, nil)
		p.answer(0, "a")
		p.heard.want(t, "slots 1", `output fc-1/0 "a" 100ms`)
		advance(10 * time.Millisecond)
		p.send(wire.Slots, wire.SlotsMeta{Slots: 1 << 40}, nil) // never more than was asked for
		p.expectInput(3)
		p.heard.want(t, "slots 2")
		// Each has a time limit of its own.
		advance(990 * time.Millisecond)
		var m wire.CancelMeta
		if err := json.Unmarshal(p.expect(wire.Cancel).Meta, &m); err != nil || m.Index != 2 || m.Reason != "timeout" {
			t.Errorf("cancel %+v, %v", m, err)
		}
		<-p.signals
		p.send(wire.Output, wire.OutputMeta{Call: "fc-1", Index: 2, Status: payload.Cancelled, Error: &wire.ErrorMeta{}}, nil)
		p.expectInput(4)
		p.heard.want(t, "output fc-1/2 status 4: input ran longer than its timeout of 1s 1s")
		if got := p.session.Running(); !slices.Equal(got, []payload.Key{key(3), key(4)}) {
			t.Errorf("running %v", got)
		}
		_ = p.close()
	})
}

// TestItemsAreCounted refuses items that are not the next, and a count that is not theirs.
func TestItemsAreCounted(t *testing.T) {
	one, three := uint64(1), uint64(3)
	for name, c := range map[string]struct {
		number uint64  // of the second item; 0: there is none
		total  *uint64 // nil: no output
		want   string  // "": it is good
	}{
		"right":           {2, nil, ""},
		"one twice":       {1, nil, "want number 2"},
		"one left out":    {3, nil, "want number 2"},
		"one counted":     {0, &one, ""},
		"three counted":   {0, &three, "counts 3 items"},
		"a large number":  {1<<64 - 1, nil, "want number 2"},
		"item afterwards": {2, &one, "which it does not have"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := ready(t, nil)
				p.session.Submit([]container.Input{input(0)})
				p.expectInput(0)
				p.item(0, 1, "x")
				if c.total != nil {
					p.send(wire.Output, wire.OutputMeta{Call: "fc-1", Status: payload.Success, Items: c.total}, nil)
				}
				if c.number > 0 {
					p.item(0, c.number, "y")
				}
				synctest.Wait()
				err := p.close()
				if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("ended with %v, want %q", err, c.want)
				}
			})
		})
	}
}

// TestAnswersForWhatIsRefused has a runner answer for an input that it has not got, whose arguments turn out to be gone meanwhile.
func TestAnswersForWhatIsRefused(t *testing.T) {
	for name, kind := range map[string]wire.Kind{"output": wire.Output, "item": wire.Item} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := ready(t, nil)
				p.blobs.hold = make(chan struct{})
				in := input(0)
				in.Args = payload.Payload{Format: payload.Pickle, Blob: &payload.Ref{Digest: "sha256:gone", Size: 1 << 20}}
				p.session.Submit([]container.Input{in})
				synctest.Wait()
				p.send(kind, wire.OutputMeta{Call: "fc-1", Status: payload.Success, Format: payload.Pickle, BlobSize: 4}, nil)
				synctest.Wait()
				close(p.blobs.hold)
				if got := p.heard.take(); len(got) != 1 || !strings.Contains(got[0], "arguments are gone") {
					t.Fatalf("heard %q", got)
				}
				p.send(wire.OutputData, nil, []byte("data"))
				if err := <-p.ended; !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "does not have") {
					t.Errorf("ended with %v", err)
				}
				p.heard.want(t)
			})
		})
	}
}

// TestNothingIsTakenWhenAllIsOver cancels when nobody hears of outputs any more.
func TestNothingIsTakenWhenAllIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ready(t, func(c *runner.Config) { c.Timeout = time.Second })
		p.session.Submit([]container.Input{input(0), input(1)})
		p.expectInput(0)
		if err := p.close(); err != nil {
			t.Error(err)
		}
		p.session.Cancel([]payload.Key{key(0), key(1)})
		advance(time.Minute) // past all limits
		if got := p.session.Running(); !slices.Equal(got, []payload.Key{key(0)}) {
			t.Errorf("running %v", got)
		}
		if got := p.session.TakeQueued(); !slices.Equal(got, []payload.Key{key(1)}) {
			t.Errorf("queued %v", got)
		}
		p.heard.want(t)
	})
}
