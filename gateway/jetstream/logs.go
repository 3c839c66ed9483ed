package jetstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Logs is what containers write: a message for each batch of one container, on the subject log.<app>.<function>.<container>.
type Logs struct{ e *Engine }

var _ logs.Stream = (*Logs)(nil)

// Logs returns the logs of the engine.
func (e *Engine) Logs() *Logs { return &Logs{e} }

// entriesVersion begins a message of entries: version, the function's name, then for each entry its time in nanoseconds since 1970 (the
// first as it is, the others as differences), its source with flags, its text, and what the flags say.
const entriesVersion = 2

// Flags beside an entry's source.
const (
	sourceMask   = 0x0f
	hasInput     = 1 << 4 // the call and the index of the input follow
	sameInput    = 1 << 5 // the input is that of the entry before
	wantTerminal = 1 << 6 // the path of a socket follows
)

// maxEntriesBytes is about how much text one message carries.
const maxEntriesBytes = 512 << 10

// Append implements logs.Stream.
func (l *Logs) Append(ctx context.Context, entries []logs.Entry) error {
	return l.store(ctx, parts(entries))
}

// parts are the messages of entries.
func parts(entries []logs.Entry) (messages []message) {
	for len(entries) > 0 {
		n := batchLength(entries)
		messages = append(messages, message{subject: logSubject(&entries[0]), data: appendEntries(nil, entries[:n])})
		entries = entries[n:]
	}
	return messages
}

// frameHeader is the header of messages that are parts of a frame: the frame's sequence, the part's number from 1, and how many there are.
const frameHeader = "Skerry-Frame"

// AppendFrame implements logs.Stream.
func (l *Logs) AppendFrame(ctx context.Context, entries []logs.Entry, m logs.Mark) error {
	messages := parts(entries)
	for i := range messages {
		messages[i].header = nats.Header{frameHeader: {fmt.Sprintf("%d %d %d", m.Sequence, i+1, len(messages))}}
	}
	return l.store(ctx, messages[min(m.Parts, len(messages)):])
}

// Stored implements logs.Stream.
func (l *Logs) Stored(ctx context.Context, appID, containerID string) (logs.Mark, error) {
	m, err := l.e.lastMessage(ctx, l.e.logs, selectSubject(logs.Selection{AppID: appID, ContainerID: containerID}))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return logs.Mark{}, nil
	}
	if err != nil {
		return logs.Mark{}, fault.New(fault.Unavailable, "logs of container %q: %w", containerID, err)
	}
	var mark logs.Mark
	var of int
	if _, err := fmt.Sscanf(m.Header.Get(frameHeader), "%d %d %d", &mark.Sequence, &mark.Parts, &of); err != nil {
		return logs.Mark{}, fault.New(fault.DataLoss, "logs of container %q: its last output has no number: %w", containerID, err)
	}
	mark.Whole = mark.Parts == of
	return mark, nil
}

