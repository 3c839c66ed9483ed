package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// How much is read ahead of a deliver that blocks: as many messages as make up aheadBytes, at least minAhead, at most maxAhead.
const (
	maxAhead   = 256
	minAhead   = 8
	aheadBytes = 16 << 20
	// firstAhead is a first pull that is small, for the size of messages is not known.
	firstAhead = maxAhead / 4
)

// ackWait is how long the server waits for a sign of life before it delivers an input again.
const ackWait = 30 * time.Second

// consumerExpiry is when the server forgets a consumer that nobody pulls from.
const consumerExpiry = time.Hour

// subscription pulls the inputs of one function.
type subscription struct {
	e        *Engine
	function string
	consumer string
	inbox    string // replies to pulls
	pull     string // subject of pulls
	sub      *nats.Subscription
	deliver  func(call.Delivery)
	pending  atomic.Int64
	// earlier is the last sequence that may have been delivered before, newest the last that was.
	earlier, newest atomic.Uint64

	mu      sync.Mutex
	asked   int     // messages asked for and not received
	average float64 // size of messages in bytes
	watch   watch
}

// Subscribe implements call.Flow. A function has at most one subscription; a second is a fault.Exists.
func (e *Engine) Subscribe(ctx context.Context, functionID string, deliver func(call.Delivery)) (call.Subscription, error) {
	e.subs.Lock()
	if _, taken := e.taken[functionID]; taken {
		e.subs.Unlock()
		return nil, fault.New(fault.Exists, "inputs of function %q: subscribed already", functionID)
	}
	e.taken[functionID] = nil
	e.subs.Unlock()
	s, err := e.subscribe(ctx, functionID, deliver)
	if err != nil {
		e.release(functionID)
		return nil, fault.New(fault.Unavailable, "inputs of function %q: %w", functionID, err)
	}
	e.subs.Lock()
	e.taken[functionID] = s
	e.subs.Unlock()
	return s, nil
}

func (e *Engine) release(functionID string) {
	e.subs.Lock()
	defer e.subs.Unlock()
	delete(e.taken, functionID)
}

func (e *Engine) subscribe(ctx context.Context, functionID string, deliver func(call.Delivery)) (*subscription, error) {
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	c, err := e.consume(ctx, functionID)
	if err != nil {
		return nil, err
	}
	undo.Add(func() { _ = e.in.DeleteConsumer(context.WithoutCancel(ctx), functionID) }) // the first error is the one to show
	s := &subscription{
		e: e, function: functionID, consumer: functionID, deliver: deliver, inbox: nats.NewInbox(),
		pull: "$JS.API.CONSUMER.MSG.NEXT." + inputsStream + "." + functionID,
	}
	s.pending.Store(int64(c.CachedInfo().NumPending))
	s.earlier.Store(e.recovered)
	if s.sub, err = e.nc.Subscribe(s.inbox, s.received); err != nil {
		return nil, err
	}
	undo.Add(func() { _ = s.sub.Unsubscribe() })
	if err := s.sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	s.asked = firstAhead
	if err := s.ask(s.asked); err != nil {
		return nil, err
	}
	s.watch.begin(s)
	undo.Release()
	return s, nil
}

// consume makes a function's consumer, or finds it.
func (e *Engine) consume(ctx context.Context, functionID string) (c jetstream.Consumer, err error) {
	err = e.insist(ctx, func(ctx context.Context) (err error) {
		c, err = e.in.CreateConsumer(ctx, jetstream.ConsumerConfig{
			Name:              functionID,
			FilterSubject:     "in." + functionID + ".>",
			AckPolicy:         jetstream.AckExplicitPolicy,
			AckWait:           ackWait,
			MaxAckPending:     -1,
			MemoryStorage:     true,
			InactiveThreshold: consumerExpiry,
		})
		return err
	})
	return c, err
}

// Pending implements call.Subscription.
func (s *subscription) Pending() int { return int(s.pending.Load()) }

