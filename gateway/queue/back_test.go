package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/internal/payload"
)

// heldLog is a log that notes what is written, and holds back answers.
type heldLog struct {
	queue.Log
	mu    sync.Mutex
	kinds []queue.Kind
	hold  map[queue.Kind]bool
	held  chan func()
}

func (l *heldLog) Append(r *queue.Record, after *uint64, done func(place uint64, err error)) {
	l.mu.Lock()
	l.kinds = append(l.kinds, r.Kind)
	hold := l.hold[r.Kind]
	l.mu.Unlock()
	l.Log.Append(r, after, func(place uint64, err error) {
		if hold {
			l.held <- func() { done(place, err) }
			return
		}
		done(place, err)
	})
}

func (l *heldLog) holding(kind queue.Kind, hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold[kind] = hold
}

func (l *heldLog) written() []queue.Kind {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.kinds)
}

// held has the rig's service use such a log.
func (r *rig) held() *heldLog {
	l := &heldLog{Log: r.engine.Queues(), hold: map[queue.Kind]bool{}, held: make(chan func(), 1)}
	r.s = queue.New(queue.Deps{Log: l, Blobs: r.blobs, Logger: slog.New(slog.DiscardHandler)})
	return l
}

// awaitGetter returns when one waits. Each look takes the partition's lock, as the getter does; nothing else tells.
func (r *rig) awaitGetter() {
	for queue.Getters(r.s, r.id) == 0 {
		r.length(0)
	}
}

// TestPutWakesGetter shows that nobody looks again and again: the put itself hands over to who waits, before it is answered.
func TestPutWakesGetter(t *testing.T) {
	r := newRig(t)
	l := r.held()
	l.holding(queue.Put, true)
	got := make(chan string, 1)
	go func() {
		all, err := r.s.Take(ctx, r.request(time.Minute), 1)
		if err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
		got <- fmt.Sprint(texts(all))
	}()
	r.awaitGetter()
	put := make(chan struct{})
	go func() {
		defer close(put)
		r.put("a")
	}()
	answer := <-l.held // the put is in the log, and not answered
	r.length(0)        // the getter has it already
	if kinds := l.written(); !slices.Equal(kinds, []queue.Kind{queue.Put, queue.Take}) {
		t.Errorf("written: %v", kinds)
	}
	answer()
	<-put
	if text := <-got; text != "[a]" {
		t.Errorf("got %s", text)
	}
}

// TestCancelledWhileServed has getters go away after they were served and before they are answered.
func TestCancelledWhileServed(t *testing.T) {
	r := newRig(t)
	l := r.held()
	l.holding(queue.Take, true)
	gone, cancel := context.WithCancel(ctx)
	end := make(chan error, 1)
	go func() {
		all, err := r.s.Take(gone, r.request(time.Minute), 2)
		if len(all) > 0 {
			t.Errorf("answered with %q", texts(all))
		}
		end <- err
	}()
	r.awaitGetter()
	r.put("a", "b", "c")
	answer := <-l.held
	l.holding(queue.Take, false)
	r.take(r.request(0), 1, "c")
	cancel()
	answer()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	r.length(2)
	r.crash()
	r.length(2)
	r.take(r.request(0), 2, "a", "b")
	r.length(0)
	r.crash()
	r.length(0)
}

// TestServedAgainWhileCancelled has a getter ask again before its first attempt has ended: it is answered, and nothing is given back.
func TestServedAgainWhileCancelled(t *testing.T) {
	r := newRig(t)
	l := r.held()
	r.put("a", "b")
	l.holding(queue.Take, true)
	request := r.request(0)
	gone, cancel := context.WithCancel(ctx)
	ends := make(chan error, 2)
	take := func(ctx context.Context) {
		_, err := r.s.Take(ctx, request, 1)
		ends <- err
	}
	go take(gone)
	answer := <-l.held
	again := make(chan struct{})
	go func() {
		close(again)
		take(ctx)
	}()
	<-again
	for queue.Asking(r.s, r.id, request.ID) < 2 {
		r.length(1)
	}
	cancel()
	if err := <-ends; !errors.Is(err, context.Canceled) {
		t.Errorf("the first attempt: %v", err)
	}
	answer()
	if err := <-ends; err != nil {
		t.Errorf("the second attempt: %v", err)
	}
	r.length(1)
	r.take(request, 1, "a")
}

