// Package dicttest is the conformance suite of package dict's ports.
package dicttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Store is both ports.
type Store interface {
	dict.Entries
	dict.Journal
}

// Entry returns an entry of texts.
func Entry(key, value string) dict.Entry {
	return dict.Entry{
		Key:   dict.Key{Format: payload.CBOR, Data: []byte(key)},
		Value: payload.Payload{Format: payload.Pickle, Inline: []byte(value)}, Request: ident.Random(22),
	}
}

// Put puts entries and waits for them.
func Put(s dict.Entries, dictID string, c dict.Condition, entries ...dict.Entry) error {
	done := make(chan error, 1)
	s.PutEntries(dictID, entries, c, func(errs []error) { done <- errors.Join(errs...) })
	return <-done
}

// Run tests a store: open returns an empty one.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Run("entries", func(t *testing.T) { entries(t, open(t)) })
	t.Run("conditions", func(t *testing.T) { conditions(t, open(t)) })
	t.Run("read", func(t *testing.T) { read(t, open(t)) })
	t.Run("intents", func(t *testing.T) { intents(t, open(t)) })
	t.Run("pops", func(t *testing.T) { pops(t, open(t)) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func entries(t *testing.T, s Store) {
	ctx := context.Background()
	id, other := ident.New(ident.Dict), ident.New(ident.Dict)
	a, b := Entry("a", "1"), Entry("b", "2")
	b.Value = payload.Payload{Format: payload.CBOR, Blob: &payload.Ref{Digest: ident.Digest([]byte("b")), Size: 1 << 20}}
	must(t, Put(s, id, dict.Condition{}, a, b))
	must(t, Put(s, other, dict.Condition{}, Entry("a", "of another")))
	for _, want := range []dict.Entry{a, b} {
		found, err := s.Entry(ctx, id, want.Key.Slot())
		if diff := cmp.Diff(want, found.Entry); diff != "" || err != nil || time.Since(found.At).Abs() > time.Minute {
			t.Errorf("%v, %s, %v", err, diff, found.At)
		}
	}
	if _, err := s.Entry(ctx, id, Entry("c", "").Key.Slot()); !errors.Is(err, fault.NotFound) {
		t.Errorf("a key without a value: %v", err)
	}
	must(t, Put(s, id, dict.Condition{}, Entry("a", "3")))
	n, err := s.CountEntries(ctx, id)
	if n != 2 || err != nil {
		t.Errorf("%d entries: %v", n, err)
	}
	found, err := s.Entry(ctx, id, a.Key.Slot())
	must(t, err)
	last, err := s.LastPlace(ctx)
	if last != found.Place || err != nil {
		t.Errorf("last place %d, of the last entry %d: %v", last, found.Place, err)
	}
	must(t, s.RemoveEntry(ctx, found.Place))
	must(t, s.RemoveEntry(ctx, found.Place)) // there is none any more
	if _, err := s.Entry(ctx, id, a.Key.Slot()); !errors.Is(err, fault.NotFound) {
		t.Errorf("a removed key: %v", err)
	}
	must(t, s.PurgeEntries(ctx, id))
	if n, err := s.CountEntries(ctx, id); n != 0 || err != nil {
		t.Errorf("%d entries after a purge: %v", n, err)
	}
	if n, err := s.CountEntries(ctx, other); n != 1 || err != nil {
		t.Errorf("%d entries of another dict after a purge: %v", n, err)
	}
}

func conditions(t *testing.T, s Store) {
	ctx := context.Background()
	id := ident.New(ident.Dict)
	must(t, Put(s, id, dict.Condition{If: true}, Entry("a", "1")))
	if err := Put(s, id, dict.Condition{If: true}, Entry("a", "2")); !errors.Is(err, fault.Exists) {
		t.Errorf("put where there is one: %v", err)
	}
	found, err := s.Entry(ctx, id, Entry("a", "").Key.Slot())
	if err != nil || string(found.Value.Inline) != "1" {
		t.Errorf("%q: %v", found.Value.Inline, err)
	}
	must(t, Put(s, id, dict.Condition{If: true, Place: found.Place}, Entry("a", "3")))
	if err := Put(s, id, dict.Condition{If: true, Place: found.Place}, Entry("a", "4")); !errors.Is(err, fault.Exists) {
		t.Errorf("put in the place of what was replaced: %v", err)
	}
	found, err = s.Entry(ctx, id, Entry("a", "").Key.Slot())
	must(t, err)
	must(t, s.RemoveEntry(ctx, found.Place))
	must(t, Put(s, id, dict.Condition{If: true}, Entry("a", "5")))
}

func read(t *testing.T, s Store) {
	ctx := context.Background()
	id := ident.New(ident.Dict)
	const count = 3000
	var all []dict.Entry
	for i := range count {
		all = append(all, Entry(fmt.Sprint(i), string(make([]byte, 1000))))
	}
	must(t, Put(s, id, dict.Condition{}, all...))
	seen := map[string]bool{}
	pages, after := 0, uint64(0)
	for more := true; more; pages++ {
		more = false
		must(t, s.ReadEntries(ctx, id, after, func(e dict.Stored) bool {
			if e.Place <= after {
				t.Fatalf("place %d after %d", e.Place, after)
			}
			seen[string(e.Key.Data)], after, more = true, e.Place, true
			return true
		}))
	}
	if len(seen) != count || pages < 3 {
		t.Errorf("%d entries in %d pages", len(seen), pages)
	}
}

func intents(t *testing.T, s Store) {
	ctx := context.Background()
	id, other := ident.New(ident.Dict), ident.New(ident.Dict)
	all := []dict.Intent{
		{DictID: id, Entries: []dict.Entry{Entry("a", "1"), Entry("b", "2")}},
		{DictID: other, Body: &payload.Ref{Digest: ident.Digest([]byte("body")), Size: 5}},
		{DictID: id, Clear: true},
	}
	for i := range all {
		place, err := s.PutIntent(ctx, all[i])
		must(t, err)
		all[i].Place = place
	}
	collect := func(id string) (found []dict.Intent) {
		must(t, s.Intents(ctx, id, func(in dict.Intent) error {
			found = append(found, in)
			return nil
		}))
		return found
	}
	if diff := cmp.Diff(all, collect("")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]dict.Intent{all[0], all[2]}, collect(id)); diff != "" {
		t.Error(diff)
	}
	must(t, s.DropIntent(ctx, all[0].Place))
	must(t, s.DropIntent(ctx, all[0].Place))
	if diff := cmp.Diff(all[2:], collect(id)); diff != "" {
		t.Error(diff)
	}
}

func pops(t *testing.T, s Store) {
	ctx := context.Background()
	p := dict.Pop{DictID: ident.New(ident.Dict), Request: ident.Random(22), Value: Entry("a", "1").Value, Entry: 1 << 40}
	if _, err := s.Pop(ctx, p.DictID, p.Request); !errors.Is(err, fault.NotFound) {
		t.Errorf("a request that is not known: %v", err)
	}
	must(t, s.Pops(ctx, time.Minute, func(dict.Pop) error { return errors.New("there is none") }))
	must(t, s.PutPop(ctx, p))
	found, err := s.Pop(ctx, p.DictID, p.Request)
	if err != nil || found.Entry != p.Entry || string(found.Value.Inline) != "1" {
		t.Errorf("%+v: %v", found, err)
	}
	n := 0
	must(t, s.Pops(ctx, time.Minute, func(found dict.Pop) error {
		n++
		if found.Entry != p.Entry {
			t.Errorf("%+v", found)
		}
		return nil
	}))
	if n != 1 {
		t.Errorf("%d removals", n)
	}
}
