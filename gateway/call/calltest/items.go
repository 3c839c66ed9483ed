package calltest

import (
	"bytes"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

// Batch returns n items of an input, from a number on; each is its number in decimal.
func Batch(k payload.Key, first uint64, n int) item.Batch {
	b := item.Batch{Key: k, First: first}
	for i := range n {
		b.Values = append(b.Values, &payload.Payload{Format: payload.Pickle, Inline: strconv.AppendUint(nil, first+uint64(i), 10)})
	}
	return b
}

// PutItems stores items, and ends the test if that fails.
func PutItems(t testing.TB, l item.Log, b item.Batch) {
	t.Helper()
	done := make(chan error, 1)
	l.PutItems(b, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Items checks an implementation of item.Log; open returns an empty one.
func Items(t *testing.T, open func(t *testing.T) item.Log) {
	for name, test := range map[string]func(*testing.T, item.Log){
		"read": readItems, "put again": itemsTwice, "lost": lostItems, "purge": purgeItems, "large": largeItems,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func newKey() payload.Key { return payload.Key{CallID: ident.New(ident.Call), Index: 3} }

// readAll reads from a number on with a cursor, and checks that nothing is missing up to the last.
func readAll(t *testing.T, l item.Log, from, last uint64, r item.Range) {
	t.Helper()
	r.From = from
	for r.From <= last {
		b, cursor, err := l.Items(t.Context(), r)
		if err != nil {
			t.Fatalf("items from %d on: %v", r.From, err)
		}
		if b.First != r.From || len(b.Values) == 0 || len(b.Values) > r.Limit || b.Key != r.Key {
			t.Fatalf("items from %d on: %d of them from %d on", r.From, len(b.Values), b.First)
		}
		if diff := cmp.Diff(Batch(r.Key, r.From, len(b.Values)), b); diff != "" {
			t.Fatal(diff)
		}
		r.From += uint64(len(b.Values))
		r.Cursor = cursor
	}
}

func readItems(t *testing.T, l item.Log) {
	k, other := newKey(), newKey()
	if n, err := l.LastItem(t.Context(), k); err != nil || n != 0 {
		t.Errorf("no items yet: %d, %v", n, err)
	}
	next := uint64(1)
	for i := range 200 {
		n := 1 + i%7
		PutItems(t, l, Batch(k, next, n))
		PutItems(t, l, Batch(other, uint64(i)+1, 1)) // of another call, in between
		next += uint64(n)
	}
	last := next - 1
	if n, err := l.LastItem(t.Context(), k); err != nil || n != last {
		t.Errorf("last %d, %v; want %d", n, err, last)
	}
	for _, from := range []uint64{1, 2, 5, 100, last / 2, last - 1, last} {
		for _, limit := range []int{1, 10, item.Window} {
			readAll(t, l, from, min(last, from+100), item.Range{Key: k, Limit: limit})
		}
	}
	readAll(t, l, 1, last, item.Range{Key: k, Limit: item.Window})
	readAll(t, l, 1, 200, item.Range{Key: other, Limit: item.Window})
}

// itemsTwice puts items again that were stored, as after a failure that was none.
func itemsTwice(t *testing.T, l item.Log) {
	k := newKey()
	PutItems(t, l, Batch(k, 1, 10))
	PutItems(t, l, Batch(k, 11, 10))
	PutItems(t, l, Batch(k, 11, 30))
	PutItems(t, l, Batch(k, 41, 10))
	for from := range uint64(50) {
		readAll(t, l, from+1, 50, item.Range{Key: k, Limit: item.Window})
	}
}

func lostItems(t *testing.T, l item.Log) {
	k := newKey()
	if _, _, err := l.Items(t.Context(), item.Range{Key: k, From: 1, Limit: 10}); !errors.Is(err, fault.DataLoss) {
		t.Errorf("items of an input that has none: %v", err)
	}
	PutItems(t, l, Batch(k, 100, 10)) // those before have been dropped
	for _, from := range []uint64{1, 99, 110} {
		if _, _, err := l.Items(t.Context(), item.Range{Key: k, From: from, Limit: 10}); !errors.Is(err, fault.DataLoss) {
			t.Errorf("item %d: %v", from, err)
		}
	}
	readAll(t, l, 100, 109, item.Range{Key: k, Limit: 10})
}

func purgeItems(t *testing.T, l item.Log) {
	gone, kept := newKey(), newKey()
	PutItems(t, l, Batch(gone, 1, 10))
	PutItems(t, l, Batch(kept, 1, 10))
	if err := l.PurgeItems(t.Context(), gone.CallID); err != nil {
		t.Fatal(err)
	}
	if n, err := l.LastItem(t.Context(), gone); err != nil || n != 0 {
		t.Errorf("purged: %d, %v", n, err)
	}
	readAll(t, l, 1, 10, item.Range{Key: kept, Limit: 10})
}

func largeItems(t *testing.T, l item.Log) {
	k := newKey()
	b := item.Batch{Key: k, First: 1}
	for i := range 5 {
		b.Values = append(b.Values, &payload.Payload{Format: payload.CBOR, Inline: bytes.Repeat([]byte{byte(i)}, payload.MaxInline)})
	}
	b.Values = append(b.Values, &payload.Payload{Format: payload.Pickle, Blob: &payload.Ref{Digest: ident.Digest(nil), Size: payload.MaxSize}})
	PutItems(t, l, b)
	r := item.Range{Key: k, From: 1, Limit: item.Window}
	for r.From <= uint64(len(b.Values)) {
		got, cursor, err := l.Items(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got.Values {
			if diff := cmp.Diff(b.Values[int(r.From)-1+i], v); diff != "" {
				t.Fatalf("item %d: %s", r.From, diff)
			}
		}
		r.From, r.Cursor = r.From+uint64(len(got.Values)), cursor
	}
}
