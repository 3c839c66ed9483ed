package jetstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds of what is on its way to the server; its own queue per stream takes more than either.
const (
	maxInflight      = 8192
	maxInflightBytes = 64 << 20
)

// publisher sends messages to streams without waiting for each acknowledgement. It does what nats.go's asynchronous publishing does with
// one callback a batch instead of two channels and a timer a message.
type publisher struct {
	nc     *nats.Conn
	prefix string // of the reply subjects
	sub    *nats.Subscription

	resend *resender // nil: the server is embedded, and answers

	mu      sync.Mutex
	room    sync.Cond
	pending map[uint64]flight
	next    uint64
	bytes   int
	waiting int   // goroutines in takeOff
	broken  error // set once the connection is gone
}

// message is one publication.
type message struct {
	subject string
	header  nats.Header // nil: none
	data    []byte
	place   *uint64 // set to where the stream has it, before done is called; nil: nobody asks
}

// batch collects the fates of its messages. It is guarded by the publisher's mutex.
type batch struct {
	size, left int
	errs       []error
	done       func(errs []error)
}

type flight struct {
	batch *batch
	index int
	size  int
	place *uint64
	again *attempt // nil: it is sent once
}

// newPublisher returns a publisher over a connection. A patient one sends again what has no answer.
func newPublisher(nc *nats.Conn, patient bool) (*publisher, error) {
	p := &publisher{nc: nc, prefix: nats.NewInbox() + ".", pending: map[uint64]flight{}}
	p.room.L = &p.mu
	sub, err := nc.Subscribe(p.prefix+"*", p.acknowledged)
	if err != nil {
		return nil, fmt.Errorf("acknowledgements: %w", err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("acknowledgements: %w", err)
	}
	p.sub = sub
	if patient {
		p.resend = &resender{p: p}
	}
	return p, nil
}

// publish sends the messages in order and calls done, which must not block, when all are acknowledged or have failed: errs is nil or as
// long as messages. It blocks while too much is on its way.
func (p *publisher) publish(messages []message, done func(errs []error)) {
	if len(messages) == 0 {
		done(nil)
		return
	}
	b := &batch{size: len(messages), left: len(messages), done: done}
	for i := range messages {
		m := &messages[i]
		id, err := p.takeOff(flight{b, i, len(m.data), m.place, p.resend.attempt(m)})
		if err == nil {
			err = p.send(id, m)
		}
		if err != nil {
			p.failed(b, i, id, err)
		}
	}
}

// send sends a message that has taken off. A patient publisher sends it again where that fails.
func (p *publisher) send(id uint64, m *message) error {
	err := p.nc.PublishMsg(&nats.Msg{Subject: m.subject, Reply: p.prefix + strconv.FormatUint(id, 36), Header: m.header, Data: m.data})
	if err == nil {
		return nil
	}
	if p.resend != nil && passing(err) {
		p.resend.soon(id)
		return nil
	}
	return fault.New(fault.Unavailable, "flow: %w", err)
}

// takeOff registers a message, waiting for room.
func (p *publisher) takeOff(f flight) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.broken == nil && (len(p.pending) >= maxInflight || (p.bytes > 0 && p.bytes+f.size > maxInflightBytes)) {
		p.waiting++
		p.room.Wait()
		p.waiting--
	}
	if p.broken != nil {
		return 0, p.broken
	}
	p.next++
	p.bytes += f.size
	p.pending[p.next] = f
	p.resend.arm()
	return p.next, nil
}

// failed settles a message that did not get off. Id 0 is one that was never registered.
func (p *publisher) failed(b *batch, index int, id uint64, err error) {
	p.mu.Lock()
	if f, ok := p.pending[id]; ok {
		delete(p.pending, id)
		p.bytes -= f.size
	} else if id != 0 {
		p.mu.Unlock() // settled by breakAll
		return
	}
	finished := b.settle(index, err)
	p.mu.Unlock()
	if finished {
		b.done(b.errs)
	}
}

// settle notes a message's fate and says whether it was the batch's last.
func (b *batch) settle(index int, err error) bool {
	if err != nil {
		if b.errs == nil {
			b.errs = make([]error, b.size)
		}
		b.errs[index] = err
	}
	b.left--
	return b.left == 0
}

// acknowledged hears the server.
func (p *publisher) acknowledged(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(p.prefix):], 36, 64)
	if err != nil {
		return // not a subject of ours
	}
	passes, fate := parseAck(m)
	p.mu.Lock()
	f, ok := p.pending[id]
	if !ok || passes && f.again != nil {
		if ok {
			f.again.due = time.Time{}
		}
		p.mu.Unlock()
		return
	}
	delete(p.pending, id)
	p.bytes -= f.size
	if f.place != nil && fate == nil {
		*f.place = parsePlace(m.Data)
	}
	finished := f.batch.settle(f.index, fate)
	if p.waiting > 0 {
		p.room.Broadcast()
	}
	p.mu.Unlock()
	if finished {
		f.batch.done(f.batch.errs)
	}
}

// breakAll fails what is on its way and everything after.
func (p *publisher) breakAll(cause error) {
	p.mu.Lock()
	p.broken = cause
	var done []*batch
	for _, f := range p.pending {
		if f.batch.settle(f.index, cause) {
			done = append(done, f.batch)
		}
	}
	p.pending = map[uint64]flight{}
	p.bytes = 0
	p.room.Broadcast()
	p.mu.Unlock()
	for _, b := range done {
		b.done(b.errs)
	}
}

// Codes of the server's errors that say that a message with the subject is there already.
const (
	codeStoreFailed       = 10077 // with the text of the store's error
	codeWrongLastSequence = 10071
	codeWrongLastConstant = 10164
	textSubjectTaken      = "maximum messages per subject exceeded"
)

var errTaken = fault.New(fault.Exists, "flow: the subject has a message already")

var placeKey = []byte(`"seq":`)

// parsePlace returns where a stream has put a message, as its answer says; 0 if it does not.
func parsePlace(answer []byte) (place uint64) {
	_, digits, _ := bytes.Cut(answer, placeKey)
	for _, c := range bytes.TrimLeft(digits, " ") {
		if c < '0' || c > '9' {
			break
		}
		place = 10*place + uint64(c-'0')
	}
	return place
}

// parseAck returns what a stream's answer to a publication means, and whether it only says that a cluster has nobody to store it now.
func parseAck(m *nats.Msg) (passes bool, fate error) {
	if status := m.Header.Get("Status"); status != "" {
		return true, fault.New(fault.Unavailable, "flow: no stream answers (status %s)", status)
	}
	if !bytes.Contains(m.Data, []byte(`"error"`)) {
		return false, nil
	}
	var answer struct {
		Error *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return false, fmt.Errorf("flow: acknowledgement: %w", err)
	}
	switch e := answer.Error; {
	case e == nil:
		return false, nil
	case e.Code == codeWrongLastSequence, e.Code == codeWrongLastConstant, e.Code == codeStoreFailed && e.Description == textSubjectTaken:
		return false, errTaken
	default:
		return passingCode(e.Code, e.Description), fault.New(fault.Unavailable, "flow: %s", e.Description)
	}
}
