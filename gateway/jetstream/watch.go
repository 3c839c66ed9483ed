package jetstream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Times of a pull at a cluster.
const (
	pullExpiry    = 30 * time.Second
	pullHeartbeat = 3 * time.Second
	// pullSilence is after how long without message or heartbeat the server that had the pulls is taken for gone.
	pullSilence = 3 * pullHeartbeat
)

// watch looks after a subscription at a cluster: the server that its pulls are with may die, and then nothing says so. It does nothing for an
// embedded server, whose pulls stand until they are served.
type watch struct {
	mu    sync.Mutex
	timer *time.Timer // nil: not begun, or ended
	busy  bool        // a restart is under way
}

func (w *watch) begin(s *subscription) {
	if s.e.cluster.on() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.timer = time.AfterFunc(pullSilence, s.revive)
	}
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// alive notes a sign of life.
func (w *watch) alive() { w.reset(pullSilence) }

// soon has the subscription restarted in a moment, when others may have taken over.
func (w *watch) soon() { w.reset(electionPause) }

func (w *watch) reset(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil && !w.busy {
		w.timer.Reset(d)
	}
}

// take says whether the caller is to restart the subscription; it calls done then.
func (w *watch) take() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil || w.busy {
		return false
	}
	w.busy = true
	return true
}

func (w *watch) done(next time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	if w.timer != nil {
		w.timer.Reset(next)
	}
}

// restart has a subscription restarted after a while.
func (s *subscription) restart(after time.Duration) { s.watch.reset(after) }

// revive finds the consumer, or makes it again, and asks anew: what was asked for before may be lost.
func (s *subscription) revive() {
	if !s.watch.take() {
		return
	}
	next := pullSilence
	defer func() { s.watch.done(next) }()
	if err := s.remake(); err != nil {
		s.e.log.Warn("inputs of a function don't come; trying again", "function", s.function, "error", err)
		next = electionPause
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = 0
	s.more()
}

// remake finds the consumer. One that has no leader for a while has lost what its servers had in memory: it is made anew, and what was
// delivered and not acknowledged comes again.
func (s *subscription) remake() error {
	brief, cancel := context.WithTimeout(context.Background(), 2*attemptTimeout)
	_, err := s.e.consume(brief, s.function)
	cancel()
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), electionTimeout)
	defer cancel()
	err = s.e.insist(ctx, func(ctx context.Context) error { return s.e.in.DeleteConsumer(ctx, s.consumer) })
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	s.earlier.Store(s.newest.Load())
	_, err = s.e.consume(ctx, s.function)
	return err
}
