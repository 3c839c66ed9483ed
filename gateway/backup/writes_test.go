package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/gateway/dict/dicttest"
	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/queue"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// kept is what people keep: services over stores.
type kept struct {
	*stores

	t       *testing.T
	dicts   *dict.Service
	queues  *queue.Service
	volumes *volume.Service
	secrets *secret.Service
}

func keep(t *testing.T, s *stores, keys string) *kept {
	t.Helper()
	ring, err := secret.OpenRing(keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	k := &kept{
		stores: s, t: t,
		dicts:   dict.New(dict.Deps{Entries: s.flow.Dicts(), Journal: s.flow.Dicts()}), // nothing here is large enough for blobs
		queues:  queue.New(queue.Deps{Log: s.flow.Queues(), Logger: log}),
		volumes: volume.New(volume.Deps{Objects: s.db, Lives: s.db, Store: s.db, Versions: s.db, Blobs: s.blobs, Log: log}),
		secrets: secret.New(s.db, s.db, ring.Sealer()),
	}
	k.ok(k.dicts.Recover(t.Context()))
	return k
}

func (k *kept) ok(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Error(err)
	}
}

const (
	pairs    = 20   // of keys that are always changed together
	singles  = 3000 // keys that are replaced by themselves; their values fill several blocks of a stream's files
	versions = 5
)

var filler = string(make([]byte, 4000))

func (k *kept) update(dictID string, n int) error {
	var all []dict.Entry
	for i := range pairs {
		for _, side := range []string{"left", "right"} {
			all = append(all, dicttest.Entry(fmt.Sprint(side, i), strconv.Itoa(n)))
		}
	}
	return k.dicts.Update(context.Background(), dictID, all)
}

func (k *kept) single(dictID string, i, n int) error {
	_, err := k.dicts.Put(context.Background(), dictID, dicttest.Entry(fmt.Sprint("single", i), fmt.Sprint(n, " ", filler)), false)
	return err
}

func (k *kept) commit(volumeID, text string) error {
	ref, _, err := k.blobs.Add(context.Background(), []byte(text))
	if err != nil {
		return err
	}
	e := voltree.Entry{Type: voltree.File, Mode: 0o644, Size: uint64(len(text)), Content: voltree.Content{Digest: ref.Digest}}
	_, missing, err := k.volumes.Change(context.Background(), volume.Change{
		VolumeID: volumeID, RequestID: ident.Random(22), By: "tester", Reason: "upload", Changes: []voltree.Change{{Verb: voltree.Put, Path: "file", Entry: e}},
	})
	if len(missing) > 0 {
		err = errors.Join(err, fmt.Errorf("missing %v", missing))
	}
	return err
}

func (k *kept) put(queueID string, n int) error {
	item := queue.Item{Format: payload.CBOR, Data: []byte(strconv.Itoa(n))}
	ok, err := k.queues.Put(context.Background(), queue.Request{QueueID: queueID, ID: ident.Random(22), Wait: time.Minute}, []queue.Item{item}, time.Hour)
	if err == nil && !ok {
		err = errors.New("no room")
	}
	return err
}

