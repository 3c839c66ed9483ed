package jetstream

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

const (
	entriesStream = "DICTS"
	intentsStream = "DICTLOG"
	popsStream    = "DICTPOPS"
)

// Limits of the stream of removals: they are there for who asks again because an answer was lost.
const (
	popsMaxAge   = 15 * time.Minute
	popsMaxMsgs  = 65_536
	popsMaxBytes = 256 << 20
)

// blobHeader names the blob that a message refers to.
const blobHeader = "Skerry-Blob"

// Dicts keeps the entries of dicts, a message for each on the subject di.<dict>.<slot>, and the journal of what is under way. Dicts and queues have a
// connection of their own, so that what is large holds up nothing else.
type Dicts struct {
	objects
	entries, intents, pops jetstream.Stream
	// still is held for reading by whoever changes a stream, until that is done, and for writing while all are copied.
	still sync.RWMutex
}

var (
	_ dict.Entries = (*Dicts)(nil)
	_ dict.Journal = (*Dicts)(nil)
)

// Dicts returns where dicts are kept.
func (e *Engine) Dicts() *Dicts { return &e.dicts }

func (e *Engine) openDicts(ctx context.Context) (err error) {
	d := &e.dicts
	d.objects = e.objects
	if d.entries, err = e.stream(ctx, jetstream.StreamConfig{
		Name: entriesStream, Subjects: []string{"di.>"}, MaxMsgsPerSubject: 1, MaxAge: dict.Retention + dict.FreshFor, AllowDirect: d.direct(),
	}); err != nil {
		return err
	}
	if d.intents, err = e.stream(ctx, jetstream.StreamConfig{Name: intentsStream, Subjects: []string{"dl.>"}, AllowDirect: d.direct()}); err != nil {
		return err
	}
	d.pops, err = e.stream(ctx, jetstream.StreamConfig{
		Name: popsStream, Subjects: []string{"dp.>"}, MaxAge: popsMaxAge, MaxMsgs: popsMaxMsgs, MaxBytes: popsMaxBytes, AllowDirect: d.direct(),
	})
	return err
}

func entrySubject(dictID string, slot dict.Slot) string { return "di." + dictID + "." + string(slot) }

// Entry implements dict.Entries.
func (d *Dicts) Entry(ctx context.Context, dictID string, slot dict.Slot) (dict.Stored, error) {
	m, err := d.last(ctx, d.entries, entrySubject(dictID, slot))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return dict.Stored{}, fault.New(fault.NotFound, "dict %q: the key has no value", dictID)
	}
	if err != nil {
		return dict.Stored{}, fault.New(fault.Unavailable, "dict %q: %w", dictID, err)
	}
	e, _, err := dict.ParseEntry(m.Data)
	return dict.Stored{Entry: e, Place: m.Sequence, At: m.Time}, err
}

// PutEntries implements dict.Entries.
func (d *Dicts) PutEntries(dictID string, entries []dict.Entry, c dict.Condition, done func(errs []error)) {
	messages := make([]message, len(entries))
	for i := range entries {
		e := &entries[i]
		m := message{subject: entrySubject(dictID, e.Key.Slot()), data: e.Append(make([]byte, 0, len(e.Value.Inline)+len(e.Key.Data)+96))}
		if c.If || e.Value.Blob != nil {
			m.header = nats.Header{}
		}
		if c.If {
			m.header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(c.Place, 10)}
		}
		if e.Value.Blob != nil {
			m.header[blobHeader] = []string{e.Value.Blob.Digest}
		}
		messages[i] = m
	}
	d.still.RLock()
	d.publish(messages, func(errs []error) {
		d.still.RUnlock()
		done(errs)
	})
}

// RemoveEntry implements dict.Entries.
func (d *Dicts) RemoveEntry(ctx context.Context, place uint64) error {
	d.still.RLock()
	defer d.still.RUnlock()
	return d.remove(ctx, d.entries, place)
}

// CountEntries implements dict.Entries.
func (d *Dicts) CountEntries(ctx context.Context, dictID string) (uint64, error) {
	return d.count(ctx, d.entries, "di."+dictID+".>")
}

// ReadEntries implements dict.Entries.
func (d *Dicts) ReadEntries(ctx context.Context, dictID string, after uint64, f func(dict.Stored) (more bool)) error {
	p := page{filter: "di." + dictID + ".>", from: after + 1, msgs: pageMsgs, bytes: pageBytes}
	return d.readPage(ctx, d.entries, p, func(m found) (bool, error) {
		e, _, err := dict.ParseEntry(m.Data)
		if err != nil {
			return false, err
		}
		return f(dict.Stored{Entry: e, Place: m.place, At: m.at}), nil
	})
}

// LastPlace implements dict.Entries.
func (d *Dicts) LastPlace(ctx context.Context) (place uint64, err error) {
	err = d.e.insist(ctx, func(ctx context.Context) error {
		info, err := d.entries.Info(ctx)
		if err == nil {
			place = info.State.LastSeq
		}
		return err
	})
	if err != nil {
		return 0, fault.New(fault.Unavailable, "stream %q: %w", entriesStream, err)
	}
	return place, nil
}

// PurgeEntries implements dict.Entries.
func (d *Dicts) PurgeEntries(ctx context.Context, dictID string) error {
	d.still.RLock()
	defer d.still.RUnlock()
	// A cluster may do late what was asked of a server that is gone: it must not remove what came since.
	last, err := d.LastPlace(ctx)
	if err != nil {
		return err
	}
	if err := d.e.insist(ctx, func(ctx context.Context) error {
		return d.entries.Purge(ctx, jetstream.WithPurgeSubject("di."+dictID+".>"), jetstream.WithPurgeSequence(last+1))
	}); err != nil {
		return fault.New(fault.Unavailable, "dict %q: purge: %w", dictID, err)
	}
	return nil
}

