package dict_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/gateway/dict/dicttest"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

var ctx = context.Background()

// blobs keeps blobs in memory.
type blobs struct {
	m       sync.Map
	claimed atomic.Int32
}

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

func (b *blobs) ClaimBlob(_ context.Context, digest string) error {
	b.claimed.Add(1)
	if _, ok := b.m.Load(digest); !ok {
		return fault.New(fault.NotFound, "blob %q", digest)
	}
	return nil
}

// entries are a store's, with faults.
type entries struct {
	dict.Entries
	// stores is how many entries are stored before the rest is refused; below 0: all.
	stores atomic.Int64
	// age is added to that of entries.
	age time.Duration
	// removes says whether entries are removed.
	removes atomic.Bool
}

var errCut = fault.New(fault.Unavailable, "the store is away")

func (e *entries) PutEntries(dictID string, all []dict.Entry, c dict.Condition, done func([]error)) {
	n := e.stores.Load()
	if n < 0 {
		e.Entries.PutEntries(dictID, all, c, done)
		return
	}
	e.Entries.PutEntries(dictID, all[:min(int(n), len(all))], c, func([]error) { done([]error{errCut}) })
}

func (e *entries) RemoveEntry(ctx context.Context, place uint64) error {
	if !e.removes.Load() {
		return errCut
	}
	return e.Entries.RemoveEntry(ctx, place)
}

func (e *entries) Entry(ctx context.Context, dictID string, slot dict.Slot) (dict.Stored, error) {
	found, err := e.Entries.Entry(ctx, dictID, slot)
	found.At = found.At.Add(-e.age)
	return found, err
}

type rig struct {
	t       *testing.T
	dir     string
	engine  *jetstream.Engine
	entries *entries
	blobs   *blobs
	s       *dict.Service
	id      string
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), blobs: &blobs{}, id: ident.New(ident.Dict)}
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
	r.entries = &entries{Entries: engine.Dicts()}
	r.entries.stores.Store(-1)
	r.entries.removes.Store(true)
	r.s = dict.New(dict.Deps{Entries: r.entries, Journal: engine.Dicts(), Blobs: r.blobs})
	if err := r.s.Recover(ctx); err != nil {
		r.t.Fatal(err)
	}
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

