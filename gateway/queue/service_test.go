package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

var ctx = context.Background()

// blobs keeps blobs in memory.
type blobs struct{ m sync.Map }

func (b *blobs) PutBlob(_ context.Context, data []byte) (payload.Ref, error) {
	ref := payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	b.m.Store(ref.Digest, data)
	return ref, nil
}

func (b *blobs) ReadBlob(_ context.Context, ref payload.Ref) ([]byte, error) {
	data, ok := b.m.Load(ref.Digest)
	if !ok {
		return nil, fault.New(fault.NotFound, "blob %q", ref.Digest)
	}
	return data.([]byte), nil
}

// rig is a service over a log that can be started again.
type rig struct {
	t      *testing.T
	dir    string
	engine *jetstream.Engine
	blobs  *blobs
	s      *queue.Service
	id     string
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), blobs: &blobs{}, id: ident.New(ident.Queue)}
	r.open()
	t.Cleanup(func() { r.close() })
	return r
}

func (r *rig) open() {
	r.t.Helper()
	engine, err := jetstream.Open(ctx, flowtest.Config(r.t, r.dir), slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	r.engine = engine
	r.s = r.service()
}

func (r *rig) service() *queue.Service {
	return queue.New(queue.Deps{Log: r.engine.Queues(), Blobs: r.blobs, Logger: slog.New(slog.DiscardHandler)})
}

func (r *rig) close() {
	if err := r.engine.Close(); err != nil {
		r.t.Error(err)
	}
}

// crash goes on with what is on the disk at this moment; of a cluster, which outlives us, with what it has.
func (r *rig) crash() {
	r.t.Helper()
	if flowtest.Clustered() != nil {
		r.close()
		r.open()
		return
	}
	dir := r.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
		r.t.Fatal(err)
	}
	r.close()
	r.dir = dir
	r.open()
}

func (r *rig) request(wait time.Duration) queue.Request {
	return queue.Request{QueueID: r.id, ID: ident.Random(22), Wait: wait}
}

func items(values ...string) (all []queue.Item) {
	for _, v := range values {
		all = append(all, queue.Item{Format: payload.CBOR, Data: []byte(v)})
	}
	return all
}

func texts(all []queue.Item) (values []string) {
	for _, i := range all {
		values = append(values, string(i.Data))
	}
	return values
}

func (r *rig) put(values ...string) queue.Request {
	r.t.Helper()
	q := r.request(0)
	if ok, err := r.s.Put(ctx, q, items(values...), time.Hour); !ok || err != nil {
		r.t.Fatalf("put: %t, %v", ok, err)
	}
	return q
}

func (r *rig) take(q queue.Request, count int, want ...string) {
	r.t.Helper()
	got, err := r.s.Take(ctx, q, count)
	if err != nil || fmt.Sprint(texts(got)) != fmt.Sprint(want) {
		r.t.Errorf("took %q, want %q: %v", texts(got), want, err)
	}
}

func (r *rig) length(want int) {
	r.t.Helper()
	if n, err := r.s.Length(ctx, r.id, ""); n != want || err != nil {
		r.t.Errorf("%d items, want %d: %v", n, want, err)
	}
}

func TestOrder(t *testing.T) {
	r := newRig(t)
	r.put("a")
	r.put("b", "c", "d")
	r.length(4)
	r.take(r.request(0), 1, "a")
	r.take(r.request(0), 2, "b", "c")
	r.crash()
	r.length(1)
	r.put("e")
	r.take(r.request(0), 10, "d", "e")
	r.take(r.request(0), 10)
	r.crash()
	r.length(0)
	r.put("f")
	r.take(r.request(time.Minute), 10, "f")
}