func (l *Logs) store(ctx context.Context, messages []message) error {
	if len(messages) == 0 {
		return nil
	}
	stored := make(chan error, 1)
	l.e.pub.publishInOrder(messages, func(errs []error) { stored <- errors.Join(errs...) })
	select {
	case err := <-stored:
		if err != nil {
			return fmt.Errorf("logs: %w", err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// batchLength returns how many entries from the front go into one message: those of one container, up to a size.
func batchLength(entries []logs.Entry) int {
	size := 0
	for i := range entries {
		size += len(entries[i].Text)
		if i > 0 && (size > maxEntriesBytes || entries[i].ContainerID != entries[0].ContainerID || entries[i].Origin != entries[0].Origin) {
			return i
		}
	}
	return len(entries)
}

// logSubject names where an entry goes. An empty part is written "-", as an empty one makes no subject.
func logSubject(e *logs.Entry) string {
	return "log." + part(e.AppID, "-") + "." + part(e.FunctionID, "-") + "." + part(e.ContainerID, "-")
}

func part(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func selectSubject(s logs.Selection) string {
	return "log." + part(s.AppID, "-") + "." + part(s.FunctionID, "*") + "." + part(s.ContainerID, "*")
}

// End implements logs.Stream.
func (l *Logs) End(ctx context.Context, s logs.Selection) (logs.Position, error) {
	m, err := l.e.lastMessage(ctx, l.e.logs, selectSubject(s))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fault.New(fault.Unavailable, "logs of app %q: %w", s.AppID, err)
	}
	if m.Time.Before(s.Since) {
		return 0, nil
	}
	return logs.Position(m.Sequence + 1), nil
}

// Last implements logs.Stream.
func (l *Logs) Last(ctx context.Context, s logs.Selection) (time.Time, error) {
	m, err := l.e.lastMessage(ctx, l.e.logs, selectSubject(s))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fault.New(fault.Unavailable, "logs of app %q: %w", s.AppID, err)
	}
	return m.Time, nil
}

// Removed implements logs.Stream. What has gone for its age is not missed.
func (l *Logs) Removed(ctx context.Context) (time.Time, error) {
	var info *jetstream.StreamInfo
	err := l.e.insist(ctx, func(ctx context.Context) (err error) {
		info, err = l.e.logs.Info(ctx)
		return err
	})
	if err != nil {
		return time.Time{}, fault.New(fault.Unavailable, "logs: %w", err)
	}
	first := info.State.FirstTime
	if info.State.FirstSeq <= 1 || info.State.Msgs == 0 || time.Since(first) > logsMaxAge-time.Hour {
		return time.Time{}, nil
	}
	// Nearly full, or it was its age that has removed the first: there is a pause of that length before what is there.
	if full := uint64(info.Config.MaxBytes); info.State.Bytes < full-full/8 { //nolint:gosec // a size, and set
		return time.Time{}, nil
	}
	return first, nil
}

// Read implements logs.Stream.
func (l *Logs) Read(ctx context.Context, s logs.Selection, follow bool, f func(entries []logs.Entry, after logs.Position) error) error {
	var end logs.Position
	if !follow {
		var err error
		if end, err = l.End(ctx, s); err != nil || end == 0 {
			return err
		}
	}
	messages, err := l.open(ctx, s)
	if err != nil {
		return fault.New(fault.Unavailable, "logs of app %q: %w", s.AppID, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fault.New(fault.Unavailable, "logs of app %q: %w", s.AppID, err)
		}
		after, err := l.handOver(m, s, f)
		if err != nil || (!follow && after >= end) {
			return err
		}
	}
}

func (l *Logs) open(ctx context.Context, s logs.Selection) (jetstream.MessagesContext, error) {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{selectSubject(s)}, DeliverPolicy: jetstream.DeliverAllPolicy}
	if !s.Since.IsZero() {
		// A message is stored after its entries were written, so none of those wanted is in an earlier one.
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.Since
	}
	c, err := l.e.logs.OrderedConsumer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return c.Messages()
}

func (l *Logs) handOver(m jetstream.Msg, s logs.Selection, f func([]logs.Entry, logs.Position) error) (logs.Position, error) {
	meta, err := m.Metadata()
	if err != nil {
		return 0, fmt.Errorf("logs of app %q: %w", s.AppID, err)
	}
	after := logs.Position(meta.Sequence.Stream + 1)
	entries, err := parseEntries(m.Subject(), m.Data())
	if err != nil {
		return after, err
	}
	kept := entries[:0]
	for _, e := range entries {
		if !e.Time.Before(s.Since) {
			kept = append(kept, e)
		}
	}
	return after, f(kept, after)
}

func appendEntries(b []byte, entries []logs.Entry) []byte {
	b = append(b, entriesVersion)
	b = appendString(b, entries[0].FunctionName)
	last := int64(0)
	for i := range entries {
		at := entries[i].Time.UnixNano()
		b = binary.AppendVarint(b, at-last)
		b = appendEntry(b, entries, i)
		last = at
	}
	return b
}

// appendEntry appends what there is of an entry beside its time.
func appendEntry(b []byte, entries []logs.Entry, i int) []byte {
	e := &entries[i]
	flags := byte(e.Source)
	switch {
	case e.CallID == "":
	case i > 0 && entries[i-1].CallID == e.CallID && entries[i-1].Index == e.Index:
		flags |= sameInput
	default:
		flags |= hasInput
	}
	if e.WantsTerminal != "" {
		flags |= wantTerminal
	}
	b = appendString(append(b, flags), e.Text)
	if flags&hasInput != 0 {
		b = binary.AppendUvarint(appendString(b, e.CallID), uint64(e.Index))
	}
	if flags&wantTerminal != 0 {
		b = appendString(b, e.WantsTerminal)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func parseEntries(subject string, b []byte) ([]logs.Entry, error) {
	damaged := fault.New(fault.DataLoss, "logs %q: damaged entries", subject)
	parts := strings.Split(subject, ".")
	if len(parts) != 4 || len(b) == 0 || b[0] != entriesVersion {
		return nil, damaged
	}
	for i := range parts {
		if parts[i] == "-" {
			parts[i] = ""
		}
	}
	name, b, ok := cutString(b[1:])
	if !ok {
		return nil, damaged
	}
	origin := logs.Origin{AppID: parts[1], FunctionID: parts[2], FunctionName: name}
	var entries []logs.Entry
	at := int64(0)
	for len(b) > 0 {
		d, n := binary.Varint(b)
		if n <= 0 || len(b) == n {
			return nil, damaged
		}
		at += d
		e := logs.Entry{Time: time.Unix(0, at).UTC(), Origin: origin, ContainerID: parts[3]}
		if len(entries) > 0 {
			e.CallID, e.Index = entries[len(entries)-1].CallID, entries[len(entries)-1].Index
		}
		if b, ok = cutEntry(b[n:], &e); !ok {
			return nil, damaged
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// cutEntry reads what appendEntry has written. The input of the entry before is in e.
func cutEntry(b []byte, e *logs.Entry) (rest []byte, ok bool) {
	flags := b[0]
	e.Source = logs.Source(flags & sourceMask)
	if e.Text, b, ok = cutString(b[1:]); !ok {
		return nil, false
	}
	if flags&sameInput == 0 {
		e.CallID, e.Index = "", 0
	}
	if flags&hasInput != 0 {
		if e.CallID, b, ok = cutString(b); !ok {
			return nil, false
		}
		index, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, false
		}
		e.Index, b = uint32(index), b[n:] //nolint:gosec // written as one
	}
	if flags&wantTerminal != 0 {
		e.WantsTerminal, b, ok = cutString(b)
	}
	return b, ok
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return "", nil, false
	}
	b = b[k:]
	return string(b[:n]), b[n:], true
}
