package gatewaylink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/worker/container"
)

type logStream = connect.BidiStream[workerv1.PushLogsRequest, workerv1.PushLogsResponse]

// shelf keeps output as the gateway does: frames of a container one after the other, each once.
type shelf struct {
	mu       sync.Mutex
	sequence map[string]uint64
	text     map[string]string
	repeated int
}

func newShelf() *shelf { return &shelf{sequence: map[string]uint64{}, text: map[string]string{}} }

func (s *shelf) put(m *workerv1.PushLogsRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := m.GetContainerId()
	if m.GetSequence() <= s.sequence[id] {
		s.repeated++
		return
	}
	s.sequence[id] = m.GetSequence()
	for _, e := range m.GetEntries() {
		s.text[id] += e.GetText()
	}
	if m.GetEof() {
		s.text[id] += "<end>"
	}
}

// take stores the next frame and acknowledges it if so wanted.
func (s *shelf) take(stream *logStream, acknowledge bool) error {
	m, err := stream.Receive()
	if err != nil {
		return err
	}
	s.put(m)
	if !acknowledge {
		return nil
	}
	return stream.Send(&workerv1.PushLogsResponse{ContainerId: m.GetContainerId(), Sequence: m.GetSequence()})
}

func (s *shelf) of(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text[id]
}

func line(text string) container.LogEntry {
	return container.LogEntry{At: time.Now(), Text: []byte(text + "\n")}
}

// run runs l for the test's time; lost gets why connections ended.
func run(t *testing.T, l *Logs) (lost <-chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended, reasons := make(chan error, 1), make(chan error, 100)
	go func() { ended <- l.Run(ctx, func(err error) { reasons <- err }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return reasons, stop
}

// TestOutputOverABrokenConnection has a gateway that stores output and is gone before it has said so. What containers write while that is
// sent again is neither lost nor doubled.
func TestOutputOverABrokenConnection(t *testing.T) {
	g, kept := newGateway(t), newShelf()
	stored, cut, again, read := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	var connections atomic.Int32
	broken := errors.New("the gateway is going")
	g.pushLogs = func(s *logStream) error {
		if connections.Add(1) == 1 {
			for kept.of("ta-1") == "" {
				if err := kept.take(s, false); err != nil {
					return err
				}
			}
			close(stored)
			<-cut
			return connect.NewError(connect.CodeUnavailable, broken)
		}
		close(again)
		<-read
		for {
			if err := kept.take(s, true); err != nil {
				return err
			}
		}
	}
	l := NewLogs(NewBulk(g.dialer(t).BulkClient()))
	lost, _ := run(t, l)
	wide := strings.Repeat("x", container.MaxLine-1)
	for range 3 { // more than the gateway takes without reading it
		l.Write("ta-wide", line(wide))
	}
	l.Write("ta-1", line("one"))
	await(t, stored, "stored")
	close(cut)
	if err := await(t, lost, "lost"); !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("lost for %v", err)
	}
	await(t, again, "connected again")
	l.Write("ta-1", line("two")) // the first frame is on its way again, and the second waits behind it
	l.EOF("ta-1")
	close(read)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ok(t, l.Flush(ctx))
	want := map[string]string{"ta-wide": strings.Repeat(wide+"\n", 3), "ta-1": "one\ntwo\n<end>"}
	if !maps.Equal(kept.text, want) {
		t.Errorf("stored %q of ta-1, %d bytes of ta-wide", kept.text["ta-1"], len(kept.text["ta-wide"]))
	}
	if kept.repeated == 0 {
		t.Error("nothing was sent again: the test shows nothing")
	}
}

// TestSinkIsBounded checks that writers wait while too much is not acknowledged, and go on when that is.
func TestSinkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLogs(nil)
		text := bytes.Repeat([]byte("y"), container.MaxLine)
		wrote := 0
		over := make(chan struct{})
		const entries = 3 * maxLogBytes / container.MaxLine
		go func() {
			defer close(over)
			for i := range entries {
				l.Write(fmt.Sprint("ta-", i%7), container.LogEntry{Text: text})
				wrote++
			}
		}()
		synctest.Wait()
		if most := maxLogBytes/len(text) + 1; wrote < most/2 || wrote > most {
			t.Fatalf("%d entries are held, want at most %d", wrote, most)
		}
		for wrote < entries {
			f := l.next()
			l.acknowledge(f.msg.GetContainerId(), f.msg.GetSequence())
			synctest.Wait()
		}
		<-over
	})
}

// TestSinkThatHasEnded refuses to hold what nobody will send, and says so.
func TestSinkThatHasEnded(t *testing.T) {
	g := newGateway(t)
	took := make(chan struct{})
	g.pushLogs = func(s *logStream) error {
		err := newShelf().take(s, false)
		close(took)
		_, _ = s.Receive() // the worker's end
		return err
	}
	l := NewLogs(NewBulk(g.dialer(t).BulkClient()))
	_, stop := run(t, l)
	l.Write("ta-1", line("one"))
	await(t, took, "taken")
	stop()
	for range 2 * maxLogBytes / container.MaxLine { // it doesn't wait
		l.Write("ta-1", container.LogEntry{Text: make([]byte, container.MaxLine)})
	}
	if err := l.Flush(t.Context()); err == nil {
		t.Error("output that was not acknowledged counts as handed over")
	}
}

// TestOutputIsText checks what becomes of bytes that are no text, and of who wrote them.
func TestOutputIsText(t *testing.T) {
	l := NewLogs(nil)
	l.Write("ta-1", container.LogEntry{Text: []byte("a\xffb\n"), Stderr: true, WantsTerminal: ""})
	l.Write("ta-1", container.LogEntry{WantsTerminal: "/tmp/\xff"})
	entries := l.next().msg.GetEntries()
	if len(entries) != 2 || entries[0].GetText() != "a\uFFFDb\n" || entries[1].GetWantsTerminal() != "/tmp/\uFFFD" {
		t.Errorf("entries %v", entries)
	}
}
