package jetstream

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/payload"
)

const queuesStream = "QUEUES"

// recordHeader has all of a record but its items: version, kind, request, first, count, length, when it expires in milliseconds, size, and the size of
// the blob that its items are in.
const (
	recordHeader  = "Skerry-Record"
	recordVersion = 1
	recordFields  = 9
)

// defaultPartition stands for the empty key in subjects; no key has it as its base64.
const defaultPartition = "_"

// allPartitions stands for all of a queue's; no key has it as its base64 either.
const allPartitions = "-"

// Queues keeps the records of queues, a message for each on the subject qu.<queue>.<partition>.
type Queues struct {
	objects
	stream jetstream.Stream
}

var _ queue.Log = (*Queues)(nil)

// Queues returns where queues are kept.
func (e *Engine) Queues() *Queues { return &e.queues }

func (e *Engine) openQueues(ctx context.Context) (err error) {
	q := &e.queues
	q.objects = e.objects
	q.stream, err = e.stream(ctx, jetstream.StreamConfig{Name: queuesStream, Subjects: []string{"qu.>"}, AllowDirect: true, AllowRollup: true})
	return err
}

func partitionSubject(queueID, partition string) string {
	if partition == "" {
		return "qu." + queueID + "." + defaultPartition
	}
	return "qu." + queueID + "." + base64.RawURLEncoding.EncodeToString([]byte(partition))
}

// Append implements queue.Log.
func (q *Queues) Append(r *queue.Record, after *uint64, done func(place uint64, err error)) {
	request := r.Request
	if request == "" {
		request = "-"
	}
	blobSize := uint64(0)
	m := message{subject: partitionSubject(r.QueueID, r.Partition), header: nats.Header{}, data: r.Body}
	if r.Blob != nil {
		m.header[blobHeader] = []string{r.Blob.Digest}
		m.data, blobSize = nil, r.Blob.Size
	}
	m.header[recordHeader] = []string{fmt.Sprintf("%d %d %s %d %d %d %d %d %d",
		recordVersion, r.Kind, request, r.First, r.Count, r.Length, r.Expires.UnixMilli(), r.Size, blobSize)}
	if after != nil {
		m.header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(*after, 10)}
	}
	if r.Kind == queue.ClearAll {
		m.subject = "qu." + r.QueueID + "." + allPartitions
		m.header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject} // the one before says less
		if after != nil {
			m.header[jetstream.ExpectedLastSubjSeqSubjHeader] = []string{"qu." + r.QueueID + ".>"}
		}
	}
	place := new(uint64)
	m.place = place
	q.publish([]message{m}, func(errs []error) { done(*place, errors.Join(errs...)) })
}

// Newest implements queue.Log.
func (q *Queues) Newest(ctx context.Context, queueID string, f func(*queue.Record) error) error {
	filter := "qu.>"
	if queueID != "" {
		filter = "qu." + queueID + ".>"
	}
	return q.records(ctx, filter, jetstream.DeliverLastPerSubjectPolicy, f)
}

// Records implements queue.Log.
func (q *Queues) Records(ctx context.Context, queueID, partition string, f func(*queue.Record) error) error {
	filter := partitionSubject(queueID, partition)
	if _, err := q.stream.GetLastMsgForSubject(ctx, filter); errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // a new one: the scan would take longer
	}
	return q.records(ctx, filter, jetstream.DeliverAllPolicy, f)
}

func (q *Queues) records(ctx context.Context, filter string, policy jetstream.DeliverPolicy, f func(*queue.Record) error) error {
	return scan(ctx, q.stream, filter, policy, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		r, err := parseRecord(m.Subject(), m.Headers())
		if err != nil {
			return err
		}
		r.Place, r.At = meta.Sequence.Stream, meta.Timestamp
		return f(r)
	})
}

func parseRecord(subject string, header nats.Header) (*queue.Record, error) {
	damaged := fault.New(fault.DataLoss, "queue: the record on %q is damaged", subject)
	parts := strings.Split(subject, ".")
	fields := strings.Fields(header.Get(recordHeader))
	if len(parts) != 3 || len(fields) < recordFields || fields[0] != strconv.Itoa(recordVersion) {
		return nil, damaged
	}
	r := &queue.Record{QueueID: parts[1]}
	if parts[2] != defaultPartition && parts[2] != allPartitions {
		key, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			return nil, damaged
		}
		r.Partition = string(key)
	}
	if fields[2] != "-" {
		r.Request = fields[2]
	}
	var numbers [recordFields]uint64
	for i, field := range fields[:recordFields] {
		if i == 2 {
			continue
		}
		n, err := strconv.ParseUint(field, 10, 63)
		if err != nil {
			return nil, damaged
		}
		numbers[i] = n
	}
	r.Kind = queue.Kind(numbers[1]) //nolint:gosec // an unknown one is none of the known
	r.First, r.Count, r.Length = numbers[3], numbers[4], int(numbers[5])
	r.Expires, r.Size = time.UnixMilli(int64(numbers[6])), int(numbers[7]) //nolint:gosec // 63 bits
	if digest := header.Get(blobHeader); digest != "" {
		r.Blob = &payload.Ref{Digest: digest, Size: numbers[8]}
	}
	return r, nil
}

