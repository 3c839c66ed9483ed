package volume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// rig is a service on real stores. Left is how many blobs it may still store, if not negative: then its sink breaks, as a process that dies.
type rig struct {
	*volume.Service
	db    *sqlstore.DB
	blobs *blob.Store
	left  atomic.Int64
	gone  chan string // volumes that are deleted
}

func (r *rig) Add(ctx context.Context, data []byte) (payload.Ref, bool, error) {
	if r.left.Add(-1) == -1 {
		return payload.Ref{}, false, errors.New("crash")
	}
	return r.blobs.Add(ctx, data)
}

type sink struct {
	*blob.Store
	r *rig
}

func (s sink) Add(ctx context.Context, data []byte) (payload.Ref, bool, error) {
	return s.r.Add(ctx, data)
}

type store struct {
	*sqlstore.DB
	r *rig
}

func (s store) DropVersions(ctx context.Context, id string) error {
	err := s.DB.DropVersions(ctx, id)
	if err == nil {
		s.r.gone <- id
	}
	return err
}

func newRig(t *testing.T, window time.Duration) *rig {
	t.Helper()
	dir := t.TempDir()
	blobs, err := blob.Open(t.Context(), filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{db: db, blobs: blobs, gone: make(chan string, 1000)}
	r.left.Store(math.MaxInt64)
	r.Service = volume.New(volume.Deps{
		Objects: db, Lives: db, Store: store{db, r}, Versions: db, Blobs: sink{blobs, r}, Window: window, Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Objects().Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := errors.Join(db.Close(), blobs.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) volume(t *testing.T, name string) string {
	t.Helper()
	v, err := r.Objects().Get(t.Context(), environment.Main, name, object.MustBeNew, "tester")
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}

func (r *rig) store(t *testing.T, data []byte) string {
	t.Helper()
	ref, _, err := r.blobs.Add(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return ref.Digest
}

func put(path string, content voltree.Content, size int) voltree.Change {
	e := voltree.Entry{Type: voltree.File, Mode: 0o644, Size: uint64(size), Content: content}
	return voltree.Change{Verb: voltree.Put, Path: path, Entry: e}
}

// small is a file of a blob of its own.
func (r *rig) small(t *testing.T, path, text string) voltree.Change {
	t.Helper()
	return put(path, voltree.Content{Digest: r.store(t, []byte(text))}, len(text))
}

func request(id string, changes ...voltree.Change) volume.Change {
	return volume.Change{VolumeID: id, RequestID: ident.Random(22), Changes: changes, By: "tester", Reason: "upload"}
}

func (r *rig) change(t *testing.T, c volume.Change) *volume.Version {
	t.Helper()
	v, missing, err := r.Change(t.Context(), c)
	if err != nil || len(missing) > 0 {
		t.Fatalf("missing %v, %v", missing, err)
	}
	return v
}

func (r *rig) list(t *testing.T, p volume.Place) string {
	t.Helper()
	var paths []string
	err := r.Files(t.Context(), p, true, func(path string, e voltree.Entry) error {
		if e.Type != voltree.Folder {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(paths, " ")
}

func (r *rig) read(t *testing.T, p volume.Place, offset, length uint64) (string, error) {
	t.Helper()
	f, err := r.File(t.Context(), p)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = f.Write(t.Context(), &b, offset, length)
	return b.String(), err
}

func TestNames(t *testing.T) {
	r := newRig(t, 0)
	ctx, volumes := t.Context(), r.Objects()
	get := func(environment string, c object.Creation) (object.Object, error) {
		return volumes.Get(ctx, environment, "data", c, "tester")
	}
	if _, err := get(environment.Main, object.Lookup); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	id := r.volume(t, "data")
	if _, err := get(environment.Main, object.MustBeNew); !errors.Is(err, fault.Exists) {
		t.Error(err)
	}
	if v, err := get(environment.Main, object.IfMissing); err != nil || v.ID != id || v.CreatedBy != "tester" {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := get("nowhere", object.Lookup); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	other := r.volume(t, "other")
	if err := volumes.Rename(ctx, other, "data"); !errors.Is(err, fault.Exists) {
		t.Error(err)
	}
	if err := volumes.Rename(ctx, other, "third"); err != nil {
		t.Error(err)
	}
	if v, err := volumes.Find(ctx, other); err != nil || v.Name != "third" {
		t.Errorf("%+v, %v", v, err)
	}
	list, err := volumes.List(ctx, environment.Main, time.Time{}, 10)
	if err != nil || len(list) != 2 || list[0].Name != "third" || !list[0].CreatedAt.After(list[1].CreatedAt) {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := volumes.List(ctx, environment.Main, list[0].CreatedAt, 10); err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("%+v, %v", list, err)
	}
	if err := volumes.Delete(ctx, id); err != nil {
		t.Error(err)
	}
	if _, err := r.Head(ctx, id); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if err := volumes.DeleteAll(ctx, environment.Main); err != nil {
		t.Error(err)
	}
	if err := volumes.Delete(ctx, other); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if err := volumes.Rename(ctx, other, "fourth"); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestAnEphemeralVolumeGoesWithItsClient(t *testing.T) {
	r := newRig(t, 50*time.Millisecond)
	v, err := r.Objects().Get(t.Context(), environment.Main, "", object.Ephemeral, "tester")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Objects().Rename(t.Context(), v.ID, "kept"); !errors.Is(err, fault.Precondition) && !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if gone := <-r.gone; gone != v.ID {
		t.Errorf("%s went, not %s", gone, v.ID)
	}
	if err := r.Objects().Keep(t.Context(), v.ID); !errors.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestARequestIsAppliedOnce(t *testing.T) {
	r := newRig(t, 0)
	id := r.volume(t, "data")
	c := request(id, put("a/b.txt", voltree.Content{Digest: ident.Digest([]byte("hello"))}, 5))
	if v, missing, err := r.Change(t.Context(), c); err != nil || v != nil || len(missing) != 1 || missing[0] != ident.Digest([]byte("hello")) {
		t.Fatalf("%v, missing %v, %v", v, missing, err)
	}
	r.store(t, []byte("hello"))
	first := r.change(t, c)
	r.change(t, request(id, voltree.Change{Verb: voltree.Remove, Path: "a/b.txt"}))
	if again := r.change(t, c); again.Number != first.Number || first.Number != 2 || first.Files != 1 || first.Bytes != 5 {
		t.Errorf("%+v and %+v", first, again)
	}
	if got := r.list(t, volume.Place{VolumeID: id}); got != "" {
		t.Errorf("the removed file is there again: %q", got)
	}
	if got, err := r.read(t, volume.Place{VolumeID: id, Path: "a/b.txt", Version: 2}, 1, 3); err != nil || got != "ell" {
		t.Errorf("%q, %v", got, err)
	}
	restored, err := r.Restore(t.Context(), volume.Change{VolumeID: id, RequestID: ident.Random(22), By: "tester"}, 2)
	if err != nil || restored.Number != 4 || restored.Root != first.Root || restored.Reason != "restore 2" || restored.Files != 1 {
		t.Errorf("%+v, %v", restored, err)
	}
	history, err := r.History(t.Context(), id, 0, 10)
	if err != nil || len(history) != 4 || history[0].Number != 4 || history[3].Reason != "create" {
		t.Errorf("%+v, %v", history, err)
	}
}

func TestWritersMerge(t *testing.T) {
	r := newRig(t, 0)
	id := r.volume(t, "data")
	var wg sync.WaitGroup
	var want []string
	for i := range 8 {
		for n := range 5 {
			want = append(want, fmt.Sprintf("d%d/f%d", i, n))
		}
		wg.Go(func() {
			for n := range 5 {
				c := request(id, r.small(t, fmt.Sprintf("d%d/f%d", i, n), fmt.Sprint(i, n)), r.small(t, "same", fmt.Sprint(i, n)))
				c.LastWins = true
				r.change(t, c)
			}
		})
	}
	wg.Wait()
	want = append(want, "same")
	slices.Sort(want)
	if got := r.list(t, volume.Place{VolumeID: id}); got != strings.Join(want, " ") {
		t.Error(got)
	}
	if head, err := r.Head(t.Context(), id); err != nil || head.Number != 41 {
		t.Errorf("%+v, %v", head, err)
	}
}

// TestACrashLeavesNoHalfVersion breaks a change after each of the blobs that it stores.
func TestACrashLeavesNoHalfVersion(t *testing.T) {
	r := newRig(t, 0)
	id := r.volume(t, "data")
	c := request(id, r.small(t, "a/b/c/d", "one"), r.small(t, "x/y", "two"))
	for n := int64(0); ; n++ {
		r.left.Store(n)
		v, _, err := r.Change(t.Context(), c)
		r.left.Store(math.MaxInt64)
		head, herr := r.Head(t.Context(), id)
		if herr != nil {
			t.Fatal(herr)
		}
		if err == nil {
			if head.Number != v.Number || n < 1 {
				t.Errorf("%+v is the newest after %d blobs", head, n)
			}
			break
		}
		if head.Number != 1 || r.list(t, volume.Place{VolumeID: id}) != "" {
			t.Fatalf("after %d blobs: %+v", n, head)
		}
	}
	if got := r.list(t, volume.Place{VolumeID: id}); got != "a/b/c/d x/y" {
		t.Error(got)
	}
}

func TestLargeFilesAndPacks(t *testing.T) {
	r := newRig(t, 0)
	id := r.volume(t, "data")
	content := bytes.Repeat([]byte("0123456789abcdef"), (2*voltree.ChunkSize+500)/16)
	m := &cas.Manifest{Size: uint64(len(content))}
	for at := 0; at < len(content); at += voltree.ChunkSize {
		piece := content[at:min(at+voltree.ChunkSize, len(content))]
		m.Chunks = append(m.Chunks, cas.Chunk{Digest: r.store(t, piece), Size: uint32(len(piece))})
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	large := voltree.Content{Digest: r.store(t, data), Chunked: true}
	pack := r.store(t, []byte("onetwothree"))
	r.change(t, request(id, put("large", large, len(content)), put("p/2", voltree.Content{Digest: pack, Offset: 3}, 3), put("p/3", voltree.Content{Digest: pack, Offset: 6}, 5),
		voltree.Change{Verb: voltree.Put, Path: "p/link", Entry: voltree.Entry{Type: voltree.Symlink, Target: "../large"}},
		voltree.Change{Verb: voltree.Put, Path: "out", Entry: voltree.Entry{Type: voltree.Symlink, Target: "../../etc/passwd"}},
		voltree.Change{Verb: voltree.Put, Path: "loop", Entry: voltree.Entry{Type: voltree.Symlink, Target: "loop"}}))
	for _, c := range []struct{ offset, length uint64 }{{0, math.MaxUint64}, {voltree.ChunkSize - 3, 6}, {2*voltree.ChunkSize + 490, 1000}, {1 << 40, 5}} {
		got, err := r.read(t, volume.Place{VolumeID: id, Path: "p/link"}, c.offset, c.length)
		want := content[min(int(c.offset), len(content)):]
		want = want[:min(uint64(len(want)), c.length)]
		if err != nil || got != string(want) {
			t.Errorf("%+v: %d bytes, %v", c, len(got), err)
		}
	}
	if got, err := r.read(t, volume.Place{VolumeID: id, Path: "p/3"}, 1, 3); err != nil || got != "hre" {
		t.Errorf("%q, %v", got, err)
	}
	for path, kind := range map[string]*fault.Kind{"out": fault.NotFound, "loop": fault.NotFound, "p": fault.Precondition, "p/../x": fault.Invalid, "large/x": fault.NotFound} {
		if _, err := r.read(t, volume.Place{VolumeID: id, Path: path}, 0, 1); !errors.Is(err, kind) {
			t.Errorf("%s: %v", path, err)
		}
	}
	// Contents that are not what they are said to be.
	odd := *m
	odd.Chunks = slices.Clone(m.Chunks)
	slices.Reverse(odd.Chunks)
	if data, err = odd.Encode(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]voltree.Change{
		"size":      put("x", large, 5),
		"short":     put("x", voltree.Content{Digest: pack, Offset: 8}, 8),
		"odd":       put("x", voltree.Content{Digest: r.store(t, data), Chunked: true}, len(content)),
		"no list":   put("x", voltree.Content{Digest: pack, Chunked: true}, 11),
		"large one": put("x", voltree.Content{Digest: r.store(t, make([]byte, voltree.MaxPack+1))}, 3),
	} {
		if _, _, err := r.Change(t.Context(), request(id, c)); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// held are the roots of a rig.
type held struct{ r *rig }

func (h held) Roots(ctx context.Context, _ time.Time, add func(cas.Root) error) error {
	return h.r.Roots(ctx, add)
}

func TestCollectionsSpareWhatVersionsHave(t *testing.T) {
	r := newRig(t, 0)
	id, other := r.volume(t, "data"), r.volume(t, "other")
	r.change(t, request(id, r.small(t, "a/1", "first"), r.small(t, "b", "kept")))
	r.change(t, request(id, voltree.Change{Verb: voltree.Remove, Path: "a", Recursive: true}))
	r.change(t, request(other, r.small(t, "c", "other")))
	opened, err := r.Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	collect := func() cas.Collected {
		t.Helper()
		done, err := cas.Collect(t.Context(), r.blobs, held{r}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if err := r.Objects().Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if done := collect(); done.Blobs > 1 { // the root of its first version goes
		t.Errorf("%+v went, though a worker holds it", done)
	}
	if got, err := r.read(t, volume.Place{VolumeID: id, Path: "a/1", Version: 2}, 0, 9); err != nil || got != "first" {
		t.Errorf("%q, %v", got, err)
	}
	if err := r.db.HoldTrees(t.Context(), []string{opened.Root}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if done := collect(); done.Blobs < 2 {
		t.Errorf("only %+v went with a volume", done)
	}
	if err := r.Hold(t.Context(), []string{opened.Root}); !errors.Is(err, fault.NotFound) {
		t.Errorf("a tree that is nobody's is held: %v", err)
	}
	if got := r.list(t, volume.Place{VolumeID: id}); got != "b" {
		t.Error(got)
	}
}

func TestOldVersionsGo(t *testing.T) {
	r := newRig(t, 0)
	id := r.volume(t, "data")
	head, err := r.Head(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-2 * volume.KeepFor)
	for n := uint64(2); n <= volume.KeepVersions+20; n++ {
		if n == volume.KeepVersions+15 {
			at = time.Now()
		}
		v := volume.Version{Number: n, Root: head.Root, RequestID: ident.Random(22), CreatedAt: at}
		if err := r.db.AddVersion(t.Context(), id, v); err != nil {
			t.Fatal(err)
		}
		if err := r.db.AddVersion(t.Context(), id, v); !errors.Is(err, fault.Precondition) {
			t.Fatal(err)
		}
	}
	history, err := r.History(t.Context(), id, 0, 1000)
	if err != nil || len(history) != volume.KeepVersions+2 {
		t.Errorf("%d versions, %v", len(history), err) // the first is young
	}
}
