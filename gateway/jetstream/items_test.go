package jetstream_test

import (
	"testing"

	"github.com/skerry-dev/skerry/gateway/call/calltest"
	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
)

func TestItems(t *testing.T) {
	calltest.Items(t, func(t *testing.T) item.Log { return open(t, flowtest.Config(t, t.TempDir())) })
}

// TestItemsReopened has items of before a restart read after it.
func TestItemsReopened(t *testing.T) {
	dir := t.TempDir()
	e := open(t, flowtest.Config(t, dir))
	k := payload.Key{CallID: ident.New(ident.Call)}
	calltest.PutItems(t, e, calltest.Batch(k, 1, 100))
	shut(t, e)
	e = open(t, flowtest.Config(t, dir))
	if n, err := e.LastItem(t.Context(), k); err != nil || n != 100 {
		t.Fatalf("last %d, %v", n, err)
	}
	b, _, err := e.Items(t.Context(), item.Range{Key: k, From: 60, Limit: item.Window})
	if err != nil || b.First != 60 || len(b.Values) != 41 {
		t.Errorf("%d items from %d on, %v", len(b.Values), b.First, err)
	}
}
