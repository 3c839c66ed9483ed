package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// objects is the connection of dicts and queues: of their own, so that what is large holds up nothing else.
type objects struct {
	nc  *nats.Conn
	pub *publisher
	e   *Engine
}

// publish publishes messages, each of which is stored once: several servers are sent it again where one has gone, and know it by its id.
func (o *objects) publish(messages []message, done func(errs []error)) {
	for i := range messages {
		if m := &messages[i]; o.e.cluster.on() {
			if m.header == nil {
				m.header = nats.Header{}
			}
			m.header[jetstream.MsgIDHeader] = []string{ident.Random(22)}
		}
	}
	o.pub.publish(messages, done)
}

func (e *Engine) openObjects(ctx context.Context) error {
	var err error
	if e.objects.nc, err = e.dial("objects", nil, func() { e.objects.pub.reconnected() }); err != nil {
		return err
	}
	e.objects.e = e
	if e.objects.pub, err = newPublisher(e.objects.nc, e.cluster.on()); err != nil {
		return fmt.Errorf("flow: %w", err)
	}
	if err := e.openDicts(ctx); err != nil {
		return err
	}
	return e.openQueues(ctx)
}

func (e *Engine) closeObjects(ctx context.Context) error {
	if e.objects.nc == nil {
		return nil
	}
	err := e.objects.nc.FlushWithContext(ctx)
	e.objects.nc.Close()
	if e.objects.pub != nil {
		e.objects.pub.breakAll(fault.New(fault.Unavailable, "flow: closed"))
	}
	return err
}

// direct says whether any server of a stream may answer who reads from it. In a cluster one may be behind what was acknowledged, so there the leader
// is asked: it knows all that was.
func (o *objects) direct() bool { return !o.e.cluster.on() }

// last returns the last message on a filter. Errors: jetstream.ErrMsgNotFound.
func (o *objects) last(ctx context.Context, s jetstream.Stream, filter string) (*jetstream.RawStreamMsg, error) {
	return o.e.lastMessage(ctx, s, filter)
}

// remove removes the message at a place, if there is one.
func (o *objects) remove(ctx context.Context, s jetstream.Stream, place uint64) error {
	err := o.e.insist(ctx, func(ctx context.Context) error {
		err := s.DeleteMsg(ctx, place)
		if err == nil {
			return nil
		}
		if _, gerr := s.GetMsg(ctx, place); errors.Is(gerr, jetstream.ErrMsgNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return fault.New(fault.Unavailable, "stream %q: remove message %d: %w", s.CachedInfo().Config.Name, place, err)
	}
	return nil
}

// leaderMsgs is how many messages a page has whose leader is asked for each of them.
const leaderMsgs = 512

// readPage is readPage of what was acknowledged: in a cluster by the leader.
func (o *objects) readPage(ctx context.Context, s jetstream.Stream, p page, f func(found) (more bool, err error)) error {
	p.stream = s.CachedInfo().Config.Name
	if o.direct() {
		return readPage(ctx, o.nc, p, f)
	}
	place := max(p.from, 1)
	for n, size := 0, 0; n < min(p.msgs, leaderMsgs) && size < p.bytes; n++ {
		var m *jetstream.RawStreamMsg
		err := o.e.insist(ctx, func(ctx context.Context) (err error) {
			m, err = s.GetMsg(ctx, place, jetstream.WithGetMsgSubject(p.filter))
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fault.New(fault.Unavailable, "stream %q: %w", p.stream, err)
		}
		msg := found{Msg: &nats.Msg{Header: m.Header, Data: m.Data}, subject: m.Subject, place: m.Sequence, at: m.Time}
		if more, err := f(msg); err != nil || !more {
			return err
		}
		place, size = m.Sequence+1, size+len(m.Data)
	}
	return nil
}

// readAll calls f with all messages on a filter, from p's first on, a page at a time.
func (o *objects) readAll(ctx context.Context, s jetstream.Stream, p page, f func(found) error) error {
	p.msgs, p.bytes = pageMsgs, pageBytes
	for {
		last := uint64(0)
		err := o.readPage(ctx, s, p, func(m found) (bool, error) {
			last = m.place
			return true, f(m)
		})
		if err != nil || last == 0 {
			return err
		}
		p.from, p.since = last+1, time.Time{}
	}
}

// count counts the messages on a filter.
func (o *objects) count(ctx context.Context, s jetstream.Stream, filter string) (n uint64, err error) {
	if o.direct() {
		err = readPage(ctx, o.nc, page{stream: s.CachedInfo().Config.Name, filter: filter, msgs: 1}, func(m found) (bool, error) {
			n = m.pending + 1
			return false, nil
		})
		return n, err
	}
	err = o.e.insist(ctx, func(ctx context.Context) error {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return err
		}
		n = 0
		for _, on := range info.State.Subjects {
			n += on
		}
		return nil
	})
	if err != nil {
		return 0, fault.New(fault.Unavailable, "stream %q: %w", s.CachedInfo().Config.Name, err)
	}
	return n, nil
}

// scanMsgs is how many messages a scan takes at a time, scanExpiry when the server forgets one that has broken off, and scanStalls how often it
// may be silent although there is more.
const (
	scanMsgs   = 1000
	scanExpiry = time.Minute
	scanStalls = 5
)

// scanning says which messages to look at: all on a filter, or the last of each subject, or (since not zero) those since a moment.
type scanning struct {
	stream jetstream.Stream
	filter string
	policy jetstream.DeliverPolicy
	since  time.Time
	bodies bool // else their headers alone
}

// errBehind says that a server has not told all that was acknowledged.
var errBehind = errors.New("flow: a server is behind the others, or gone")

// scan calls f with messages. A cluster has the server read that it chooses, which may be behind: what it tells has to reach the last one that the
// leader has, or another scan is made.
func (o *objects) scan(ctx context.Context, s scanning, f func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	if o.direct() {
		var refused error
		err := s.run(ctx, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			refused = f(m, meta)
			return refused
		})
		if refused != nil {
			return refused
		}
		return s.unavailable(err)
	}
	type message struct {
		m    jetstream.Msg
		meta *jetstream.MsgMetadata
	}
	var all []message
	attempt := func(ctx context.Context) error {
		all = all[:0]
		newest, err := s.stream.GetLastMsgForSubject(ctx, s.filter)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		last := uint64(0)
		err = s.run(ctx, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			all, last = append(all, message{m, meta}), max(last, meta.Sequence.Stream)
			return nil
		})
		if err == nil && last < newest.Sequence && !newest.Time.Before(s.since) {
			err = errBehind
		}
		return err
	}
	if err := o.e.insistFor(ctx, copyTimeout, attempt); err != nil {
		return s.unavailable(err)
	}
	for _, each := range all {
		if err := f(each.m, each.meta); err != nil {
			return err
		}
	}
	return nil
}

