package jetstream

import (
	"errors"
	"slices"
	"time"
)

// Times of a message that a cluster does not acknowledge.
const (
	// silence is after how long without an answer it is sent again.
	silence = 3 * time.Second
	// resendPause is between looks at what is to be sent again.
	resendPause = 250 * time.Millisecond
)

// attempt is a message that may have to be sent again. It is guarded by the publisher's mutex.
type attempt struct {
	message message
	begun   time.Time
	due     time.Time // when to send it again
}

// resender sends a publisher's messages again: where a server has died, nobody answers, and where servers elect another, they say that nobody can.
// A message may then be stored twice. Inputs and outputs are not, for a subject takes one; readers of items drop those they know.
type resender struct {
	p     *publisher
	armed bool // a timer runs; guarded by the publisher's mutex
}

func (r *resender) attempt(m *message) *attempt {
	if r == nil {
		return nil
	}
	now := time.Now()
	return &attempt{message: *m, begun: now, due: now.Add(silence)}
}

// arm has someone look while messages are pending. The mutex is held.
func (r *resender) arm() {
	if r != nil && !r.armed {
		r.armed = true
		time.AfterFunc(resendPause, r.look)
	}
}

// soon has a message sent with the next look.
func (r *resender) soon(id uint64) {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if f, ok := r.p.pending[id]; ok {
		f.again.due = time.Time{}
	}
}

// look sends what is due, oldest first, and gives up what is too old.
func (r *resender) look() {
	p := r.p
	p.mu.Lock()
	r.armed = false
	if p.broken != nil {
		p.mu.Unlock()
		return
	}
	now := time.Now()
	var due, old []uint64
	for id, f := range p.pending {
		switch {
		case now.Sub(f.again.begun) > electionTimeout:
			old = append(old, id)
		case now.After(f.again.due):
			f.again.due = now.Add(silence)
			due = append(due, id)
		}
	}
	if len(p.pending) > len(old) {
		r.arm()
	}
	messages := make(map[uint64]*message, len(due))
	for _, id := range due {
		messages[id] = &p.pending[id].again.message
	}
	batches := make(map[uint64]flight, len(old))
	for _, id := range old {
		batches[id] = p.pending[id]
	}
	p.mu.Unlock()
	for id, f := range batches {
		p.failed(f.batch, f.index, id, errGivenUp(electionTimeout))
	}
	slices.Sort(due)
	for _, id := range due {
		if err := p.send(id, messages[id]); err != nil {
			p.settleOne(id, err)
		}
	}
	if len(old) > 0 {
		p.mu.Lock()
		p.room.Broadcast()
		p.mu.Unlock()
	}
}

// settleOne settles a message that can't be sent.
func (p *publisher) settleOne(id uint64, err error) {
	p.mu.Lock()
	f, ok := p.pending[id]
	p.mu.Unlock()
	if ok {
		p.failed(f.batch, f.index, id, err)
	}
}

// reconnected has all that is on its way sent again.
func (p *publisher) reconnected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.pending {
		if f.again != nil {
			f.again.due = time.Time{}
		}
	}
}

// publishInOrder is publish for messages that must be stored in their order. Of those that are on their way at the same time, a cluster may lose
// one and keep the next.
func (p *publisher) publishInOrder(messages []message, done func(errs []error)) {
	if p.resend == nil || len(messages) < 2 {
		p.publish(messages, done)
		return
	}
	p.publish(messages[:1], func(errs []error) {
		if err := errors.Join(errs...); err != nil {
			all := make([]error, len(messages))
			for i := range all {
				all[i] = err
			}
			done(all)
			return
		}
		// Not from here, which is where acknowledgements are heard: a publication may have to wait for one.
		go p.publishInOrder(messages[1:], done)
	})
}