func TestAskedAgain(t *testing.T) {
	r := newRig(t)
	put := r.put("a", "b", "c")
	again := func() {
		t.Helper()
		if ok, err := r.s.Put(ctx, put, items("a", "b", "c"), time.Hour); !ok || err != nil {
			t.Errorf("put again: %t, %v", ok, err)
		}
	}
	again()
	r.length(3)
	take := r.request(0)
	r.take(take, 2, "a", "b")
	for range 2 {
		r.take(take, 2, "a", "b")
		again()
		r.length(1)
		r.crash()
	}
	r.take(r.request(0), 2, "c")
	r.take(take, 2, "a", "b")
	r.crash()
	again()
	r.length(0)
	r.take(take, 2, "a", "b")
}

func TestLargeItems(t *testing.T) {
	r := newRig(t)
	large := make([]byte, queue.MaxItem)
	var all []queue.Item
	for i := range 10 {
		large[0] = byte(i)
		all = append(all, queue.Item{Format: payload.Pickle, Data: append([]byte(nil), large...)})
	}
	if ok, err := r.s.Put(ctx, r.request(0), all, time.Hour); !ok || err != nil {
		t.Fatal(ok, err)
	}
	r.crash()
	n := 0
	for range 5 {
		got, err := r.s.Take(ctx, r.request(0), 2)
		if err != nil || len(got) != 2 {
			t.Fatal(len(got), err)
		}
		for _, item := range got {
			if len(item.Data) != queue.MaxItem || item.Data[0] != byte(n) || item.Format != payload.Pickle {
				t.Errorf("item %d is another", n)
			}
			n++
		}
	}
}

func TestFull(t *testing.T) {
	r := newRig(t)
	many := make([]string, queue.MaxItems)
	r.put(many...)
	if ok, err := r.s.Put(ctx, r.request(0), items("x"), time.Hour); ok || err != nil {
		t.Errorf("put into a full one: %t, %v", ok, err)
	}
	var waiting sync.WaitGroup
	var done atomic.Int32
	for _, n := range []int{2, 1} { // what needs more room and came first goes first
		started := make(chan struct{})
		waiting.Go(func() {
			close(started)
			ok, err := r.s.Put(ctx, r.request(time.Minute), items(make([]string, n)...), time.Hour)
			if !ok || err != nil {
				t.Errorf("%t, %v", ok, err)
			}
			done.Add(1)
		})
		<-started
		for r.waiting() < 3-n {
			// It takes the lock of the partition, as the other does, and nothing else tells.
			r.length(queue.MaxItems)
		}
	}
	r.take(r.request(0), 1, "")
	r.length(queue.MaxItems - 1)
	if done.Load() != 0 {
		t.Error("somebody was quicker than who came first")
	}
	r.take(r.request(0), 2, "", "")
	waiting.Wait()
	r.length(queue.MaxItems)
}

// waiting is how many wait for room.
func (r *rig) waiting() int { return queue.Putters(r.s, r.id) }

func TestWhoWaitsLongestIsServedFirst(t *testing.T) {
	r := newRig(t)
	const getters = 50
	got := make([]chan string, getters)
	for i := range getters {
		got[i] = make(chan string, 1)
		go func() {
			all, err := r.s.Take(ctx, r.request(time.Minute), 1)
			if err != nil || len(all) != 1 {
				t.Errorf("%v, %v", all, err)
				all = items("none")
			}
			got[i] <- string(all[0].Data)
		}()
		for queue.Getters(r.s, r.id) <= i {
			r.length(0)
		}
	}
	for i := range getters {
		r.put(fmt.Sprint(i))
	}
	for i := range getters {
		if v := <-got[i]; v != fmt.Sprint(i) {
			t.Errorf("getter %d got %q", i, v)
		}
	}
}

func TestWaitEnds(t *testing.T) {
	r := newRig(t)
	r.take(r.request(time.Millisecond), 1)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if got, err := r.s.Take(gone, r.request(time.Minute), 1); len(got) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", got, err)
	}
	r.put("a")
	r.take(r.request(0), 1, "a") // nobody who has gone got it
}

