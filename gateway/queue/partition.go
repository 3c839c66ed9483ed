package queue

import (
	"container/list"
	"sort"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// flight is a record on its way into the log.
type flight struct {
	done  chan struct{} // closed when its fate is known
	place uint64        // valid, as err is, once done is closed
	err   error
}

// landed is the flight of what was in the log before.
func landed(place uint64) *flight {
	f := &flight{done: make(chan struct{}), place: place}
	close(f.done)
	return f
}

func (f *flight) known() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// put is a record of items, some of which may be gone.
type put struct {
	*flight
	first, count uint64
	request      string
	size         int
	at           time.Time // when its last item went
	back         uint64    // how many of its items that were taken are there again
	blob         *payload.Ref
	body         []byte // nil: it is in the log
}

func (p *put) end() uint64 { return p.first + p.count }

// part is some items of one put.
type part struct {
	put      *put
	from, to uint64 // numbers of items
	body     []byte
}

// taken is what a request has taken.
type taken struct {
	*flight
	request      string
	first, count uint64
	parts        []part
	clears       uint64 // of the partition before it
	asking       int    // attempts that are to be answered
	answered     bool   // an attempt was
	unwanted     bool   // nobody waits for an answer
}

// getter waits for items.
type getter struct {
	request string
	count   uint64
	granted chan *taken // has room for one; closed: the partition is gone, ask again
}

// putter waits for room.
type putter struct {
	request string
	batch   batch
	granted chan *flight // as above
}

// batch is what a request puts.
type batch struct {
	body  []byte
	blob  *payload.Ref
	count int
	size  int
	ttl   time.Duration
}

// partition is a queue within a queue. Its fields are guarded by mu.
type partition struct {
	q    *open
	name string

	mu     sync.Mutex
	gone   error // why it can't be used any more: get it anew
	loaded bool  // false: only length, expires and last are known
	used   time.Time

	length  int
	expires time.Time
	last    *flight // the newest record
	after   *uint64 // for the first record after a load: where the log ends

	head, tail uint64 // numbers of the first item and after the last
	puts       []*put // with items that are there
	dead       []*put // whose items are gone, oldest first
	deadBytes  int
	back       []span // items before the head that are there again, in order
	clears     uint64 // how often it was cleared

	putsKnown map[string]*put
	takes     map[string]*taken
	takeOrder []*taken

	getters, putters list.List
	changed          chan struct{} // closed when items come; nil: nobody looks
	readers          int           // who look
}

func newPartition(q *open, name string) *partition {
	return &partition{q: q, name: name, last: landed(0), used: time.Now()}
}

// idle says whether nobody waits for anything.
func (p *partition) idle() bool {
	return p.getters.Len() == 0 && p.putters.Len() == 0 && p.readers == 0 && p.last.known()
}

// fail ends the partition's life in memory: who waits is told to ask again, and the next use reads the log.
func (p *partition) fail(err error) {
	if p.gone != nil {
		return
	}
	p.gone = err
	for e := p.getters.Front(); e != nil; e = e.Next() {
		close(e.Value.(*getter).granted)
	}
	for e := p.putters.Front(); e != nil; e = e.Next() {
		close(e.Value.(*putter).granted)
	}
	p.getters.Init()
	p.putters.Init()
	p.wake()
	for _, put := range p.puts {
		p.q.s.cache.drop(put)
	}
}

func (p *partition) wake() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

var errDeleted = fault.New(fault.NotFound, "queue: it was deleted")

// errUnwanted answers a request whose items were given back meanwhile.
var errUnwanted = fault.New(fault.Precondition, "queue: what the request has taken was given back")

// errAgain tells a request to begin anew with a fresh partition.
var errAgain = fault.New(fault.Unavailable, "queue: its log was not to be written; ask again")

// write appends a record and notes what it leaves.
func (p *partition) write(r *Record, length int) *flight {
	r.QueueID, r.Partition, r.Length, r.Expires = p.q.id, p.name, length, p.expires
	f := &flight{done: make(chan struct{})}
	after := p.after
	p.after = nil
	p.last = f
	if (p.length == 0) != (length == 0) {
		p.q.count(length != 0)
	}
	p.length = length
	p.q.s.d.Log.Append(r, after, func(place uint64, err error) {
		f.place, f.err = place, err
		close(f.done)
	})
	return f
}

// expire clears a partition whose time is over.
func (p *partition) expire(now time.Time) {
	if p.length > 0 && now.After(p.expires) {
		p.clear(now)
	}
}

// clear removes all items, also those that were taken and would be given back.
func (p *partition) clear(now time.Time) {
	if n := len(p.takeOrder); p.front() == p.tail && (n == 0 || p.takeOrder[n-1].clears < p.clears) {
		return
	}
	r := &Record{Kind: Clear, First: p.front(), Count: p.tail - p.front()}
	p.write(r, 0)
	p.empty(now)
	p.serve(now)
}

// empty notes that all items have gone.
func (p *partition) empty(now time.Time) {
	p.clears++
	for _, s := range p.back {
		p.forget(s)
	}
	p.back = nil
	p.advance(p.tail, now)
}

// advance moves the front.
func (p *partition) advance(head uint64, now time.Time) {
	p.head = head
	n := 0
	for n < len(p.puts) && p.puts[n].end() <= head {
		put := p.puts[n]
		put.at = now
		p.q.s.cache.drop(put)
		p.dead = append(p.dead, put)
		p.deadBytes += put.size
		n++
	}
	clear(p.puts[:n])
	p.puts = p.puts[n:]
	switch {
	case len(p.puts) == 0:
		p.head = p.tail
	case p.puts[0].first > p.head:
		p.head = p.puts[0].first // what lies between was never written
	}
}

// add puts items at the end.
func (p *partition) add(request string, b batch, now time.Time) *put {
	p.expires = now.Add(b.ttl)
	count := uint64(b.count) //nolint:gosec // checked to be small
	added := &put{first: p.tail, count: count, request: request, size: b.size, blob: b.blob}
	r := &Record{Kind: Put, Request: request, First: p.tail, Count: count, Size: b.size, Body: b.body, Blob: b.blob}
	p.tail += count
	added.flight = p.write(r, p.length+b.count)
	p.q.s.cache.keep(added, b.body)
	p.puts = append(p.puts, added)
	if request != "" {
		p.putsKnown[request] = added
	}
	p.wake()
	return added
}

// take takes items from the front for a request: at least one.
func (p *partition) take(request string, most uint64, now time.Time) *taken {
	t := &taken{request: request, first: p.front(), clears: p.clears}
	if len(p.back) > 0 {
		most = min(most, p.back[0].to-p.back[0].from)
	}
	t.parts, t.count = p.parts(t.first, most, MaxBytes)
	r := &Record{Kind: Take, Request: request, First: t.first, Count: t.count}
	t.flight = p.write(r, p.length-int(t.count)) //nolint:gosec // at most MaxItems and what was given back
	if len(p.back) > 0 {
		p.retake(t)
	} else {
		p.advance(p.head+t.count, now)
	}
	p.takes[request] = t
	p.takeOrder = append(p.takeOrder, t)
	return t
}

// parts returns where items from a number on are: at most so many, and about so many bytes, but at least those of one put.
func (p *partition) parts(from, most uint64, bytes int) (parts []part, count uint64) {
	for _, list := range [][]*put{p.dead, p.puts} {
		if len(list) > 0 && list[len(list)-1].end() <= from {
			continue
		}
		start := sort.Search(len(list), func(i int) bool { return list[i].end() > from })
		some, n := partsOf(list[start:], from, most-count, &bytes, count == 0)
		parts, count, from = append(parts, some...), count+n, from+n
	}
	return parts, count
}

// partsOf does so for puts of which the first has the first item.
func partsOf(puts []*put, from, most uint64, bytes *int, always bool) (parts []part, count uint64) {
	for _, put := range puts {
		if count == most || put.first > from {
			break
		}
		to := min(put.end(), from+most-count)
		size := int(uint64(put.size) * (to - from) / put.count) //nolint:gosec // a part of size
		if !always && size > *bytes {
			break
		}
		*bytes -= size
		always = false
		parts = append(parts, part{put, from, to, put.body})
		count += to - from
		from = to
	}
	return parts, count
}

// serve gives items to who waits for them, and room to who waits for that, in the order in which they came.
func (p *partition) serve(now time.Time) {
	for {
		if e := p.getters.Front(); e != nil && p.front() < p.tail {
			g := p.getters.Remove(e).(*getter)
			t := p.takes[g.request]
			if t == nil {
				t = p.take(g.request, g.count, now)
			}
			t.asking++
			g.granted <- t
			continue
		}
		e := p.putters.Front()
		if e == nil || p.length+e.Value.(*putter).batch.count > MaxItems {
			return
		}
		w := p.putters.Remove(e).(*putter)
		known := p.putsKnown[w.request]
		if known == nil {
			known = p.add(w.request, w.batch, now)
		}
		w.granted <- known.flight
	}
}
