package call_test

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// stored says whether the flow has the output of an input.
func (c *client) stored(i uint32) bool {
	c.t.Helper()
	_, err := c.r.engine.Output(c.t.Context(), payload.Key{CallID: c.id, Index: i})
	if err != nil && !errors.Is(err, fault.NotFound) {
		c.t.Fatal(err)
	}
	return err == nil
}

// TestOutputsThatTheClientHasAreForgotten while a large call goes on, and the others not: a session that comes after one that broke gets them, and
// no input is run again. When the client has all it wants, nothing is left.
func TestOutputsThatTheClientHasAreForgotten(t *testing.T) {
	const total, step = 12_000, 100
	r := newRig(t)
	w := newWorker(echo)
	r.join(t, w, 2)
	c := r.client(t, r.function(function.Autoscaler{MaxContainers: 2}), call.Sync)
	sent := uint32(0)
	send := func(until uint32) {
		for sent < until {
			if len(c.pending)+step > call.MaxUnfinished {
				c.note(c.next())
				continue
			}
			c.submit(sent, sent+step)
			sent += step
		}
	}
	send(total / 2)
	if before := <-r.forgotten; before == 0 {
		t.Error("all outputs of a call that goes on are forgotten")
	}
	c.reconnect()
	send(total) // the session has to learn anew what its client has
	<-r.forgotten
	c.reconnect()
	c.collect(total)
	c.echoed()
	if n := w.total(); n != total {
		t.Errorf("%d runs of %d inputs", n, total)
	}
	for _, i := range []uint32{0, 1, 1000} {
		if c.stored(i) {
			t.Errorf("output %d is kept", i)
		}
	}
	if !c.stored(total - 1) {
		t.Error("the last output is forgotten before the client has said that it wants no more")
	}
	c.session.Release([]string{c.id})
	for before := range r.forgotten {
		if before == 0 {
			break
		}
	}
	for i := range uint32(total) {
		if c.stored(i) {
			t.Fatalf("output %d is kept after the end", i)
		}
	}
}
