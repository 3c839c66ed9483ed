package volfs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// store is a volume and its blobs, in memory.
type store struct {
	t  *testing.T
	mu sync.Mutex

	blobs map[string][]byte
	root  string
	tree  *voltree.Reader
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{t: t, blobs: map[string][]byte{}}
	s.tree = voltree.NewReader(s, voltree.DefaultCache)
	s.apply(nil)
	return s
}

func (s *store) ReadAll(_ context.Context, digest string, _ int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.blobs[digest]; ok {
		return data, nil
	}
	return nil, fault.New(fault.NotFound, "blob %s", digest)
}

func (s *store) Add(_ context.Context, data []byte) (payload.Ref, bool, error) {
	ref := payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[ref.Digest] = data
	return ref, true, nil
}

func (s *store) Blob(ctx context.Context, digest string) ([]byte, error) {
	return s.ReadAll(ctx, digest, 0)
}
func (s *store) Prefetch(string) {}

func (s *store) Manifest(ctx context.Context, digest string) (*cas.Manifest, error) {
	return cas.Load(ctx, s, digest)
}

func (s *store) apply(changes []voltree.Change) {
	s.t.Helper()
	done, err := voltree.Apply(s.t.Context(), voltree.Params{
		Reader: s.tree, Sink: s, Root: s.root, Changes: changes, LastWins: true, Now: time.Now(),
	})
	if err != nil {
		s.t.Fatalf("changes: %v", err)
	}
	s.root = done.Root
}

func (s *store) top() voltree.Entry {
	s.t.Helper()
	e, err := s.tree.Root(s.t.Context(), s.root)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// volume is a file system of the store's version, mounted.
type volume struct {
	*FS
	store *store
	dir   string
	upper string
}

func (s *store) mount(edit func(c *Config)) *volume {
	s.t.Helper()
	v := &volume{store: s, dir: s.t.TempDir(), upper: s.t.TempDir()}
	cfg := Config{
		Upper: v.upper, Root: s.top(), Tree: s.tree, Blobs: s, Bytes: NewRoom(1<<30, nil), Nodes: NewRoom(100_000, nil),
		Log: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
	}
	if edit != nil {
		edit(&cfg)
	}
	v.FS = New(cfg)
	if err := v.Mount(v.dir); err != nil {
		s.t.Fatal(err)
	}
	if !cfg.ReadOnly {
		v.settlePolls()
	}
	s.t.Cleanup(func() {
		if err := v.Unmount(); err != nil {
			s.t.Error(err)
		}
		v.Close()
		if left, err := os.ReadDir(v.upper); err != nil || len(left) > 0 {
			s.t.Errorf("left of the data of changed files: %v, %v", left, err)
		}
		if n := v.cfg.Bytes.used.Load(); n != 0 {
			s.t.Errorf("room for bytes that is not given back: %d", n)
		}
		if n := v.cfg.Nodes.used.Load(); n != 0 {
			s.t.Errorf("room for files that is not given back: %d", n)
		}
	})
	return v
}

// settlePolls has the kernel learn that files can't be polled, by a call that the runtime knows may block: it asks once, when a file is first
// opened by the os package, from which this process would not come back, for it serves the mount itself.
func (v *volume) settlePolls() {
	t := v.store.t
	t.Helper()
	path := filepath.Join(v.dir, ".poll")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Close(fd), unix.Unlink(path)); err != nil {
		t.Fatal(err)
	}
	if c := v.Changes(); c != nil {
		t.Fatal("there are changes")
	}
}

// stage stores the bytes of changed files and returns all changes.
func (v *volume) stage(c *Changes) (contents map[*Cut]voltree.Content, list []voltree.Change) {
	t, ctx := v.store.t, v.store.t.Context()
	t.Helper()
	contents = map[*Cut]voltree.Content{}
	for cut := range c.Files() {
		contents[cut] = v.keep(cut)
	}
	for change, err := range c.All(ctx, contents) {
		if err != nil {
			t.Fatal(err)
		}
		if change.Remove {
			list = append(list, voltree.Change{Verb: voltree.Remove, Path: change.Path, Recursive: true})
		} else {
			list = append(list, voltree.Change{Verb: voltree.Put, Path: change.Path, Entry: change.Entry})
		}
	}
	return contents, list
}

func (v *volume) keep(cut *Cut) voltree.Content {
	t, ctx := v.store.t, v.store.t.Context()
	m := &cas.Manifest{Size: cut.Size}
	for i := range cut.Blocks() {
		chunk, ok, err := cut.Unchanged(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			data, err := cut.ReadBlock(ctx, i)
			if err != nil {
				t.Fatal(err)
			}
			ref, _, _ := v.store.Add(ctx, data)
			chunk = cas.Chunk{Digest: ref.Digest, Size: uint32(len(data))}
		}
		m.Chunks = append(m.Chunks, chunk)
	}
	if cut.Size <= voltree.MaxPack {
		return voltree.Content{Digest: m.Chunks[0].Digest}
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ref, _, _ := v.store.Add(ctx, data)
	return voltree.Content{Digest: ref.Digest, Chunked: true}
}

// commit makes a version of what has changed.
func (v *volume) commit() {
	v.store.t.Helper()
	c := v.Changes()
	if c == nil {
		return
	}
	contents, list := v.stage(c)
	v.store.apply(list)
	c.Settle(contents)
	v.Stored(v.store.t.Context(), v.store.top())
}

// seen is what can be told apart of a file.
type seen struct {
	Mode     fs.FileMode
	UID, GID uint32
	Links    uint64
	Modified int64
	Content  string
	Target   string
}

// look reads a tree.
func look(t *testing.T, dir string, links bool) map[string]seen {
	t.Helper()
	all := map[string]seen{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		s := seen{Mode: info.Mode(), UID: stat.Uid, GID: stat.Gid, Modified: info.ModTime().UnixNano()}
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			s.Content = ident.Digest(data)
			if links {
				s.Links = stat.Nlink
			}
		case info.Mode()&fs.ModeSymlink != 0:
			if s.Target, err = os.Readlink(path); err != nil {
				return err
			}
		}
		if info.IsDir() || info.Mode()&fs.ModeSymlink != 0 {
			s.Modified = 0
		}
		rel, _ := filepath.Rel(dir, path)
		all[rel] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, what string, got, want map[string]seen) {
	t.Helper()
	for path, w := range want {
		if g, ok := got[path]; !ok {
			t.Errorf("%s: %s is missing", what, path)
		} else if g != w {
			t.Errorf("%s: %s is %+v, want %+v", what, path, g, w)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %s is there, which it should not be", what, path)
		}
	}
}