// Body implements queue.Log.
func (q *Queues) Body(ctx context.Context, place uint64) ([]byte, error) {
	m, err := q.stream.GetMsg(ctx, place)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fault.New(fault.NotFound, "queue: the items at %d are not there any more", place)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "queue: items at %d: %w", place, err)
	}
	return m.Data, nil
}

// Trim implements queue.Log.
func (q *Queues) Trim(ctx context.Context, queueID, partition string, before uint64) error {
	err := q.stream.Purge(ctx, jetstream.WithPurgeSubject(partitionSubject(queueID, partition)), jetstream.WithPurgeSequence(before))
	if err != nil {
		return fault.New(fault.Unavailable, "queue %q: purge: %w", queueID, err)
	}
	return nil
}

// Purge implements queue.Log.
func (q *Queues) Purge(ctx context.Context, queueID string, before uint64) error {
	options := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject("qu." + queueID + ".>")}
	if before > 0 {
		options = append(options, jetstream.WithPurgeSequence(before))
	}
	if err := q.stream.Purge(ctx, options...); err != nil {
		return fault.New(fault.Unavailable, "queue %q: purge: %w", queueID, err)
	}
	return nil
}

// Blobs hands over the digests of all blobs that records of queues refer to, some more than once.
func (q *Queues) Blobs(ctx context.Context, add func(digest string) error) error {
	return scanBlobs(ctx, q.stream, "qu.>", add)
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

// readAll calls f with all messages on a filter, from p's first on, a page at a time.
func readAll(ctx context.Context, nc *nats.Conn, p page, f func(found) error) error {
	p.msgs, p.bytes = pageMsgs, pageBytes
	for {
		last := uint64(0)
		err := readPage(ctx, nc, p, func(m found) (bool, error) {
			last = m.place
			return true, f(m)
		})
		if err != nil || last == 0 {
			return err
		}
		p.from, p.since = last+1, time.Time{}
	}
}

// scanMsgs is how many messages a scan takes at a time, and scanExpiry when the server forgets one that has broken off.
const (
	scanMsgs   = 1000
	scanExpiry = time.Minute
)

// scan calls f with the headers of messages on a filter: all of them, or the last of each subject.
func scan(ctx context.Context, s jetstream.Stream, filter string, policy jetstream.DeliverPolicy, f func(jetstream.Msg, *jetstream.MsgMetadata) error) (err error) {
	unavailable := func(err error) error {
		return fault.New(fault.Unavailable, "stream %q: %w", s.CachedInfo().Config.Name, err)
	}
	c, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: filter, DeliverPolicy: policy, HeadersOnly: true, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
		InactiveThreshold: scanExpiry,
	})
	if err != nil {
		return unavailable(err)
	}
	defer func() {
		after, cancel := lifecycle.Detach(ctx, requestTimeout)
		defer cancel()
		if derr := s.DeleteConsumer(after, c.CachedInfo().Name); derr != nil && err == nil && !errors.Is(derr, jetstream.ErrConsumerNotFound) {
			err = unavailable(derr)
		}
	}()
	for {
		batch, err := c.FetchNoWait(scanMsgs)
		if err != nil {
			return unavailable(err)
		}
		n := 0
		for m := range batch.Messages() {
			n++
			meta, merr := m.Metadata()
			if merr == nil {
				merr = f(m, meta)
			}
			err = errors.Join(err, merr)
		}
		if err := errors.Join(err, batch.Error(), context.Cause(ctx)); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// objects is the connection of dicts and queues: of their own, so that what is large holds up nothing else.
type objects struct {
	nc  *nats.Conn
	pub *publisher
	// many says that there are several servers.
	many bool
}

// publish publishes messages, each of which is stored once: several servers are sent it again where one has gone, and know it by its id.
func (o *objects) publish(messages []message, done func(errs []error)) {
	for i := range messages {
		if m := &messages[i]; o.many {
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
	e.objects.many = e.cluster.on()
	if e.objects.pub, err = newPublisher(e.objects.nc, e.objects.many); err != nil {
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
