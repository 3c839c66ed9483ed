package gatewaylink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/worker/container"
)

const (
	// maxLogBytes is how much output is held for the gateway before containers' readers have to wait.
	maxLogBytes = 8 << 20
	// maxLogFrame is how much goes into one frame.
	maxLogFrame = 256 << 10
	// entryCost is what an entry takes besides its text, so that many short lines are not held without a bound.
	entryCost = 64
)

// Logs carries what containers write to the gateway, in order and until it is acknowledged, over as many connections as that takes. Run
// sends; the methods of container.LogSink may be called from any goroutine.
type Logs struct {
	bulk *Bulk

	mu      sync.Mutex
	room    *sync.Cond                   // signalled when frames are acknowledged
	frames  []*logFrame                  // not acknowledged, in order; the first sent of them are under way
	sent    int                          // how many of frames have been sent on this connection
	bytes   int                          // of all frames
	sources map[string]*logSource        // by container, until its EOF
	wake    chan struct{}                // holds a token when there is something to send
	over    chan struct{}                // closed when Run has ended: nothing is held any more
	drained map[chan<- struct{}]struct{} // closed when frames is empty
}

type logFrame struct {
	msg    *workerv1.PushLogsRequest
	source *logSource
	after  container.Offsets
	size   int
	sealed bool // it has been sent, and may be stored: nothing more goes into it, on no connection
	noted  bool // in the source's journal
}

var _ container.JournaledSink = (*Logs)(nil)

// NewLogs returns a sink that sends over bulk.
func NewLogs(bulk *Bulk) *Logs {
	l := &Logs{
		bulk: bulk, sources: make(map[string]*logSource), wake: make(chan struct{}, 1), over: make(chan struct{}),
		drained: make(map[chan<- struct{}]struct{}),
	}
	l.room = sync.NewCond(&l.mu)
	return l
}

// Write takes one entry.
func (l *Logs) Write(containerID string, e container.LogEntry) {
	entry := entryToProto(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	src := l.source(containerID)
	for (l.bytes >= maxLogBytes || src.full()) && !l.ended() {
		l.room.Wait()
	}
	if l.ended() {
		return
	}
	f := l.open(containerID, src)
	f.after, src.after = e.After, e.After
	l.add(f, entry)
	l.signal()
}

// add puts an entry into a frame.
func (l *Logs) add(f *logFrame, entry *skerryv1.LogEntry) {
	f.msg.Entries = append(f.msg.Entries, entry)
	size := len(entry.GetText()) + entryCost
	f.size += size
	f.source.bytes += size
	l.bytes += size
}

func entryToProto(e container.LogEntry) *skerryv1.LogEntry {
	entry := &skerryv1.LogEntry{
		Time: timestamppb.New(e.At), Source: skerryv1.LogSource_LOG_SOURCE_STDOUT,
		// Containers write bytes; log entries are text.
		Text:   strings.ToValidUTF8(string(e.Text), "\uFFFD"),
		CallId: strings.ToValidUTF8(e.Input.CallID, "\uFFFD"), Index: e.Input.Index,
	}
	if e.Stderr {
		entry.Source = skerryv1.LogSource_LOG_SOURCE_STDERR
	}
	if e.System {
		entry.Source = skerryv1.LogSource_LOG_SOURCE_SYSTEM
	}
	if e.WantsTerminal != "" {
		entry.Source, entry.Text = skerryv1.LogSource_LOG_SOURCE_SYSTEM, "the container waits for a terminal: skerry run -i gives it yours\n"
		entry.WantsTerminal = strings.ToValidUTF8(e.WantsTerminal, "\uFFFD")
	}
	return entry
}

// EOF says that nothing more comes from the container.
func (l *Logs) EOF(containerID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended() {
		return
	}
	l.open(containerID, l.source(containerID)).msg.Eof = true
	delete(l.sources, containerID)
	l.signal()
}

func (l *Logs) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// open returns the last frame if more of the container may go into it, else a new one.
func (l *Logs) open(containerID string, src *logSource) *logFrame {
	if n := len(l.frames); n > 0 {
		last := l.frames[n-1]
		if !last.sealed && last.source == src && last.size < maxLogFrame {
			return last
		}
	}
	src.sequence++
	return l.append(containerID, src, container.Frame{Sequence: src.sequence, After: src.after})
}

// append begins a frame.
func (l *Logs) append(containerID string, src *logSource, f container.Frame) *logFrame {
	frame := &logFrame{
		msg:    &workerv1.PushLogsRequest{ContainerId: containerID, SandboxId: src.sandbox, Sequence: f.Sequence},
		source: src, after: f.After,
	}
	l.frames = append(l.frames, frame)
	return frame
}

func (l *Logs) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Flush waits until everything has been acknowledged or ctx ends. It fails when Run has ended before.
func (l *Logs) Flush(ctx context.Context) error {
	done := make(chan struct{})
	l.mu.Lock()
	if len(l.frames) == 0 {
		l.mu.Unlock()
		return nil
	}
	l.drained[done] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.drained, done)
	}()
	select {
	case <-done:
		return nil
	case <-l.over:
		return errors.New("logs: output not acknowledged by the gateway: nothing is sent any more")
	case <-ctx.Done():
		return fmt.Errorf("logs: output not acknowledged by the gateway: %w", context.Cause(ctx))
	}
}

