package layer_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/layer"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// rig is a service over real stores, and what a builder does beside it.
type rig struct {
	*layer.Service
	t     *testing.T
	db    *sqlstore.DB
	blobs *blob.Store
}

func newRig(t *testing.T, c layer.Config) *rig {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), blobs.Close()); err != nil {
			t.Error(err)
		}
	})
	return &rig{layer.New(c, db, blobs, slog.New(slog.DiscardHandler)), t, db, blobs}
}

// bundle stores contents and returns the digest of their bundle.
func (r *rig) bundle(contents ...string) string {
	r.t.Helper()
	b := &cas.Bundle{Root: ident.Digest([]byte(contents[0]))}
	for _, c := range contents {
		s := cas.NewStream(r.t.Context(), r.blobs)
		if _, err := s.Write([]byte(c)); err != nil {
			r.t.Fatal(err)
		}
		manifest, err := s.Finish(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		b.Files = append(b.Files, cas.File{Content: ident.Digest([]byte(c)), Size: uint64(len(c)), Manifest: manifest})
	}
	data, err := b.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	ref, _, err := r.blobs.Add(r.t.Context(), data)
	if err != nil {
		r.t.Fatal(err)
	}
	return ref.Digest
}

func (r *rig) offer(names ...string) *layer.Offer {
	r.t.Helper()
	o, err := r.Offer(r.t.Context(), "tk-1", layer.Recipe{Beginnings: names, Base: "base of " + names[0]})
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// put has a builder store a bundle for a recipe.
func (r *rig) put(bundle string, names ...string) {
	r.t.Helper()
	if err := r.Put(r.t.Context(), "tk-1", r.offer(names...).Grant, bundle); err != nil {
		r.t.Fatal(err)
	}
}

// has says whether the chunk of a short content is there.
func (r *rig) has(content string) bool {
	r.t.Helper()
	ok, err := r.blobs.Has(r.t.Context(), ident.Digest([]byte(content)))
	if err != nil {
		r.t.Fatal(err)
	}
	return ok
}

func TestRecipesFindWhatTheyHaveInCommon(t *testing.T) {
	r := newRig(t, layer.Config{})
	if o := r.offer("base", "one"); len(o.Bundles) != 0 || o.Known || o.Grant == "" || o.MaxBytes != layer.DefaultMaxBytes {
		t.Errorf("of nothing: %+v", o)
	}
	one, two := r.bundle("one"), r.bundle("two")
	r.put(one, "base", "one")
	r.put(two, "base", "one", "two")
	for _, c := range []struct {
		names   []string
		bundles []string
		known   bool
	}{
		{[]string{"base", "one", "two"}, []string{two}, true},
		{[]string{"base", "one", "three"}, []string{two}, false},
		{[]string{"base", "four"}, []string{two}, false},
		{[]string{"other", "one of it"}, nil, false},
	} {
		if o := r.offer(c.names...); !slices.Equal(o.Bundles, c.bundles) || o.Known != c.known {
			t.Errorf("%v: got %v, %t", c.names, o.Bundles, o.Known)
		}
	}
	// No name stands for the first any more.
	if all, err := r.db.Layers(t.Context()); err != nil || len(all) != 1 || all[0].Bundle != two {
		t.Errorf("kept %v, %v", all, err)
	}
}

func TestOnlyWhatABuilderWasGivenIsItsToStore(t *testing.T) {
	r := newRig(t, layer.Config{MaxBytes: 100})
	bundle := r.bundle("one")
	o := r.offer("base", "one")
	if err := r.Put(t.Context(), "tk-2", o.Grant, bundle); !errors.Is(err, fault.NotFound) {
		t.Errorf("another builder: %v", err)
	}
	if err := r.Put(t.Context(), "tk-1", "guess", bundle); !errors.Is(err, fault.NotFound) {
		t.Errorf("no grant: %v", err)
	}
	if err := r.Put(t.Context(), "tk-1", o.Grant, bundle); err != nil {
		t.Fatal(err)
	}
	if err := r.Put(t.Context(), "tk-1", o.Grant, bundle); !errors.Is(err, fault.NotFound) {
		t.Errorf("a second time: %v", err)
	}
	if err := r.Put(t.Context(), "tk-1", r.offer("x").Grant, r.bundle(strings.Repeat("x", 101))); !errors.Is(err, fault.Exhausted) {
		t.Errorf("too large: %v", err)
	}
	if err := r.Put(t.Context(), "tk-1", r.offer("x").Grant, ident.Digest([]byte("one"))); !errors.Is(err, fault.DataLoss) {
		t.Errorf("no bundle: %v", err)
	}
	part := r.bundle("part")
	if _, err := r.blobs.Remove(t.Context(), ident.Digest([]byte("part")), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := r.Put(t.Context(), "tk-1", r.offer("x").Grant, part); !errors.Is(err, fault.NotFound) {
		t.Errorf("without a chunk: %v", err)
	}
	if o := r.offer("x"); len(o.Bundles) != 0 {
		t.Errorf("found %v", o.Bundles)
	}
	off := newRig(t, layer.Config{MaxBytes: -1})
	if o := off.offer("x"); o != nil {
		t.Errorf("shared though nothing is to be: %+v", o)
	}
}

func TestBasesAreFoundByWhatStartsFromThem(t *testing.T) {
	r := newRig(t, layer.Config{})
	results, base := r.bundle("results"), r.bundle("base")
	o := r.offer("slim", "one")
	for range 2 {
		err := r.PutBase(t.Context(), "tk-1", o.Grant, base)
		if o.Base == "" && err != nil || o.Base != "" && !errors.Is(err, fault.NotFound) {
			t.Errorf("got %v, base %q before", err, o.Base)
		}
		o.Base = base // the grant was used for it
	}
	if err := r.Put(t.Context(), "tk-1", o.Grant, results); err != nil {
		t.Error(err)
	}
	if o := r.offer("slim", "two"); o.Base != base || !slices.Equal(o.Bundles, []string{results}) {
		t.Errorf("got %+v", o)
	}
	if o := r.offer("other"); o.Base != "" {
		t.Errorf("of another base: %q", o.Base)
	}
	// What starts from nothing that builders make has none, and stores none.
	scratch, err := r.Offer(t.Context(), "tk-1", layer.Recipe{Beginnings: []string{"scratch"}})
	if err != nil || scratch.Base != "" {
		t.Errorf("%+v, %v", scratch, err)
	}
	if err := r.PutBase(t.Context(), "tk-1", scratch.Grant, base); !errors.Is(err, fault.NotFound) {
		t.Errorf("of none: %v", err)
	}
}

func TestDamageIsForgottenOnlyWhereItIs(t *testing.T) {
	r := newRig(t, layer.Config{})
	bundle, content := r.bundle("one", "two"), ident.Digest([]byte("two"))
	r.put(bundle, "base")
	if forgotten, err := r.Report(t.Context(), bundle, content); forgotten || err != nil {
		t.Errorf("of a whole one: %t, %v", forgotten, err)
	}
	path, _ := r.blobs.LocalPath(content)
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("tvo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if forgotten, err := r.Report(t.Context(), ident.Digest([]byte("other")), content); forgotten || err != nil {
		t.Errorf("of none: %t, %v", forgotten, err)
	}
	if forgotten, err := r.Report(t.Context(), bundle, content); !forgotten || err != nil {
		t.Errorf("of a damaged one: %t, %v", forgotten, err)
	}
	if o := r.offer("base"); len(o.Bundles) != 0 || r.has("two") || !r.has("one") {
		t.Errorf("found %v; damaged chunk %t, whole one %t", o.Bundles, r.has("two"), r.has("one"))
	}
	// Its content can be stored again.
	r.put(r.bundle("one", "two"), "base")
	if o := r.offer("base"); len(o.Bundles) != 1 || !r.has("two") {
		t.Error("was not stored again")
	}
}

// roots are those of a service alone.
type roots struct{ *layer.Service }

func (r roots) Roots(ctx context.Context, _ time.Time, add func(cas.Root) error) error {
	return r.Service.Roots(ctx, add)
}

// TestOldResultsGo has a collection keep what bundles hold, until they are old, too many, or damaged.
func TestOldResultsGo(t *testing.T) {
	r := newRig(t, layer.Config{MaxBytes: 10})
	collect := func(s *layer.Service) {
		t.Helper()
		if err := s.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := cas.Collect(t.Context(), r.blobs, roots{s}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	r.put(r.bundle("aaaa", "bbbb"), "one")
	r.bundle("orphan")
	collect(r.Service)
	if !r.has("aaaa") || !r.has("bbbb") || r.has("orphan") {
		t.Error("a collection removed what is found, or kept what is not")
	}
	// What two have in common counts once: 4 + 4 + 1 are not over the bound, 4 + 4 + 1 + 4 are, and the one used first goes.
	later := func(contents []string, name string, age time.Duration) {
		t.Helper()
		e := layer.Entry{Bundle: r.bundle(contents...), Bytes: 4, UsedAt: time.Now().Add(-age)}
		if err := r.db.PutLayers(t.Context(), e, []string{name}); err != nil {
			t.Fatal(err)
		}
	}
	later([]string{"bbbb", "c"}, "two", time.Minute)
	collect(r.Service)
	if !r.has("aaaa") || !r.has("c") {
		t.Error("removed under the bound")
	}
	later([]string{"dddd"}, "three", time.Hour)
	collect(r.Service)
	if !r.has("aaaa") || !r.has("bbbb") || !r.has("c") || r.has("dddd") {
		t.Error("the one used first should have gone, and no other")
	}
	// Damage of one does not end the collection.
	path, _ := r.blobs.LocalPath(r.offer("two").Bundles[0])
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	collect(r.Service)
	if !r.has("aaaa") || r.has("c") {
		t.Error("a damaged bundle was kept, or a whole one not")
	}
	collect(layer.New(layer.Config{MaxAge: time.Nanosecond}, r.db, r.blobs, slog.New(slog.DiscardHandler)))
	if r.has("aaaa") || r.has("bbbb") {
		t.Error("what is old was kept")
	}
}
