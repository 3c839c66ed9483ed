package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// lazies is a Lazy that has some images.
type lazies struct {
	there map[string]bool
	held  map[string]int
}

func (l lazies) Open(_ context.Context, image payload.Ref) (string, func(), error) {
	l.there[image.Digest] = true
	return l.Adopt(context.Background(), image)
}

func (l lazies) Adopt(_ context.Context, image payload.Ref) (string, func(), error) {
	if !l.there[image.Digest] {
		return "", nil, fault.New(fault.NotFound, "is not mounted")
	}
	l.held[image.Digest]++
	return "/lazy/" + image.Digest, func() { l.held[image.Digest]-- }, nil
}

func (l lazies) Reap(context.Context) error {
	for digest := range l.there {
		if l.held[digest] == 0 {
			delete(l.there, digest)
		}
	}
	return nil
}

func (lazies) Find(context.Context) error { return nil }

func (lazies) Close() error { return nil }

// TestAdopt starts a store anew over what another used: what is adopted stays, whatever else is wanted, and the rest may go.
func TestAdopt(t *testing.T) {
	o, dir := newOrigin(), t.TempDir()
	first, err := Open(Config{Dir: dir, Source: o})
	if err != nil {
		t.Fatal(err)
	}
	used := image(o.blob(strings.Repeat("image", 100)))
	mounts := []container.Mount{
		{RemotePath: "/a", TreeDigest: o.tree("one", map[string]string{"x": "1", "y": "2"})},
		{RemotePath: "/a/b", TreeDigest: o.tree("two", map[string]string{"z": "3"})},
		{RemotePath: "/c", TreeDigest: o.tree("three", map[string]string{"w": "4"})},
	}
	path, _, err := first.Image(t.Context(), used)
	if err != nil {
		t.Fatal(err)
	}
	binds, _, err := first.Mounts(t.Context(), mounts)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(Config{Dir: dir, Source: o, CacheBytes: 2}) // as good as no room
	if err != nil {
		t.Fatal(err)
	}
	opens := o.opens.Load()
	adopted, release, err := second.Adopt(t.Context(), used, mounts)
	if err != nil || adopted.Image != path || len(adopted.Binds) != len(binds) || o.opens.Load() != opens {
		t.Fatalf("adopted %+v, was %s and %+v, after %d fetches: %v", adopted, path, binds, o.opens.Load()-opens, err)
	}
	for i, b := range binds {
		if adopted.Binds[i] != b {
			t.Errorf("adopted %+v, was %+v", adopted.Binds[i], b)
		}
	}
	evict := func(texts ...string) {
		for _, text := range texts {
			_, r, err := second.Image(t.Context(), image(o.blob(text)))
			if err != nil {
				t.Fatal(err)
			}
			r()
			_, r, err = second.Mounts(t.Context(), []container.Mount{{RemotePath: "/o", TreeDigest: o.tree(text, map[string]string{"o": text, "p": "5"})}})
			if err != nil {
				t.Fatal(err)
			}
			r()
		}
	}
	evict("second", "third")
	if content(t, path) != strings.Repeat("image", 100) || content(t, filepath.Join(binds[0].Source, "b/z")) != "3" {
		t.Error("what was adopted has changed")
	}
	release()
	evict("fourth", "fifth")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what nobody uses is still there: %v", err)
	}
	if _, _, err := second.Adopt(t.Context(), used, nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("an image that is gone: %v", err)
	}
	if _, _, err := second.Adopt(t.Context(), image(o.blob("fifth")), mounts); !errors.Is(err, fault.NotFound) {
		t.Errorf("trees that are gone: %v", err)
	}
}

// TestAdoptLazyImages adopts one of two mounted images.
func TestAdoptLazyImages(t *testing.T) {
	o, lazy := newOrigin(), lazies{map[string]bool{}, map[string]int{}}
	one, two := o.blob("one"), o.blob("two")
	lazy.there[one.Digest], lazy.there[two.Digest] = true, true
	s, err := Open(Config{Dir: t.TempDir(), Source: o, Lazy: lazy})
	if err != nil {
		t.Fatal(err)
	}
	a, release, err := s.Adopt(t.Context(), container.Image{Ref: one, Chunked: true}, nil)
	if err != nil || a.Image != "/lazy/"+one.Digest {
		t.Fatalf("adopted %+v: %v", a, err)
	}
	if err := s.Reap(t.Context()); err != nil || !lazy.there[one.Digest] || lazy.there[two.Digest] {
		t.Errorf("after Reap there are %v: %v", lazy.there, err)
	}
	if _, _, err := s.Adopt(t.Context(), container.Image{Ref: two, Chunked: true}, nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("one that is not mounted: %v", err)
	}
	release()
	if lazy.held[one.Digest] != 0 {
		t.Error("not given back")
	}
}