// Run sends over one connection after another until ctx ends. Lost, if not nil, hears why a connection ended.
func (l *Logs) Run(ctx context.Context, lost func(error)) error {
	defer l.close()
	wait := newBackoff()
	for ctx.Err() == nil {
		began := time.Now()
		if err := l.push(ctx); lost != nil && ctx.Err() == nil {
			lost(err)
		}
		wait.pause(ctx, time.Since(began))
	}
	return nil
}

func (l *Logs) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.over)
	l.room.Broadcast()
}

// push sends over one connection until it ends.
func (l *Logs) push(ctx context.Context) error {
	l.mu.Lock()
	l.sent = 0
	waiting := len(l.frames) > 0
	l.mu.Unlock()
	if !waiting {
		// No stream is opened for containers that say nothing.
		select {
		case <-l.wake:
			l.signal()
		case <-ctx.Done():
			return nil
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream := l.bulk.rpc.PushLogs(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := stream.Receive()
			if err != nil {
				cancel(fault.FromConnect(err))
				return
			}
			if err := l.acknowledge(m.GetContainerId(), m.GetSequence()); err != nil {
				cancel(err)
				return
			}
		}
	}()
	l.signal()
	err := l.send(ctx, stream.Send)
	cancel(err)
	_ = stream.CloseRequest()
	<-done
	_ = stream.CloseResponse() // it has ended, and cause says why
	return context.Cause(ctx)
}

// send sends frames as they come.
func (l *Logs) send(ctx context.Context, send func(*workerv1.PushLogsRequest) error) error {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for f := l.next(); f != nil; f = l.next() {
			if err := f.note(); err != nil {
				return err
			}
			if err := send(f.msg); err != nil {
				if errors.Is(err, io.EOF) {
					<-ctx.Done() // the receiver learns why
					return context.Cause(ctx)
				}
				return fault.FromConnect(err)
			}
		}
	}
}

// next returns the next frame to send; from then on it does not change.
func (l *Logs) next() *logFrame {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent >= len(l.frames) {
		return nil
	}
	f := l.frames[l.sent]
	f.sealed = true
	l.sent++
	return f
}

// acknowledge forgets what the gateway has stored.
func (l *Logs) acknowledge(containerID string, sequence uint64) error {
	var journal container.Journal
	defer func() { l.room.Broadcast() }()
	l.mu.Lock()
	kept := l.frames[:0:0]
	sent := 0
	for i, f := range l.frames {
		if i < l.sent && f.msg.GetContainerId() == containerID && f.msg.GetSequence() <= sequence {
			l.bytes -= f.size
			f.source.bytes -= f.size
			journal = f.source.journal
			continue
		}
		if i < l.sent {
			sent++
		}
		kept = append(kept, f)
	}
	l.frames, l.sent = kept, sent
	if len(kept) == 0 {
		for done := range l.drained {
			close(done)
			delete(l.drained, done)
		}
	}
	l.mu.Unlock()
	if journal == nil {
		return nil
	}
	return journal.Acknowledged(sequence)
}
