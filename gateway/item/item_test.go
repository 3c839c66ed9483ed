package item

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// memory is a Log whose puts the test lets go one by one.
type memory struct {
	puts chan put

	mu     sync.Mutex
	values []*payload.Payload
	reads  int
}

type put struct {
	b    Batch
	done func(error)
}

func (m *memory) PutItems(b Batch, done func(error)) { m.puts <- put{b, done} }

// store lets a put succeed.
func (m *memory) store(p put) {
	m.mu.Lock()
	m.values = append(m.values[:p.b.First-1], p.b.Values...)
	m.mu.Unlock()
	p.done(nil)
}

func (m *memory) LastItem(context.Context, payload.Key) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.values)), nil
}

func (m *memory) Items(_ context.Context, r Range) (Batch, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	rest := m.values[r.From-1:]
	return Batch{r.Key, r.From, rest[:min(len(rest), r.Limit)]}, 1, nil
}

func (m *memory) PurgeItems(context.Context, string) error { return nil }

// instant is a clock on which nothing is to be waited for.
type instant struct{}

func (instant) Now() time.Time { return time.Time{} }
func (instant) AfterFunc(_ time.Duration, f func()) task.Timer {
	return time.AfterFunc(0, f)
}

func values(first uint64, n, size int) []*payload.Payload {
	list := make([]*payload.Payload, n)
	for i := range list {
		data := make([]byte, size)
		copy(data, strconv.FormatUint(first+uint64(i), 10))
		list[i] = &payload.Payload{Format: payload.Pickle, Inline: data}
	}
	return list
}

func newStream(t *testing.T) (*Stream, *memory) {
	t.Helper()
	m := &memory{puts: make(chan put, 1)}
	k := NewKeeper(Deps{Log: m, Clock: instant{}, Failed: func(payload.Key, error) {}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := k.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return k.Stream(payload.Key{CallID: ident.New(ident.Call)}, true), m
}

func (s *Stream) memory() (waiting, tail int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.tailing
}

// TestSlowLog has a log that does not come after hold up the generator, with a bounded number of items in memory.
func TestSlowLog(t *testing.T) {
	const size, all = 1000, 2000
	s, m := newStream(t)
	added := make(chan error, 1)
	go func() {
		for i := uint64(1); i <= all; i += 10 {
			if err := s.Add(context.Background(), i, values(i, 10, size)); err != nil {
				added <- err
				return
			}
		}
		added <- nil
	}()
	for n := uint64(0); n < all; {
		p := <-m.puts
		if waiting, _ := s.memory(); waiting > MaxWaiting+10*(size+overhead) {
			t.Fatalf("%d bytes wait", waiting)
		}
		if p.b.First != n+1 {
			t.Fatalf("items from %d on are put, want those from %d on", p.b.First, n+1)
		}
		n += uint64(len(p.b.Values))
		m.store(p)
	}
	if err := <-added; err != nil {
		t.Error(err)
	}
	if waiting, tail := s.memory(); waiting != 0 || tail != 0 {
		t.Errorf("%d bytes wait and %d are kept for nobody", waiting, tail)
	}
}

// TestSlowReader keeps little for a reader that does not read.
func TestSlowReader(t *testing.T) {
	s, m := newStream(t)
	woken := make(chan struct{}, 100)
	r := s.Read(0, func() { woken <- struct{}{} })
	for i := range uint64(20) {
		if err := s.Add(t.Context(), 100*i+1, values(100*i+1, 100, 1000)); err != nil {
			t.Fatal(err)
		}
		m.store(<-m.puts)
		<-woken
		if _, tail := s.memory(); tail > MaxTail {
			t.Fatalf("%d bytes are kept", tail)
		}
	}
	b, more, err := r.Take(t.Context(), 10_000)
	if err != nil || b.First != 1 || len(b.Values) == 0 || len(b.Values) > 11 || !more {
		t.Errorf("%d items from %d on, more %t, %v", len(b.Values), b.First, more, err)
	}
	for more {
		if b, more, err = r.Take(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if last := b.First + uint64(len(b.Values)) - 1; last != Window {
		t.Errorf("given up to %d", last)
	}
	r.Seen(1950)
	reads := m.reads
	b, _, err = r.Take(t.Context(), 1<<20)
	if err != nil || b.First != 1951 || len(b.Values) != 50 || m.reads != reads || !r.Drained() {
		t.Errorf("%d items from %d on, %v", len(b.Values), b.First, err)
	}
	r.Close()
	if _, tail := s.memory(); tail != 0 {
		t.Errorf("%d bytes are kept for nobody", tail)
	}
}

// TestPutAgain has the log fail; what came meanwhile is put with what failed.
func TestPutAgain(t *testing.T) {
	s, m := newStream(t)
	if err := s.Add(t.Context(), 1, values(1, 5, 1)); err != nil {
		t.Fatal(err)
	}
	p := <-m.puts
	if err := s.Add(t.Context(), 6, values(6, 5, 1)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan uint64, 1)
	s.End(func(last uint64) { ended <- last })
	p.done(fault.New(fault.Unavailable, "away"))
	p = <-m.puts
	if p.b.First != 1 || len(p.b.Values) != 10 {
		t.Errorf("%d items from %d on", len(p.b.Values), p.b.First)
	}
	m.store(p)
	if last := <-ended; last != 10 {
		t.Errorf("ended with %d", last)
	}
}

func TestGapsAndRepeats(t *testing.T) {
	s, m := newStream(t)
	if err := s.Add(t.Context(), 2, values(2, 1, 1)); !errors.Is(err, fault.Internal) {
		t.Errorf("an item without those before: %v", err)
	}
	for range 2 {
		if err := s.Add(t.Context(), 1, values(1, 5, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(t.Context(), 3, values(3, 5, 1)); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 7; {
		p := <-m.puts
		n += len(p.b.Values)
		m.store(p)
	}
	ended := make(chan uint64, 1)
	s.End(func(last uint64) { ended <- last })
	if last := <-ended; last != 7 {
		t.Errorf("ended with %d", last)
	}
}

// TestTakenUp is a stream of which the log has items already.
func TestTakenUp(t *testing.T) {
	s, m := newStream(t)
	m.values = values(1, 10, 1)
	u := s.k.Stream(s.key, false)
	r := u.Read(4, func() {})
	b, more, err := r.Take(t.Context(), 1000)
	if err != nil || b.First != 5 || len(b.Values) != 6 || more || !r.Drained() {
		t.Errorf("%d items from %d on, more %t, %v", len(b.Values), b.First, more, err)
	}
	ended := make(chan uint64, 1)
	s.k.Stream(s.key, false).End(func(last uint64) { ended <- last })
	if last := <-ended; last != 10 {
		t.Errorf("ended with %d", last)
	}
}
