package queue

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// tidyEvery is the time between two looks for partitions that are not used any more.
	tidyEvery = 5 * time.Minute
	// sweepEvery is the time between two looks for partitions whose time is over, in queues that nobody uses.
	sweepEvery = 6 * time.Hour
	// trimTimeout bounds one removal of records.
	trimTimeout = time.Minute
	// trims is how many of these may wait; what finds no room is removed later.
	trims = 256
)

// Deps are the parts of a Service. All are required.
type Deps struct {
	Log   Log
	Blobs Blobs
	// Logger is told of what nobody waits for.
	Logger *slog.Logger
}

// Service works with the items of queues that are known to exist. It is safe for concurrent use, and the only one that writes its log.
type Service struct {
	d     Deps
	cache cache
	trims chan trimming

	mu    sync.Mutex
	opens map[string]*open
}

type trimming struct {
	queueID, partition string
	before             uint64
}

// open is a queue in use.
type open struct {
	s      *Service
	id     string
	ready  chan struct{} // closed once it is read
	err    error
	filled atomic.Int64 // partitions with items
	// whole is held to read by who changes a partition, and to write by who changes all. It is taken before the others.
	whole   sync.RWMutex
	cleared uint64 // the place of the newest ClearAll
	mu      sync.Mutex
	parts   map[string]*partition
	gone    error // why it can't be used any more
	used    time.Time
}

// all returns the partitions.
func (q *open) all() []*partition {
	q.mu.Lock()
	defer q.mu.Unlock()
	parts := make([]*partition, 0, len(q.parts))
	for _, p := range q.parts {
		parts = append(parts, p)
	}
	return parts
}

// over returns why it can't be used any more, or nil.
func (q *open) over() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.gone
}

func (q *open) count(filled bool) {
	if filled {
		q.filled.Add(1)
	} else {
		q.filled.Add(-1)
	}
}

// New returns a Service. Run is to be called for what is old to go.
func New(d Deps) *Service {
	return &Service{d: d, opens: map[string]*open{}, trims: make(chan trimming, trims)}
}

