package voltree_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
)

var now = time.Unix(1_700_000_000, 5)

func open(t *testing.T) *blob.Store {
	t.Helper()
	s, err := blob.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// walk reads a whole tree.
func walk(t *testing.T, r *voltree.Reader, digest string) (model, voltree.Totals) {
	t.Helper()
	root, err := r.Root(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	m := model{}
	var in func(prefix string, folder voltree.Entry) (sum voltree.Totals)
	in = func(prefix string, folder voltree.Entry) (sum voltree.Totals) {
		last := ""
		for e, err := range r.Entries(t.Context(), folder, "") {
			if err != nil {
				t.Fatal(err)
			}
			if e.Name <= last {
				t.Fatalf("%q follows %q", e.Name, last)
			}
			last = e.Name
			p := path.Join(prefix, e.Name)
			if e.Type == voltree.Folder {
				if got := in(p, e); got != e.Totals {
					t.Fatalf("%s: has %+v, not %+v", p, got, e.Totals)
				}
			}
			sum = sum.Plus(&e)
			e.Name, e.Pages, e.Totals = "", "", voltree.Totals{}
			m[p] = e
		}
		return sum
	}
	if got := in("", root); got != root.Totals {
		t.Fatalf("root: has %+v, not %+v", got, root.Totals)
	}
	return m, root.Totals
}

// rebuild makes a tree of a model in one step.
func rebuild(t *testing.T, p voltree.Params, m model) string {
	t.Helper()
	p.Root, p.Changes = "", nil
	for _, q := range slices.Sorted(maps.Keys(m)) {
		p.Changes = append(p.Changes, voltree.Change{Verb: voltree.Put, Path: q, Entry: m[q]})
	}
	done, err := voltree.Apply(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return done.Root
}

func randomPath(r *rand.Rand) string {
	var names []string
	for range 1 + r.IntN(3) {
		names = append(names, string(rune('a'+r.IntN(3))))
	}
	return strings.Join(names, "/")
}

func randomChange(r *rand.Rand) voltree.Change {
	c := voltree.Change{Verb: voltree.Verb(1 + r.IntN(4)), Path: randomPath(r), Recursive: r.IntN(2) == 0, MissingOK: r.IntN(3) == 0}
	if c.Verb >= voltree.Copy {
		c.To = randomPath(r)
	}
	if c.Verb == voltree.Put {
		c.MustBeNew = r.IntN(4) == 0
		e := voltree.Entry{Type: voltree.File, Mode: uint32(r.IntN(0o1000)), UID: uint32(r.IntN(3)), Modified: r.Int64()}
		switch r.IntN(5) {
		case 0:
			e.Type = voltree.Folder
		case 1:
			e.Type, e.Target = voltree.Symlink, "x"
		case 2:
			e.Size, e.Content, e.Inode = 9, voltree.Content{Digest: digest, Offset: 3}, uint64(1+r.IntN(2))
		default:
			e.Size, e.Content = 5<<20, voltree.Content{Digest: digest, Chunked: true}
		}
		c.Entry = e
	}
	return c
}

// TestApplyAgainstAModel makes random changes, one after the other and in batches, to a tree and to plain maps.
func TestApplyAgainstAModel(t *testing.T) {
	s := open(t)
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 3))
		m, root := model{}, ""
		failed := 0
		for range 60 {
			p := voltree.Params{Reader: voltree.NewReader(s, 4096), Sink: s, Root: root, LastWins: r.IntN(3) == 0, Now: now}
			next := m.clone()
			var want *fault.Kind
			for range 1 + r.IntN(4) {
				c := randomChange(r)
				p.Changes = append(p.Changes, c)
				if want = next.apply(c, p.LastWins); want != nil {
					failed++
					break
				}
			}
			done, err := voltree.Apply(t.Context(), p)
			if want != nil {
				if !errors.Is(err, want) {
					t.Fatalf("seed %d: %+v: got %v, want %v", seed, p.Changes, err, want)
				}
				continue
			}
			if err != nil {
				t.Fatalf("seed %d: %+v: %v", seed, p.Changes, err)
			}
			got, _ := walk(t, p.Reader, done.Root)
			if d := cmp.Diff(next, got); d != "" {
				t.Fatalf("seed %d: %+v:\n%s", seed, p.Changes, d)
			}
			m, root = next, done.Root
			if want := rebuild(t, p, m); want != root {
				t.Fatalf("seed %d: the same content is another tree", seed)
			}
		}
		if failed > 55 {
			t.Errorf("seed %d: %d of 60 failed", seed, failed)
		}
	}
}