func (r *rig) all() map[string]string {
	r.t.Helper()
	found, err := r.read(r.id)
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

func (r *rig) read(id string) (map[string]string, error) {
	found := map[string]string{}
	err := r.s.Read(ctx, id, 0, func(page []dict.Entry, _ uint64) error {
		for _, e := range page {
			found[string(e.Key.Data)] = string(e.Value.Inline)
		}
		return nil
	})
	return found, err
}

func (r *rig) has(want map[string]string) {
	r.t.Helper()
	if found := r.all(); !maps.Equal(want, found) {
		r.t.Errorf("%d entries are others than the %d wanted", len(found), len(want))
	}
	if n, err := r.s.Count(ctx, r.id); n != uint64(len(want)) || err != nil {
		r.t.Errorf("%d entries, want %d: %v", n, len(want), err)
	}
}

func many(n int, value string) (all []dict.Entry, want map[string]string) {
	want = map[string]string{}
	for i := range n {
		key := fmt.Sprint(i)
		all = append(all, dicttest.Entry(key, value))
		want[key] = value
	}
	return all, want
}

func TestPutOnce(t *testing.T) {
	r := newRig(t)
	first, second := dicttest.Entry("a", "1"), dicttest.Entry("a", "2")
	for _, c := range []struct {
		entry   dict.Entry
		created bool
	}{{first, true}, {second, false}, {first, true}} { // the last one is asked again
		created, err := r.s.Put(ctx, r.id, c.entry, true)
		if created != c.created || err != nil {
			t.Errorf("%q: created %t, %v", c.entry.Value.Inline, created, err)
		}
	}
	r.has(map[string]string{"a": "1"})
	if _, err := r.s.Put(ctx, r.id, second, false); err != nil {
		t.Error(err)
	}
	r.crash()
	r.has(map[string]string{"a": "2"})
}

func TestOneOfManyPutsFirst(t *testing.T) {
	r := newRig(t)
	for round := range 20 {
		var wg sync.WaitGroup
		var created atomic.Int32
		for range 8 {
			wg.Go(func() {
				first, err := r.s.Put(ctx, r.id, dicttest.Entry(fmt.Sprint(round), "x"), true)
				if err != nil {
					t.Error(err)
				}
				if first {
					created.Add(1)
				}
			})
		}
		wg.Wait()
		if n := created.Load(); n != 1 {
			t.Errorf("%d were first", n)
		}
	}
}

func TestPop(t *testing.T) {
	r := newRig(t)
	e := dicttest.Entry("a", "1")
	put := func() {
		if _, err := r.s.Put(ctx, r.id, e, false); err != nil {
			t.Fatal(err)
		}
	}
	put()
	request := ident.Random(22)
	pop := func() {
		t.Helper()
		v, err := r.s.Pop(ctx, r.id, e.Key, request)
		if err != nil || string(v.Inline) != "1" {
			t.Errorf("%q: %v", v.Inline, err)
		}
	}
	pop()
	r.has(map[string]string{})
	e.Value.Inline = []byte("2")
	put() // what is asked again is not this one
	pop()
	r.crash()
	pop()
	r.has(map[string]string{"a": "2"})

	// A crash between writing it down and doing it: it is done, and the answer is there for who asks again.
	r.entries.removes.Store(false)
	request = ident.Random(22)
	if _, err := r.s.Pop(ctx, r.id, e.Key, request); !errors.Is(err, fault.Unavailable) {
		t.Error(err)
	}
	r.crash()
	r.has(map[string]string{})
	v, err := r.s.Pop(ctx, r.id, e.Key, request)
	if err != nil || string(v.Inline) != "2" {
		t.Errorf("%q: %v", v.Inline, err)
	}
	if _, err := r.s.Pop(ctx, r.id, e.Key, ident.Random(22)); !errors.Is(err, fault.NotFound) {
		t.Errorf("of a key without a value: %v", err)
	}
}

func TestEachIsPoppedOnce(t *testing.T) {
	r := newRig(t)
	all, _ := many(200, "x")
	if err := r.s.Update(ctx, r.id, all); err != nil {
		t.Fatal(err)
	}
	var popped atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for _, i := range rand.Perm(len(all)) {
				_, err := r.s.Pop(ctx, r.id, all[i].Key, ident.Random(22))
				if err == nil {
					popped.Add(1)
				} else if !errors.Is(err, fault.NotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := int(popped.Load()); n != len(all) {
		t.Errorf("%d popped of %d", n, len(all))
	}
}

// TestAllOrNothing breaks updates and clears off at every point, by a store that goes away and by crashes.
func TestAllOrNothing(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for _, size := range []int{2, 50, 2000} {
			t.Run(fmt.Sprintf("crash=%t/%d", crash, size), func(t *testing.T) { allOrNothing(t, size, crash) })
		}
	}
}

func allOrNothing(t *testing.T, size int, crash bool) {
	r := newRig(t)
	long := string(make([]byte, 300)) // 2,000 of these are a blob
	old, want := many(size, "old"+long)
	if err := r.s.Update(ctx, r.id, old); err != nil {
		t.Fatal(err)
	}
	r.has(want)
	for i, stored := range []int{0, size / 2, size - 1} {
		next, after := many(size, fmt.Sprint(i, long))
		r.entries.stores.Store(int64(stored))
		if err := r.s.Update(ctx, r.id, next); !errors.Is(err, fault.Unavailable) {
			t.Errorf("broken off after %d: %v", stored, err)
		}
		if _, err := r.s.Get(ctx, r.id, next[0].Key); !errors.Is(err, fault.Unavailable) {
			t.Errorf("half of an update was to be seen: %v", err)
		}
		if crash {
			r.crash()
		}
		r.entries.stores.Store(-1)
		r.has(after)
	}
	if err := r.s.Clear(ctx, r.id); err != nil {
		t.Fatal(err)
	}
	r.has(map[string]string{})
	if n := intents(t, r); n != 0 {
		t.Errorf("%d intents are left", n)
	}
}

func intents(t *testing.T, r *rig) (n int) {
	t.Helper()
	if err := r.engine.Dicts().Intents(ctx, "", func(dict.Intent) error {
		n++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUpdatesAreSeenWhole reads two keys that are always changed together, in both orders.
func TestUpdatesAreSeenWhole(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := range 300 {
			all, _ := many(10, fmt.Sprint(i))
			if err := r.s.Update(ctx, r.id, all); err != nil {
				t.Error(err)
			}
		}
		close(stop)
	})
	number := func(key string) (n int) {
		v, err := r.s.Get(ctx, r.id, dicttest.Entry(key, "").Key)
		if err == nil {
			_, err = fmt.Sscan(string(v.Inline), &n)
		} else if errors.Is(err, fault.NotFound) {
			return -1
		}
		if err != nil {
			t.Error(err)
		}
		return n
	}
	for {
		select {
		case <-stop:
			wg.Wait()
			return
		default:
		}
		// What is read later is not older, whichever key it is.
		a, b, c := number("0"), number("9"), number("0")
		if a > b || b > c {
			t.Fatalf("read %d, then %d, then %d", a, b, c)
		}
	}
}

func TestReadingKeepsAnEntry(t *testing.T) {
	r := newRig(t)
	ref, err := r.blobs.PutBlob(ctx, make([]byte, payload.MaxInline+1))
	if err != nil {
		t.Fatal(err)
	}
	e := dicttest.Entry("a", "")
	e.Value = payload.Payload{Format: payload.Pickle, Blob: &ref}
	if _, err := r.s.Put(ctx, r.id, e, false); err != nil {
		t.Fatal(err)
	}
	place := func() uint64 {
		found, err := r.engine.Dicts().Entry(ctx, r.id, e.Key.Slot())
		if err != nil {
			t.Fatal(err)
		}
		return found.Place
	}
	first, claimed := place(), r.blobs.claimed.Load()
	for age, written := range map[time.Duration]bool{0: false, dict.FreshFor + time.Hour: true} {
		r.entries.age = age
		before := place()
		if has, err := r.s.Has(ctx, r.id, e.Key); !has || err != nil {
			t.Fatal(has, err)
		}
		if (place() > before) != written {
			t.Errorf("age %s: written again: %t", age, !written)
		}
	}
	if place() <= first || r.blobs.claimed.Load() != claimed+1 {
		t.Errorf("its blob was claimed %d times", r.blobs.claimed.Load()-claimed)
	}
	e.Value.Blob.Digest = ident.Digest([]byte("another"))
	if _, err := r.s.Put(ctx, r.id, e, false); !errors.Is(err, fault.NotFound) {
		t.Errorf("a value that is nowhere: %v", err)
	}
}

func TestDrop(t *testing.T) {
	r := newRig(t)
	all, _ := many(100, "x")
	if err := r.s.Update(ctx, r.id, all); err != nil {
		t.Fatal(err)
	}
	if err := r.s.Drop(ctx, r.id); err != nil {
		t.Fatal(err)
	}
	r.has(map[string]string{})
}

func TestChecks(t *testing.T) {
	good := dicttest.Entry("a", "1")
	bad := map[string]func(*dict.Entry){
		"no key":        func(e *dict.Entry) { e.Key.Data = nil },
		"long key":      func(e *dict.Entry) { e.Key.Data = make([]byte, dict.MaxKey+1) },
		"key's format":  func(e *dict.Entry) { e.Key.Format = 9 },
		"value's":       func(e *dict.Entry) { e.Value.Format = 0 },
		"large inline":  func(e *dict.Entry) { e.Value.Inline = make([]byte, payload.MaxInline+1) },
		"large blob":    func(e *dict.Entry) { e.Value.Blob = &payload.Ref{Digest: ident.Digest(nil), Size: dict.MaxValue + 1} },
		"blob's digest": func(e *dict.Entry) { e.Value.Blob = &payload.Ref{Digest: "x", Size: 1} },
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range bad {
		e := good
		spoil(&e)
		if err := e.Check(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseEntries(f *testing.F) {
	f.Add(dict.AppendEntries(nil, []dict.Entry{dicttest.Entry("a", "1"), dicttest.Entry("b", "")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := dict.ParseEntries(data)
		if err != nil {
			return
		}
		again, err := dict.ParseEntries(dict.AppendEntries(nil, all))
		if diff := cmp.Diff(all, again); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}