// open returns a queue, read from the log if nobody has used it of late.
func (s *Service) open(ctx context.Context, id string) (*open, error) {
	s.mu.Lock()
	q := s.opens[id]
	mine := q == nil
	if mine {
		q = &open{s: s, id: id, ready: make(chan struct{}), parts: map[string]*partition{}}
		s.opens[id] = q
	}
	q.used = time.Now()
	s.mu.Unlock()
	if mine {
		if q.err = q.read(context.WithoutCancel(ctx)); q.err != nil {
			s.mu.Lock()
			delete(s.opens, id)
			s.mu.Unlock()
		}
		close(q.ready)
	}
	select {
	case <-q.ready:
		return q, q.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// read learns which partitions there are.
func (q *open) read(ctx context.Context) error {
	err := q.s.d.Log.Newest(ctx, q.id, func(r *Record) error {
		if r.Kind == ClearAll {
			q.cleared = r.Place
			return nil
		}
		p := newPartition(q, r.Partition)
		p.length, p.expires, p.last = r.Length, r.Expires, landed(r.Place)
		q.parts[r.Partition] = p
		return nil
	})
	for _, p := range q.parts {
		if p.last.place < q.cleared {
			p.length = 0
		}
		if p.length > 0 {
			q.count(true)
		}
	}
	return err
}

// attempts is how often a partition is fetched that is forgotten at the same time.
const attempts = 3

// with runs f with a partition that is locked and loaded, and whose time is not over.
func (s *Service) with(ctx context.Context, queueID, name string, f func(p *partition, now time.Time) error) (err error) {
	for range attempts {
		if err = s.once(ctx, queueID, name, f); err != errAgain { //nolint:errorlint // it itself, and not what f returns
			return err
		}
	}
	return err
}

func (s *Service) once(ctx context.Context, queueID, name string, f func(p *partition, now time.Time) error) error {
	q, err := s.open(ctx, queueID)
	if err != nil {
		return err
	}
	q.whole.RLock()
	defer q.whole.RUnlock()
	q.mu.Lock()
	if q.gone != nil {
		defer q.mu.Unlock()
		return q.gone
	}
	p := q.parts[name]
	if p == nil {
		p = newPartition(q, name)
		q.parts[name] = p
	}
	// Nobody holds q's lock while it waits for p's.
	q.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone != nil {
		return p.gone
	}
	now := time.Now()
	if err := p.load(ctx, now); err != nil {
		return err
	}
	p.used = now
	p.expire(now)
	return f(p, now)
}

// failed has a partition read anew, after its log could not be written, and returns what its users are told.
func (s *Service) failed(p *partition, err error) error {
	p.mu.Lock()
	if p.gone == nil {
		p.fail(errAgain)
		if p.length > 0 {
			p.q.count(false) // until it is read
		}
	}
	p.mu.Unlock()
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	if p.q.parts[p.name] == p {
		delete(p.q.parts, p.name)
	}
	if errors.Is(err, fault.Exists) {
		return errAgain
	}
	return err
}

func (s *Service) trim(queueID, partition string, before uint64) {
	select {
	case s.trims <- trimming{queueID, partition, before}:
	default: // it is tried again with what comes
	}
}

// Run removes what is old, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	s.sweep(ctx)
	tidy, sweep := time.NewTicker(tidyEvery), time.NewTicker(sweepEvery)
	defer tidy.Stop()
	defer sweep.Stop()
	for {
		select {
		case t := <-s.trims:
			s.remove(ctx, t)
		case <-tidy.C:
			s.tidy(ctx, time.Now())
		case <-sweep.C:
			s.sweep(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Service) remove(ctx context.Context, t trimming) {
	ctx, cancel := context.WithTimeout(ctx, trimTimeout)
	defer cancel()
	if err := s.d.Log.Trim(ctx, t.queueID, t.partition, t.before); err != nil && ctx.Err() == nil {
		s.d.Logger.Warn("records of a queue are not removed yet", "queue", t.queueID, "error", err)
	}
}

// sweep clears partitions whose time is over, also those of queues that nobody uses.
func (s *Service) sweep(ctx context.Context) {
	type place struct{ queueID, partition string }
	var over []place
	cleared := map[string]uint64{}
	now := time.Now()
	err := s.d.Log.Newest(ctx, "", func(r *Record) error {
		switch {
		case r.Kind == ClearAll && now.Sub(r.At) > keepFor:
			cleared[r.QueueID] = r.Place
		case r.Length > 0 && now.After(r.Expires):
			over = append(over, place{r.QueueID, r.Partition})
		}
		return nil
	})
	for id, place := range cleared {
		err = errors.Join(err, s.d.Log.Purge(ctx, id, place))
	}
	for _, p := range over {
		err = errors.Join(err, s.with(ctx, p.queueID, p.partition, func(*partition, time.Time) error { return nil }))
	}
	if err != nil && ctx.Err() == nil {
		s.d.Logger.Warn("queues are not swept", "error", err)
	}
}

// tidy forgets partitions and queues that nobody uses, and has the log forget those that are empty.
func (s *Service) tidy(ctx context.Context, now time.Time) {
	s.mu.Lock()
	all := make([]*open, 0, len(s.opens))
	for _, q := range s.opens {
		all = append(all, q)
	}
	s.mu.Unlock()
	for _, q := range all {
		select {
		case <-q.ready:
			q.tidy(ctx, now)
		default:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, q := range s.opens {
		if now.Sub(q.used) > keepFor && q.asleep() {
			delete(s.opens, id)
		}
	}
}

// asleep says whether nothing of a queue is in use; then it has no more users, for they hold the service's lock when they come.
func (q *open) asleep() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.parts {
		if !p.mu.TryLock() {
			return false
		}
		busy := p.gone == nil && (p.loaded || !p.idle())
		p.mu.Unlock()
		if busy {
			return false
		}
	}
	return true
}

// tidy unloads partitions that were not used for a while.
func (q *open) tidy(ctx context.Context, now time.Time) {
	q.whole.RLock()
	defer q.whole.RUnlock()
	for _, p := range q.all() {
		p.mu.Lock()
		if p.gone == nil && p.loaded && p.idle() && p.last.err == nil {
			p.expire(now)
			if now.Sub(p.used) > keepFor {
				q.unload(ctx, p)
			} else {
				p.trim(now)
			}
		}
		p.mu.Unlock()
	}
}

// unload forgets what a partition holds, and an empty one altogether. Its lock is held.
func (q *open) unload(ctx context.Context, p *partition) {
	if !p.last.known() {
		return
	}
	for _, put := range p.puts {
		q.s.cache.drop(put)
	}
	p.puts, p.dead, p.back, p.takeOrder, p.putsKnown, p.takes = nil, nil, nil, nil, nil, nil
	p.loaded = false
	if p.length > 0 {
		return
	}
	q.s.remove(ctx, trimming{q.id, p.name, p.last.place + 1})
	p.gone = errAgain // for who has it in hand
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.parts[p.name] == p {
		delete(q.parts, p.name)
	}
}

// Drop implements object.Contents.
func (s *Service) Drop(ctx context.Context, queueID string) error {
	s.mu.Lock()
	q := s.opens[queueID]
	s.mu.Unlock()
	if q != nil {
		if err := q.end(ctx); err != nil {
			return err
		}
	}
	return s.d.Log.Purge(ctx, queueID, 0)
}

// end has everybody who waits for something of the queue told that it is deleted, and waits for what is on its way into the log.
func (q *open) end(ctx context.Context) error {
	select {
	case <-q.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	q.mu.Lock()
	q.gone = errDeleted
	q.mu.Unlock()
	q.whole.Lock()   // who is about to write has written then
	q.whole.Unlock() //nolint:staticcheck // nothing is to be done meanwhile
	for _, p := range q.all() {
		p.mu.Lock()
		p.fail(errDeleted)
		last := p.last
		p.mu.Unlock()
		select {
		case <-last.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
