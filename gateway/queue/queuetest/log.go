// Package queuetest is the conformance suite of package queue's ports.
package queuetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Append writes a record and returns its place.
func Append(l queue.Log, r *queue.Record, after *uint64) (uint64, error) {
	type fate struct {
		place uint64
		err   error
	}
	done := make(chan fate, 1)
	l.Append(r, after, func(place uint64, err error) { done <- fate{place, err} })
	f := <-done
	return f.place, f.err
}

// Log tests a log: open returns an empty one.
func Log(t *testing.T, open func(t *testing.T) queue.Log) {
	t.Run("records come back", func(t *testing.T) { records(t, open(t)) })
	t.Run("a record has a place", func(t *testing.T) { fence(t, open(t)) })
	t.Run("trim and purge", func(t *testing.T) { trim(t, open(t)) })
	t.Run("clear all", func(t *testing.T) { clearAll(t, open(t)) })
}

func put(queueID, partition string, first uint64) *queue.Record {
	return &queue.Record{
		QueueID: queueID, Partition: partition, Kind: queue.Put, Request: ident.Random(22), First: first, Count: 1, Length: int(first),
		Expires: time.UnixMilli(1_800_000_000_000 + int64(first)), Size: 3, Body: []byte{1, 1, byte(first)},
	}
}

func mustAppend(t *testing.T, l queue.Log, r *queue.Record) {
	t.Helper()
	place, err := Append(l, r, nil)
	if err != nil || place == 0 {
		t.Fatalf("place %d: %v", place, err)
	}
	r.Place = place
}

func all(t *testing.T, l queue.Log, queueID, partition string) (found []*queue.Record) {
	t.Helper()
	err := l.Records(context.Background(), queueID, partition, func(r *queue.Record) error {
		if time.Since(r.At).Abs() > time.Minute {
			t.Errorf("written at %s", r.At)
		}
		r.At = time.Time{}
		found = append(found, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func records(t *testing.T, l queue.Log) {
	id, other := ident.New(ident.Queue), ident.New(ident.Queue)
	binary := "\x00\xff. >*"
	a1, a2, b1 := put(id, "", 1), put(id, "", 2), put(id, binary, 1)
	a2.Kind, a2.Request, a2.Body, a2.Blob = queue.Clear, "", nil, &payload.Ref{Digest: ident.Digest([]byte("x")), Size: 7}
	for _, r := range []*queue.Record{a1, b1, put(other, "", 9), a2} {
		mustAppend(t, l, r)
	}
	body, err := l.Body(context.Background(), a1.Place)
	if err != nil || string(body) != string(a1.Body) {
		t.Errorf("body %q: %v", body, err)
	}
	a1.Body, b1.Body = nil, nil
	if diff := cmp.Diff([]*queue.Record{a1, a2}, all(t, l, id, "")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]*queue.Record{b1}, all(t, l, id, binary)); diff != "" {
		t.Error(diff)
	}
	newest := map[string]uint64{}
	err = l.Newest(context.Background(), id, func(r *queue.Record) error {
		newest[r.Partition] = r.Place
		return nil
	})
	if diff := cmp.Diff(map[string]uint64{"": a2.Place, binary: b1.Place}, newest); diff != "" || err != nil {
		t.Error(diff, err)
	}
	queues := map[string]int{}
	err = l.Newest(context.Background(), "", func(r *queue.Record) error {
		queues[r.QueueID]++
		return nil
	})
	if diff := cmp.Diff(map[string]int{id: 2, other: 1}, queues); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func fence(t *testing.T, l queue.Log) {
	id := ident.New(ident.Queue)
	none := uint64(0)
	first, err := Append(l, put(id, "p", 1), &none)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Append(l, put(id, "p", 2), &none); !errors.Is(err, fault.Exists) {
		t.Errorf("written where something is: %v", err)
	}
	second, err := Append(l, put(id, "p", 2), &first)
	if err != nil || second <= first {
		t.Errorf("place %d after %d: %v", second, first, err)
	}
	if n := len(all(t, l, id, "p")); n != 2 {
		t.Errorf("%d records", n)
	}
}

// clearAll: such a record comes after what is known of the queue, and only the newest counts.
func clearAll(t *testing.T, l queue.Log) {
	ctx := context.Background()
	id, other := ident.New(ident.Queue), ident.New(ident.Queue)
	p, q := put(id, "p", 1), put(id, "q", 1)
	mustAppend(t, l, p)
	mustAppend(t, l, q)
	mustAppend(t, l, put(other, "p", 1))
	all := func() *queue.Record { return &queue.Record{QueueID: id, Kind: queue.ClearAll, Expires: p.Expires} }
	if _, err := Append(l, all(), &p.Place); !errors.Is(err, fault.Exists) {
		t.Errorf("written after what is not the last: %v", err)
	}
	first, err := Append(l, all(), &q.Place)
	if err != nil || first <= q.Place {
		t.Fatalf("place %d: %v", first, err)
	}
	second, err := Append(l, all(), &first)
	if err != nil || second <= first {
		t.Fatalf("place %d: %v", second, err)
	}
	newest := func() map[string]uint64 {
		found := map[string]uint64{}
		if err := l.Newest(ctx, id, func(r *queue.Record) error {
			if r.Kind == queue.ClearAll {
				found["all"] = r.Place
				return nil
			}
			found[r.Partition] = r.Place
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if diff := cmp.Diff(map[string]uint64{"p": p.Place, "q": q.Place, "all": second}, newest()); diff != "" {
		t.Error(diff)
	}
	if err := l.Purge(ctx, id, second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]uint64{"all": second}, newest()); diff != "" {
		t.Error(diff)
	}
}

func trim(t *testing.T, l queue.Log) {
	ctx := context.Background()
	id := ident.New(ident.Queue)
	var places []uint64
	for i := range uint64(10) {
		r := put(id, "p", i)
		mustAppend(t, l, r)
		places = append(places, r.Place)
		mustAppend(t, l, put(id, "other", i))
	}
	if err := l.Trim(ctx, id, "p", places[7]); err != nil {
		t.Fatal(err)
	}
	if found := all(t, l, id, "p"); len(found) != 3 || found[0].Place != places[7] {
		t.Errorf("%d records are left", len(found))
	}
	if n := len(all(t, l, id, "other")); n != 10 {
		t.Errorf("%d records of another partition", n)
	}
	if _, err := l.Body(ctx, places[0]); !errors.Is(err, fault.NotFound) {
		t.Errorf("body of what was trimmed: %v", err)
	}
	if err := l.Purge(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	if a, b := len(all(t, l, id, "p")), len(all(t, l, id, "other")); a+b != 0 {
		t.Errorf("%d and %d records after a purge", a, b)
	}
}