// Blobs hands over the digests of all blobs that entries of dicts refer to, some more than once.
func (d *Dicts) Blobs(ctx context.Context, add func(digest string) error) error {
	return d.scanBlobs(ctx, d.entries, "di.>", add)
}

func (o *objects) scanBlobs(ctx context.Context, s jetstream.Stream, filter string, add func(digest string) error) error {
	return o.scan(ctx, scanning{stream: s, filter: filter, policy: jetstream.DeliverAllPolicy}, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		if digest := m.Headers().Get(blobHeader); digest != "" {
			return add(digest)
		}
		return nil
	})
}

// What an intent's message begins with: its version and what is to be done.
const (
	intentVersion = 1

	intentClear = 1 // nothing follows
	intentPut   = 2 // entries follow
	intentBlob  = 3 // a payload follows, which names the blob of the entries
)

// popVersion begins the message of a removal: version, place of the entry, value.
const popVersion = 1

// publishOne publishes one message and waits for its place. It is not given up: what is under way may be stored.
func (d *Dicts) publishOne(m message) (place uint64, err error) {
	d.still.RLock()
	defer d.still.RUnlock()
	m.place = &place
	errs := make(chan error, 1)
	d.publish([]message{m}, func(all []error) { errs <- errors.Join(all...) })
	err = <-errs
	return place, err
}

// PutIntent implements dict.Journal.
func (d *Dicts) PutIntent(_ context.Context, in dict.Intent) (uint64, error) {
	m := message{subject: "dl." + in.DictID}
	switch {
	case in.Clear:
		m.data = []byte{intentVersion, intentClear}
	case in.Body != nil:
		ref := payload.Payload{Format: payload.CBOR, Blob: in.Body} // the format means nothing here
		m.data = ref.Append([]byte{intentVersion, intentBlob})
		m.header = nats.Header{blobHeader: []string{in.Body.Digest}}
	default:
		m.data = dict.AppendEntries([]byte{intentVersion, intentPut}, in.Entries)
	}
	return d.publishOne(m)
}

// DropIntent implements dict.Journal.
func (d *Dicts) DropIntent(ctx context.Context, place uint64) error {
	d.still.RLock()
	defer d.still.RUnlock()
	return d.remove(ctx, d.intents, place)
}

// Intents implements dict.Journal.
func (d *Dicts) Intents(ctx context.Context, dictID string, f func(dict.Intent) error) error {
	filter := "dl.>"
	if dictID != "" {
		filter = "dl." + dictID
	}
	return d.readAll(ctx, d.intents, page{filter: filter}, func(m found) error {
		in, err := parseIntent(m.Data)
		if err != nil {
			return err
		}
		in.DictID, in.Place = strings.TrimPrefix(m.subject, "dl."), m.place
		return f(in)
	})
}

func parseIntent(data []byte) (in dict.Intent, err error) {
	damaged := fault.New(fault.DataLoss, "dict: an intent is damaged")
	if len(data) < 2 || data[0] != intentVersion {
		return in, damaged
	}
	switch rest := data[2:]; data[1] {
	case intentClear:
		in.Clear = true
	case intentPut:
		in.Entries, err = dict.ParseEntries(rest)
	case intentBlob:
		p, _, perr := payload.Parse(rest)
		if perr != nil || p.Blob == nil {
			return in, damaged
		}
		in.Body = p.Blob
	default:
		return in, damaged
	}
	return in, err
}

// PutPop implements dict.Journal.
func (d *Dicts) PutPop(_ context.Context, p dict.Pop) error {
	data := binary.AppendUvarint([]byte{popVersion}, p.Entry)
	_, err := d.publishOne(message{subject: "dp." + p.DictID + "." + p.Request, data: p.Value.Append(data)})
	return err
}

// Pop implements dict.Journal.
func (d *Dicts) Pop(ctx context.Context, dictID, request string) (dict.Pop, error) {
	m, err := d.last(ctx, d.pops, "dp."+dictID+"."+request)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return dict.Pop{}, fault.New(fault.NotFound, "dict %q: request %q is not known", dictID, request)
	}
	if err != nil {
		return dict.Pop{}, fault.New(fault.Unavailable, "dict %q: %w", dictID, err)
	}
	return parsePop(m.Data)
}

// Pops implements dict.Journal.
func (d *Dicts) Pops(ctx context.Context, within time.Duration, f func(dict.Pop) error) error {
	m, err := d.last(ctx, d.pops, "dp.>")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, "stream %q: %w", popsStream, err)
	}
	s := scanning{stream: d.pops, filter: "dp.>", since: m.Time.Add(-within), bodies: true}
	return d.scan(ctx, s, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		pop, err := parsePop(m.Data())
		if err != nil {
			return err
		}
		return f(pop)
	})
}

func parsePop(data []byte) (pop dict.Pop, err error) {
	damaged := fault.New(fault.DataLoss, "dict: a removal is damaged")
	if len(data) < 2 || data[0] != popVersion {
		return pop, damaged
	}
	entry, n := binary.Uvarint(data[1:])
	if n <= 0 {
		return pop, damaged
	}
	value, _, err := payload.Parse(data[1+n:])
	if err != nil {
		return pop, damaged
	}
	return dict.Pop{Value: *value, Entry: entry}, nil
}