// TestWritesGoOn takes a backup while all that people keep is changed: what was there before it began is there after a restore, and what belongs
// together is of one moment.
func TestWritesGoOn(t *testing.T) {
	keys := t.TempDir()
	from := keep(t, embedded(t), keys)
	ctx := context.Background()
	if err := from.db.CreateEnvironment(ctx, environment.Environment{ID: "en-1", Name: "dev"}); err != nil {
		t.Fatal(err)
	}
	dictID, queueID := ident.New(ident.Dict), ident.New(ident.Queue)
	data, err := from.volumes.Objects().Get(ctx, environment.Main, "data", object.MustBeNew, "tester")
	if err != nil {
		t.Fatal(err)
	}
	named, err := from.secrets.CreateNamed(ctx, secret.Record{Environment: "en-1", Name: "keys"}, map[string]string{"A": "1"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range singles {
		from.ok(from.single(dictID, i, 0))
	}
	from.ok(from.update(dictID, 0))
	for i := range versions {
		from.ok(from.commit(data.ID, fmt.Sprint("version ", i)))
	}
	const items = 100
	for i := range items {
		from.ok(from.put(queueID, i))
	}

	stop := make(chan struct{})
	var writers sync.WaitGroup
	on := func(step func(n int) error) {
		writers.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
					from.ok(step(n))
				}
			}
		})
	}
	on(func(n int) error { return from.update(dictID, n) })
	on(func(n int) error { return from.single(dictID, n%singles, n) })
	on(func(n int) error { return from.single(dictID, singles-1-n%singles, n) })
	on(func(n int) error { return from.commit(data.ID, fmt.Sprint("later ", n)) })
	puts := items
	on(func(int) error {
		if puts == queue.MaxItems {
			return nil
		}
		puts++
		return from.put(queueID, puts-1)
	})
	var archive bytes.Buffer
	err = backup.Write(ctx, from.all(), &archive, nil, func(backup.Done) {})
	close(stop)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}

	there := embedded(t)
	if _, err := backup.Read(ctx, there.all(), &archive, t.TempDir(), func(backup.Done) {}); err != nil {
		t.Fatal(err)
	}
	to := keep(t, there, keys)
	to.hasDict(dictID)
	to.hasQueue(queueID, items)
	to.hasVolume(data.ID)
	env, err := to.secrets.Env(ctx, []string{named.ID})
	if err != nil || env["A"] != "1" {
		t.Errorf("secret %v: %v", env, err)
	}
	known := environment.New(environment.Deps{Store: to.db})
	to.ok(known.Load(ctx))
	if id, err := known.Resolve("dev"); id != "en-1" || err != nil {
		t.Errorf("environment %q: %v", id, err)
	}
}

func (k *kept) hasDict(id string) {
	k.t.Helper()
	found := map[string]string{}
	k.ok(k.dicts.Read(k.t.Context(), id, 0, func(page []dict.Entry, _ uint64) error {
		for _, e := range page {
			found[string(e.Key.Data)] = string(e.Value.Inline)
		}
		return nil
	}))
	if len(found) != singles+2*pairs {
		k.t.Errorf("%d entries, want %d", len(found), singles+2*pairs)
	}
	for i := range pairs {
		if l, r := found[fmt.Sprint("left", i)], found[fmt.Sprint("right", i)]; l == "" || l != r || l != found["left0"] {
			k.t.Errorf("left %q, right %q, left of the first %q", l, r, found["left0"])
		}
	}
}

// hasQueue takes all items: those from before, then some of those that came while the backup was taken, in order.
func (k *kept) hasQueue(id string, atLeast int) {
	k.t.Helper()
	next := 0
	for {
		all, err := k.queues.Take(k.t.Context(), queue.Request{QueueID: id, ID: ident.Random(22)}, 100)
		k.ok(err)
		if len(all) == 0 {
			break
		}
		for _, i := range all {
			if string(i.Data) != strconv.Itoa(next) {
				k.t.Fatalf("item %q, want %d", i.Data, next)
			}
			next++
		}
	}
	if next < atLeast {
		k.t.Errorf("%d items, want %d at least", next, atLeast)
	}
}

func (k *kept) hasVolume(id string) {
	k.t.Helper()
	history, err := k.volumes.History(k.t.Context(), id, 0, 1000)
	if err != nil || len(history) <= versions {
		k.t.Fatalf("%d versions: %v", len(history), err)
	}
	for _, v := range history {
		place := volume.Place{VolumeID: id, Version: v.Number, Path: "file"}
		if v.Number < 2 { // an empty one
			continue
		}
		f, err := k.volumes.File(k.t.Context(), place)
		if err != nil {
			k.t.Errorf("version %d: %v", v.Number, err)
			continue
		}
		var b bytes.Buffer
		k.ok(f.Write(k.t.Context(), &b, 0, 1<<20))
		if want := fmt.Sprint("version ", v.Number-2); v.Number < versions+2 && b.String() != want {
			k.t.Errorf("version %d has %q, want %q", v.Number, b.String(), want)
		}
	}
}