func TestPartitionsAndTheirTime(t *testing.T) {
	r := newRig(t)
	in := func(partition string, ttl time.Duration) {
		q := r.request(0)
		q.Partition = partition
		if ok, err := r.s.Put(ctx, q, items("a", "b"), ttl); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	in("", time.Hour)
	in("p", time.Hour)
	in("short", time.Nanosecond)
	check := func(partitions, items uint64) {
		t.Helper()
		if total, err := r.s.Total(ctx, r.id); total != (queue.Total{Partitions: partitions, Items: items}) || err != nil {
			t.Errorf("%+v: %v", total, err)
		}
	}
	check(2, 4)
	r.crash()
	check(2, 4)
	if n, err := r.s.Length(ctx, r.id, "short"); n != 0 || err != nil {
		t.Errorf("%d items whose time is over: %v", n, err)
	}
	if err := r.s.Clear(ctx, r.id, "p"); err != nil {
		t.Fatal(err)
	}
	check(1, 2)
	r.crash()
	check(1, 2)
	if err := r.s.ClearAll(ctx, r.id); err != nil {
		t.Fatal(err)
	}
	check(0, 0)
}

func TestRead(t *testing.T) {
	r := newRig(t)
	const count = 3000
	var want []string
	for i := range count {
		want = append(want, fmt.Sprint(i))
	}
	r.put(want[:count-1]...)
	r.take(r.request(0), 1, "0")
	var got []string
	enough := errors.New("enough")
	err := r.s.Read(ctx, queue.Reading{QueueID: r.id, Wait: time.Minute}, func(page []queue.Item, cursor uint64) error {
		got = append(got, texts(page)...)
		switch len(got) {
		case count - 2:
			r.put(want[count-1])
		case count - 1:
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || fmt.Sprint(got) != fmt.Sprint(want[1:]) {
		t.Errorf("%d items: %v", len(got), err)
	}
	r.length(count - 1) // all are there still
}

func TestDropTellsWhoWaits(t *testing.T) {
	r := newRig(t)
	errs := make(chan error, 1)
	go func() {
		_, err := r.s.Take(ctx, r.request(time.Minute), 1)
		errs <- err
	}()
	for queue.Getters(r.s, r.id) == 0 {
		r.length(0)
	}
	if err := r.s.Drop(ctx, r.id); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; err == nil {
		t.Error("got something of a deleted queue")
	}
	if _, err := r.s.Put(ctx, r.request(0), items("a"), time.Hour); !errors.Is(err, fault.NotFound) {
		t.Errorf("put into a deleted queue: %v", err)
	}
}

// TestTwoWriters has a second service write the same log, as one that is not quite dead would: nothing is got twice.
func TestTwoWriters(t *testing.T) {
	r := newRig(t)
	r.put("a", "b", "c")
	other := r.service()
	if _, err := other.Length(ctx, r.id, ""); err != nil {
		t.Fatal(err)
	}
	r.take(r.request(0), 1, "a")
	q := r.request(0)
	if got, err := other.Take(ctx, q, 1); !errors.Is(err, fault.Unavailable) {
		t.Errorf("took %q from a front that had moved: %v", texts(got), err)
	}
	if got, err := other.Take(ctx, q, 1); err != nil || texts(got)[0] != "b" {
		t.Errorf("took %q: %v", texts(got), err)
	}
}

// TestOldRecordsGo takes far more than is kept for those who ask again.
func TestOldRecordsGo(t *testing.T) {
	r := newRig(t)
	stop, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.s.Run(stop) }()
	const rounds = 6000
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range rounds / 8 {
				r.put("x")
				r.take(r.request(time.Minute), 1, "x")
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := r.engine.Queues().Records(ctx, r.id, "", func(*queue.Record) error {
		n++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n > 2*rounds-1000 {
		t.Errorf("%d records of %d are left", n, 2*rounds)
	}
	last := r.put("last")
	r.crash()
	if ok, err := r.s.Put(ctx, last, items("last"), time.Hour); !ok || err != nil {
		t.Error(ok, err)
	}
	r.take(r.request(0), 10, "last")
}
