package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/runner"
)

// blobs keeps blobs in memory.
type blobs struct {
	mu     sync.Mutex
	byName map[string][]byte
	broken error // what every call fails with
	open   int   // writers neither committed nor aborted

	hold chan struct{} // if set, Open waits until it is closed
}

var _ container.Blobs = (*blobs)(nil)

func (b *blobs) put(data []byte) *payload.Ref {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byName == nil {
		b.byName = map[string][]byte{}
	}
	r := &payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	b.byName[r.Digest] = data
	return r
}

func (b *blobs) Open(_ context.Context, ref payload.Ref) (io.ReadCloser, error) {
	if b.hold != nil {
		<-b.hold
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil {
		return nil, b.broken
	}
	data, ok := b.byName[ref.Digest]
	if !ok {
		return nil, fault.New(fault.NotFound, "no such blob")
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (b *blobs) Create(context.Context) (container.BlobWriter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
	return &blobWriter{blobs: b}, b.broken
}

type blobWriter struct {
	bytes.Buffer
	blobs *blobs
}

func (w *blobWriter) Commit() (payload.Ref, error) {
	w.Abort()
	return *w.blobs.put(w.Bytes()), nil
}

func (w *blobWriter) Abort() {
	w.blobs.mu.Lock()
	defer w.blobs.mu.Unlock()
	w.blobs.open--
}

// heard notes the events of a session as lines.
type heard struct {
	mu      sync.Mutex
	lines   []string
	outputs chan container.Output // nil, or gets every output

	returned chan payload.Key // nil, or gets every input that is given back
}

var _ container.RunnerEvents = (*heard)(nil)

func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, args...))
}

func (h *heard) Ready() { h.add("ready") }

func (h *heard) StartFailed(e payload.RemoteError) { h.add("start failed: %s", e.Message) }

func (h *heard) Ending(why container.Ending) {
	h.add("ending: %s", map[container.Ending]string{container.Overran: "overran", container.Leaving: "leaving"}[why])
}

func (h *heard) Outputs(outputs []container.Output) {
	for _, o := range outputs {
		if h.outputs != nil {
			h.outputs <- o
			continue
		}
		if o.Result.Generated {
			h.add("output %s after %d items", name(o.Key), o.Result.Items)
		} else if o.Result.Status == payload.Success {
			h.add("output %s %q %v", name(o.Key), o.Result.Value.Inline, o.Elapsed)
		} else {
			h.add("output %s status %d: %s %v", name(o.Key), o.Result.Status, o.Result.Error.Message, o.Elapsed)
		}
	}
}

func (h *heard) Items(k payload.Key, first uint64, values []*payload.Payload) {
	h.add("items %s from %d: %d", name(k), first, len(values))
}

func (h *heard) Slots(n int) { h.add("slots %d", n) }

func (h *heard) Returned(keys []payload.Key) {
	for _, k := range keys {
		if h.returned != nil {
			h.returned <- k
			continue
		}
		h.add("returned %s", name(k))
	}
}

// take returns what was heard since the last time, once all is quiet.
func (h *heard) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := h.lines
	h.lines = nil
	return lines
}

// advance moves the clock of the bubble.
func advance(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // in a bubble time passes only when all is quiet

func name(k payload.Key) string { return fmt.Sprintf("%s/%d", k.CallID, k.Index) }

func key(i int) payload.Key { return payload.Key{CallID: "fc-1", Index: uint32(i)} }

func input(i int) container.Input {
	return container.Input{Key: key(i), Args: payload.Payload{Format: payload.Pickle, Inline: fmt.Appendf(nil, "args %d", i)}}
}

// peer is a runner in the test's hands, and the session that it belongs to.
type peer struct {
	t       *testing.T
	conn    net.Conn
	frames  *wire.FrameReader
	session *runner.Session
	heard   *heard
	blobs   *blobs
	signals chan int
	cancel  context.CancelCauseFunc
	ended   chan error
}

// newPeer starts a session; in a synctest bubble, whose clock it then uses.
func newPeer(t *testing.T, change func(*runner.Config)) *peer {
	t.Helper()
	host, conn := net.Pipe()
	p := &peer{t: t, conn: conn, frames: wire.NewFrameReader(conn), heard: &heard{}, blobs: &blobs{}, signals: make(chan int, 10), ended: make(chan error, 1)}
	cfg := runner.Config{
		Module: "m", Qualname: "f", ContainerID: "ta-1",
		Signal: func(sig int) error { p.signals <- sig; return nil },
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	p.cancel = cancel
	p.session = runner.New(host, cfg, p.blobs, p.heard)
	go func() { p.ended <- p.session.Run(ctx) }()
	return p
}

// ready is newPeer up to the Ready frame.
func ready(t *testing.T, change func(*runner.Config)) *peer {
	t.Helper()
	p := newPeer(t, change)
	p.expect(wire.Start)
	p.send(wire.Ready, struct{}{}, nil)
	p.heard.want(t, "ready")
	return p
}

func (h *heard) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := h.take(); !slices.Equal(got, lines) {
		t.Errorf("heard %q, want %q", got, lines)
	}
}

func (p *peer) expect(k wire.Kind) wire.Frame {
	p.t.Helper()
	f, err := p.frames.Next()
	if err != nil {
		p.t.Fatalf("want a frame of kind %d: %v", k, err)
	}
	if f.Kind != k {
		p.t.Fatalf("got a frame of kind %d: %s; want %d", f.Kind, f.Meta, k)
	}
	return f
}

// expectInput takes an input and returns its arguments.
func (p *peer) expectInput(i int) string {
	p.t.Helper()
	f := p.expect(wire.Input)
	var m wire.InputMeta
	if err := json.Unmarshal(f.Meta, &m); err != nil || (payload.Key{CallID: m.Call, Index: m.Index}) != key(i) {
		p.t.Fatalf("input %s: want %d; %v", f.Meta, i, err)
	}
	data := f.Data
	for uint64(len(data)) < m.BlobSize {
		data = append(data, p.expect(wire.InputData).Data...)
	}
	return string(data)
}

func (p *peer) send(k wire.Kind, meta any, data []byte) {
	p.t.Helper()
	m, err := json.Marshal(meta)
	if err != nil {
		p.t.Fatal(err)
	}
	if meta == nil {
		m = nil
	}
	p.sendRaw(wire.AppendFrame(nil, wire.Frame{Kind: k, Meta: m, Data: data}))
}

func (p *peer) sendRaw(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		p.t.Fatal(err)
	}
}

func (p *peer) answer(i int, value string) {
	p.t.Helper()
	p.send(wire.Output, wire.OutputMeta{Call: "fc-1", Index: uint32(i), Status: payload.Success, Format: payload.Pickle}, []byte(value))
}

// close ends the connection in good order and returns what Run says.
func (p *peer) close() error {
	_ = p.conn.Close()
	return <-p.ended
}