func TestGiveBack(t *testing.T) {
	r := newRig(t)
	back := func(q queue.Request) {
		t.Helper()
		if err := r.s.GiveBack(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	read := func(want ...string) {
		t.Helper()
		var got []string
		err := r.s.Read(ctx, queue.Reading{QueueID: r.id}, func(page []queue.Item, _ uint64) error {
			got = append(got, texts(page)...)
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("read %q, want %q: %v", got, want, err)
		}
	}
	r.put("a", "b")
	r.put("c", "d", "e")
	first, second := r.request(0), r.request(0)
	r.take(first, 3, "a", "b", "c")
	r.take(second, 1, "d")
	for range 2 { // the second time there is nothing to give back
		back(first)
		r.length(4)
		read("a", "b", "c", "e")
		r.crash()
	}
	back(r.request(0))
	r.take(first, 2, "a", "b") // the same request may take anew
	r.crash()
	r.take(first, 2, "a", "b")
	read("c", "e")
	back(second)
	read("c", "d", "e")
	back(first)
	r.take(r.request(0), 10, "a", "b", "c", "d") // what was given back, and then what was not taken before
	last := r.request(0)
	r.take(last, 10, "e")
	r.crash()
	if err := r.s.Clear(ctx, r.id, ""); err != nil {
		t.Fatal(err)
	}
	back(last) // what was cleared since
	r.length(0)
	r.crash()
	back(last)
	r.length(0)
}

func TestClearAllIsOneStep(t *testing.T) {
	r := newRig(t)
	l := r.held()
	const partitions = 50
	put := func(partition, value string) {
		t.Helper()
		q := r.request(0)
		q.Partition = partition
		if ok, err := r.s.Put(ctx, q, items(value), time.Hour); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	for i := range partitions {
		put(fmt.Sprint(i), "x")
	}
	taken := r.request(0)
	taken.Partition = "0"
	r.take(taken, 1, "x")
	before := len(l.written())
	clearAll := func() {
		t.Helper()
		if err := r.s.ClearAll(ctx, r.id); err != nil {
			t.Fatal(err)
		}
	}
	total := func(want uint64) {
		t.Helper()
		if all, err := r.s.Total(ctx, r.id); all != (queue.Total{Partitions: want, Items: want}) || err != nil {
			t.Errorf("%+v, want %d: %v", all, want, err)
		}
	}
	clearAll()
	total(0)
	if kinds := l.written()[before:]; !slices.Equal(kinds, []queue.Kind{queue.ClearAll}) {
		t.Errorf("written: %v", kinds)
	}
	put("1", "y")
	r.crash()
	total(1)
	r.take(taken, 1, "x") // whose answer was lost
	if err := r.s.GiveBack(ctx, taken); err != nil {
		t.Error(err)
	}
	total(1)
	clearAll() // what is not loaded too
	total(0)
	put("2", "z")
	q := r.request(0)
	q.Partition = "2"
	r.crash()
	r.take(q, 1, "z")
	total(0)
}

// TestManyWhoGoAway has getters go away at any moment: each item is answered once, or still there.
func TestManyWhoGoAway(t *testing.T) {
	r := newRig(t)
	const count = 300
	var mu sync.Mutex
	got := map[string]int{}
	add := func(all []queue.Item) {
		mu.Lock()
		defer mu.Unlock()
		for _, text := range texts(all) {
			got[text]++
		}
	}
	stop, end := context.WithCancel(ctx)
	var getters sync.WaitGroup
	for range 4 {
		getters.Go(func() {
			for stop.Err() == nil {
				gone, cancel := context.WithTimeout(stop, time.Duration(rand.IntN(500))*time.Microsecond)
				all, err := r.s.Take(gone, r.request(time.Minute), 1+rand.IntN(3))
				cancel()
				if err == nil {
					add(all)
				} else if len(all) > 0 {
					t.Errorf("%q and %v", texts(all), err)
				}
			}
		})
	}
	for i := range count {
		ok, err := r.s.Put(ctx, r.request(time.Minute), []queue.Item{{Format: payload.CBOR, Data: []byte(fmt.Sprint(i))}}, time.Hour)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	end()
	getters.Wait()
	r.crash()
	for {
		all, err := r.s.Take(ctx, r.request(0), 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			break
		}
		add(all)
	}
	for i := range count {
		if n := got[fmt.Sprint(i)]; n != 1 {
			t.Fatalf("item %d was got %d times", i, n)
		}
	}
}
