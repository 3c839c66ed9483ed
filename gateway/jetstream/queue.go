package jetstream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/internal/fault"
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
	q.stream, err = e.stream(ctx, jetstream.StreamConfig{
		Name: queuesStream, Subjects: []string{"qu.>"}, AllowDirect: q.direct(), AllowRollup: true,
	})
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
	if _, err := q.last(ctx, q.stream, filter); errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // a new one: the scan would take longer
	}
	return q.records(ctx, filter, jetstream.DeliverAllPolicy, f)
}

func (q *Queues) records(ctx context.Context, filter string, policy jetstream.DeliverPolicy, f func(*queue.Record) error) error {
	return q.scan(ctx, scanning{stream: q.stream, filter: filter, policy: policy}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
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
	var m *jetstream.RawStreamMsg
	err := q.e.insist(ctx, func(ctx context.Context) (err error) {
		m, err = q.stream.GetMsg(ctx, place)
		return err
	})
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
	err := q.e.insist(ctx, func(ctx context.Context) error {
		return q.stream.Purge(ctx, jetstream.WithPurgeSubject(partitionSubject(queueID, partition)), jetstream.WithPurgeSequence(before))
	})
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
	if err := q.e.insist(ctx, func(ctx context.Context) error { return q.stream.Purge(ctx, options...) }); err != nil {
		return fault.New(fault.Unavailable, "queue %q: purge: %w", queueID, err)
	}
	return nil
}

// Blobs hands over the digests of all blobs that records of queues refer to, some more than once.
func (q *Queues) Blobs(ctx context.Context, add func(digest string) error) error {
	return q.scanBlobs(ctx, q.stream, "qu.>", add)
}