// counting counts blobs that are new.
type counting struct {
	*blob.Store
	t *testing.T
}

func (c counting) blobs() (n int) {
	c.t.Helper()
	if err := c.List(c.t.Context(), func(blob.Entry) error { n++; return nil }); err != nil {
		c.t.Fatal(err)
	}
	return n
}

func TestLargeFolders(t *testing.T) {
	s := counting{open(t), t}
	r := rand.New(rand.NewPCG(1, 1))
	p := voltree.Params{Reader: voltree.NewReader(s.Store, voltree.DefaultCache), Sink: s.Store, Now: now}
	m := model{}
	put := func(name string) {
		e := voltree.Entry{Type: voltree.File, Mode: uint32(r.IntN(0o1000))}
		m[name] = e
		p.Changes = append(p.Changes, voltree.Change{Verb: voltree.Put, Path: name, Entry: e})
	}
	for i := range 30_000 {
		put(fmt.Sprintf("d/file-%05d", i*3))
	}
	m["d"] = voltree.Entry{Type: voltree.Folder, Mode: 0o755, Modified: now.UnixNano()}
	for round := range 8 {
		before := s.blobs()
		done, err := voltree.Apply(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.blobs() - before; round == 0 && n < 10 || round == 1 && n > 6 {
			t.Errorf("round %d: %d blobs are new", round, n)
		}
		got, sum := walk(t, p.Reader, done.Root)
		if d := cmp.Diff(m, got); d != "" || sum.Files != uint64(len(m)-1) {
			t.Fatalf("round %d: %d of %d entries", round, len(got), len(m))
		}
		if want := rebuild(t, p, m); want != done.Root {
			t.Fatalf("round %d: the same content is another tree", round)
		}
		p.Root, p.Changes = done.Root, nil
		if round == 0 {
			put("d/file-00001")
			continue
		}
		for range 300 {
			put(fmt.Sprintf("d/file-%05d", r.IntN(99_000)))
		}
		// A run that goes, as long as some pages.
		for i := r.IntN(80_000); i < 99_000 && round%3 == 0; i++ {
			if name := fmt.Sprintf("d/file-%05d", i); m.has(name) {
				delete(m, name)
				p.Changes = append(p.Changes, voltree.Change{Verb: voltree.Remove, Path: name})
			}
		}
	}
}

func TestTreesThatGrowWithoutBound(t *testing.T) {
	s := open(t)
	p := voltree.Params{Reader: voltree.NewReader(s, voltree.DefaultCache), Sink: s, Now: now}
	p.Changes = []voltree.Change{{Verb: voltree.Put, Path: "a/x", Entry: voltree.Entry{Type: voltree.File}}}
	for n := range 40 {
		done, err := voltree.Apply(t.Context(), p)
		if errors.Is(err, fault.Exhausted) && n > 10 {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		p.Root = done.Root
		p.Changes = []voltree.Change{
			{Verb: voltree.Copy, Path: "a", To: "b/1", Recursive: true}, {Verb: voltree.Copy, Path: "a", To: "b/2", Recursive: true},
			{Verb: voltree.Remove, Path: "a", Recursive: true}, {Verb: voltree.Move, Path: "b", To: "a"},
		}
		p.Changes = slices.Insert(p.Changes, 0, voltree.Change{Verb: voltree.Put, Path: "b", Entry: voltree.Entry{Type: voltree.Folder, Mode: 0o755}})
	}
	t.Error("40 doublings were taken")
}