func (s scanning) unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Unavailable, "stream %q: %w", s.stream.CachedInfo().Config.Name, err)
}

func (s scanning) run(ctx context.Context, f func(jetstream.Msg, *jetstream.MsgMetadata) error) (err error) {
	cfg := jetstream.ConsumerConfig{
		FilterSubject: s.filter, DeliverPolicy: s.policy, HeadersOnly: !s.bodies, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
		InactiveThreshold: scanExpiry,
	}
	if !s.since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.since
	}
	c, err := s.stream.CreateConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		after, cancel := lifecycle.Detach(ctx, requestTimeout)
		defer cancel()
		derr := s.stream.DeleteConsumer(after, c.CachedInfo().Name)
		if err == nil && derr != nil && !errors.Is(derr, jetstream.ErrConsumerNotFound) && !passing(derr) { // it expires as well
			err = derr
		}
	}()
	pending, stalls := c.CachedInfo().NumPending, 0
	for pending > 0 {
		n, left, err := fetch(ctx, c, f)
		if err != nil {
			return err
		}
		if pending = left; n > 0 {
			stalls = 0
			continue
		}
		// What waited may have been removed meanwhile, or the server had no time.
		info, err := c.Info(ctx)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return errBehind
		}
		if err != nil {
			return err
		}
		if pending = info.NumPending; pending > 0 {
			if stalls++; stalls == scanStalls {
				return errBehind
			}
		}
	}
	return nil
}

// fetch calls f with some messages, and returns how many follow.
func fetch(ctx context.Context, c jetstream.Consumer, f func(jetstream.Msg, *jetstream.MsgMetadata) error) (n int, left uint64, err error) {
	batch, err := c.FetchNoWait(scanMsgs)
	if err != nil {
		return 0, 0, err
	}
	for m := range batch.Messages() {
		n++
		meta, merr := m.Metadata()
		if merr == nil && err == nil {
			left = meta.NumPending
			merr = f(m, meta)
		}
		err = errors.Join(err, merr)
	}
	err = errors.Join(err, batch.Error(), context.Cause(ctx))
	if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
		err = errBehind
	}
	return n, left, err
}

// Bounds of one page of messages.
const (
	pageMsgs  = 4096
	pageBytes = 1 << 20
)

// page asks for the messages of a stream on a filter, in order.
type page struct {
	stream, filter string
	// from is the first sequence; since, unless it is zero, the first moment.
	from  uint64
	since time.Time
	// msgs and bytes bound the answer.
	msgs, bytes int
}

// found is a message as a stream has it.
type found struct {
	*nats.Msg
	subject string
	place   uint64
	pending uint64 // how many follow it
	at      time.Time
}

// readPage calls f with messages until f wants no more, there are no more, or enough has been read.
func readPage(ctx context.Context, nc *nats.Conn, p page, f func(found) (more bool, err error)) error {
	unavailable := func(err error) error { return fault.New(fault.Unavailable, "stream %q: %w", p.stream, err) }
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ask := map[string]any{"next_by_subj": p.filter, "batch": p.msgs, "max_bytes": p.bytes}
	if p.since.IsZero() {
		ask["seq"] = max(p.from, 1)
	} else {
		ask["start_time"] = p.since
	}
	request, err := json.Marshal(ask)
	if err != nil {
		return unavailable(err)
	}
	inbox := nats.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return unavailable(err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only once the connection is closed
	if err := nc.PublishRequest("$JS.API.DIRECT.GET."+p.stream, inbox, request); err != nil {
		return unavailable(err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return unavailable(err)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404": // the end; nothing
			return nil
		default:
			return unavailable(fmt.Errorf("status %s: %s", status, m.Header.Get("Description")))
		}
		msg, err := parseFound(m)
		if err != nil {
			return unavailable(err)
		}
		if more, err := f(msg); err != nil || !more {
			return err
		}
	}
}

func parseFound(m *nats.Msg) (msg found, err error) {
	msg = found{Msg: m, subject: m.Header.Get(jetstream.SubjectHeader)}
	if msg.place, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
		return msg, err
	}
	if msg.pending, err = strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64); err != nil {
		return msg, err
	}
	msg.at, err = time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	return msg, err
}
