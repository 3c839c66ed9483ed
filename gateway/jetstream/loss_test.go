package jetstream_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/call/calltest"
	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// TestALostServer kills each server of a cluster in turn, in the middle of inputs, outputs, items and logs, and has it come again: nothing that was
// acknowledged is missing, and nobody who asked is told of it.
func TestALostServer(t *testing.T) {
	cluster := flowtest.Clustered()
	if cluster == nil {
		t.Log("of a cluster")
		return
	}
	e := open(t, flowtest.Config(t, t.TempDir()))
	const inputs = 400
	fn := ident.New(ident.Function)
	got := &tally{seen: map[payload.Key]bool{}, all: make(chan struct{})}
	sub, err := e.Subscribe(t.Context(), fn, func(d call.Delivery) {
		out := call.Output{Key: d.Key, Result: payload.Failed(payload.Failure, "boom")}
		e.PutOutputs([]call.Output{out}, func(errs []error) {
			if err := errors.Join(errs...); err != nil && !errors.Is(err, fault.Exists) {
				t.Errorf("output of %v: %v", d.Key, err)
				return
			}
			d.Ticket.Ack()
			got.add(d.Key)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	items := payload.Key{CallID: ident.New(ident.Call)}
	for i := range flowtest.Size {
		id := ident.New(ident.Call)
		got.expect(inputs * (i + 1))
		stored := make(chan error, 2*inputs)
		for _, in := range calltest.Inputs(fn, id, inputs/2) {
			e.PutInputs([]call.Input{in}, func(errs []error) { stored <- errors.Join(errs...) })
		}
		cluster.Kill(i)
		for _, in := range calltest.Inputs(fn, ident.New(ident.Call), inputs/2) {
			e.PutInputs([]call.Input{in}, func(errs []error) { stored <- errors.Join(errs...) })
		}
		for n := range inputs {
			if err := <-stored; err != nil && !errors.Is(err, fault.Exists) { // it was stored, and its answer lost
				t.Errorf("server %d, input %d: %v", i, n, err)
			}
		}
		calltest.PutItems(t, e, calltest.Batch(items, uint64(1+100*i), 100))
		if err := e.Logs().Append(t.Context(), []logs.Entry{entry("ap-1", fn, "ta-1", time.Now(), strings.Repeat("x", i+1))}); err != nil {
			t.Errorf("logs: %v", err)
		}
		got.wait(t)
		if err := cluster.Restart(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	for key := range got.seen {
		if _, err := e.Output(t.Context(), key); err != nil {
			t.Errorf("output of %v: %v", key, err)
		}
	}
	if b, _, err := e.Items(t.Context(), item.Range{Key: items, From: 1, Limit: item.Window}); err != nil || len(b.Values) < 100 {
		t.Errorf("%d items, %v", len(b.Values), err)
	}
	if n, err := e.LastItem(t.Context(), items); err != nil || n != 100*flowtest.Size {
		t.Errorf("last item %d, %v", n, err)
	}
	texts := map[string]bool{}
	for _, entry := range read(t, e.Logs(), logs.Selection{AppID: "ap-1"}) {
		texts[entry.Text] = true
	}
	if len(texts) != flowtest.Size {
		t.Errorf("logs %v", texts)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

// tally notes inputs with outputs.
type tally struct {
	mu   sync.Mutex
	seen map[payload.Key]bool
	want int
	all  chan struct{} // closed when there are as many as wanted
}

func (t *tally) expect(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.want, t.all = n, make(chan struct{})
}

// wait returns when there are as many. What a lost server had is given up after half a minute; this is for what never comes.
func (t *tally) wait(tb testing.TB) {
	tb.Helper()
	select {
	case <-t.all:
	case <-time.After(3 * time.Minute):
		t.mu.Lock()
		defer t.mu.Unlock()
		tb.Fatalf("%d inputs of %d have come", len(t.seen), t.want)
	}
}

func (t *tally) add(k payload.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[k] {
		return
	}
	t.seen[k] = true
	if len(t.seen) == t.want {
		close(t.all)
	}
}

// TestNoCluster is told at once.
func TestNoCluster(t *testing.T) {
	_, err := jetstream.Open(t.Context(), jetstream.Config{Cluster: jetstream.Cluster{URLs: "nats://127.0.0.1:1"}}, slog.New(slog.DiscardHandler))
	if !errors.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}