// Close implements call.Subscription.
func (s *subscription) Close() error {
	defer s.e.release(s.function)
	s.watch.end()
	err := s.sub.Unsubscribe()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	derr := s.e.insist(ctx, func(ctx context.Context) error { return s.e.in.DeleteConsumer(ctx, s.consumer) })
	if derr != nil && !errors.Is(derr, jetstream.ErrConsumerNotFound) {
		err = errors.Join(err, derr)
	}
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("inputs of function %q: %w", s.function, err)
	}
	return nil
}

// ask requests n more messages. The request stands until they have come; at a cluster, where it may be lost, for a while, with signs of life.
func (s *subscription) ask(n int) error {
	body := map[string]int64{"batch": int64(n)}
	if s.e.cluster.on() {
		body["expires"], body["idle_heartbeat"] = int64(pullExpiry), int64(pullHeartbeat)
	}
	request, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return s.e.nc.PublishRequest(s.pull, s.inbox, request)
}

// received hears the consumer.
func (s *subscription) received(m *nats.Msg) {
	refused := m.Header != nil && m.Header.Get("Status") != ""
	if !refused {
		s.mu.Lock()
		s.asked = max(0, s.asked-1)
		s.average += (float64(len(m.Data)) - s.average) / 16
		s.mu.Unlock()
		s.watch.alive()
		s.handle(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused {
		s.refused(m)
	}
	s.more()
}

// more asks for more where little is to come. The mutex is held.
func (s *subscription) more() {
	ahead := maxAhead
	if s.average > 0 {
		ahead = min(maxAhead, max(minAhead, int(aheadBytes/s.average)))
	}
	if s.asked <= ahead/2 {
		n := ahead - s.asked
		if s.ask(n) == nil { // fails only once the connection is closed, and then nothing comes
			s.asked += n
		}
	}
}

// refused hears that a pull has ended early. Where the consumer is gone, nothing more is asked for, or at a cluster a little later. The mutex is held.
func (s *subscription) refused(m *nats.Msg) {
	switch status := m.Header.Get("Status"); status {
	case "100":
		s.watch.alive()
	case "404", "408":
		n, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		if err != nil {
			n = s.asked
		}
		s.asked = max(0, s.asked-n)
	default:
		s.asked = math.MaxInt32
		if s.e.cluster.on() {
			s.watch.soon()
			return
		}
		s.e.log.Error("inputs of a function stopped coming", "function", s.function, "status", status, "reason", m.Header.Get("Description"))
	}
}

func (s *subscription) handle(m *nats.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return // not from the consumer
	}
	s.pending.Store(int64(meta.NumPending))
	in, err := parseInput(m.Subject, m.Data)
	if err != nil {
		s.e.log.Error("input dropped", "function", s.function, "error", err)
		_ = s.e.nc.Publish(m.Reply, termBody) // fails only once the connection is closed
		return
	}
	s.newest.Store(max(s.newest.Load(), meta.Sequence.Stream))
	s.deliver(call.Delivery{
		Input: in, Sequence: meta.Sequence.Stream, StoredAt: meta.Timestamp, Behind: int(meta.NumPending),
		Earlier: meta.Sequence.Stream <= s.earlier.Load(), Again: meta.NumDelivered > 1,
		Ticket: ticket{s.e.nc, m.Reply},
	})
}

// ticket is a delivered message, named by its reply subject.
type ticket struct {
	nc    *nats.Conn
	reply string
}

var (
	ackBody      = []byte("+ACK")
	progressBody = []byte("+WPI")
	termBody     = []byte("+TERM")
)

// Ack implements call.Ticket. An error can only be a closed connection, after which the input is delivered again.
func (t ticket) Ack() { _ = t.nc.Publish(t.reply, ackBody) }

// Working implements call.Ticket.
func (t ticket) Working() { _ = t.nc.Publish(t.reply, progressBody) }
