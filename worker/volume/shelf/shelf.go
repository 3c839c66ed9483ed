// Package shelf is where volumes are kept in tests, in memory, in place of a gateway.
package shelf

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/volume"
)

// Blobs is where blobs are kept.
type Blobs = volume.Blobs

// Memory keeps blobs in memory.
type Memory struct {
	mu    sync.Mutex
	blobs map[string][]byte
}

// ReadAll implements volume.Blobs.
func (m *Memory) ReadAll(_ context.Context, digest string, _ int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data, ok := m.blobs[digest]; ok {
		return data, nil
	}
	return nil, fault.New(fault.NotFound, "blob %s", digest)
}

// Add implements volume.Blobs.
func (m *Memory) Add(_ context.Context, data []byte) (payload.Ref, bool, error) {
	ref := payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blobs == nil {
		m.blobs = map[string][]byte{}
	}
	m.blobs[ref.Digest] = data
	return ref, true, nil
}

// Shelf is where volumes are kept, in memory.
type Shelf struct {
	// Step is called before a blob is kept and before a version is made; or nil. It is set while nobody uses the shelf.
	Step func()

	changing sync.Mutex
	mu       sync.Mutex
	blobs    Blobs
	versions map[string][]string // roots of the versions of each volume, from the first on
	deleted  map[string]bool
	away     bool
	Missed   chan struct{} // has a token when somebody came while it was away
	tree     *voltree.Reader
}

// New returns a shelf without volumes that keeps blobs somewhere.
func New(blobs Blobs) *Shelf {
	s := &Shelf{blobs: blobs, versions: map[string][]string{}, deleted: map[string]bool{}, Missed: make(chan struct{}, 1)}
	s.tree = voltree.NewReader(s, voltree.DefaultCache)
	return s
}

// there is an error while the shelf is away.
func (s *Shelf) there() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.away {
		return nil
	}
	select {
	case s.Missed <- struct{}{}:
	default:
	}
	return fault.New(fault.Unavailable, "the shelf is away")
}

// ReadAll implements volume.Blobs.
func (s *Shelf) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	if err := s.there(); err != nil {
		return nil, err
	}
	return s.blobs.ReadAll(ctx, digest, limit)
}

// Add implements volume.Blobs.
func (s *Shelf) Add(ctx context.Context, data []byte) (payload.Ref, bool, error) {
	if err := s.there(); err != nil {
		return payload.Ref{}, false, err
	}
	if s.Step != nil {
		s.Step()
	}
	return s.blobs.Add(ctx, data)
}

// Change makes a version.
func (s *Shelf) Change(ctx context.Context, id string, changes []voltree.Change) (volume.Version, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.Step != nil {
		s.Step()
	}
	s.mu.Lock()
	list, deleted := s.versions[id], s.deleted[id]
	s.mu.Unlock()
	if deleted {
		return volume.Version{}, fault.New(fault.NotFound, "volume %q", id)
	}
	root := ""
	if len(list) > 0 {
		root = list[len(list)-1]
	}
	done, err := voltree.Apply(ctx, voltree.Params{Reader: s.tree, Sink: s, Root: root, Changes: changes, LastWins: true, Now: time.Now()})
	if err != nil {
		return volume.Version{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[id] = append(list, done.Root)
	return volume.Version{Number: uint64(len(s.versions[id])), Root: done.Root}, nil
}

// OpenVolume implements volume.Store.
func (s *Shelf) OpenVolume(_ context.Context, id string) (volume.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.versions[id]
	if len(list) == 0 {
		return volume.Version{}, fault.New(fault.NotFound, "volume %q", id)
	}
	return volume.Version{Number: uint64(len(list)), Root: list[len(list)-1]}, nil
}

// Delete deletes a volume; commits to it are refused.
func (s *Shelf) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleted[id] = true
}

// HoldVersions implements volume.Store.
func (s *Shelf) HoldVersions(context.Context, []string) error { return nil }

// BeginCommit implements volume.Store.
func (s *Shelf) BeginCommit(ctx context.Context, p volume.CommitParams) (volume.Commit, error) {
	return &shelved{shelf: s, ctx: ctx, params: p}, nil
}

type shelved struct {
	shelf  *Shelf
	ctx    context.Context //nolint:containedctx // of one commit
	params volume.CommitParams
	list   []voltree.Change
}

func (c *shelved) Send(list []voltree.Change) error { c.list = append(c.list, list...); return nil }
func (c *shelved) Close() (volume.Version, error) {
	return c.shelf.Change(c.ctx, c.params.VolumeID, c.list)
}
func (c *shelved) Abort() {}

// Text is the content of a file of the newest version, or "-" where there is none.
func (s *Shelf) Text(t testing.TB, id, path string) string {
	t.Helper()
	v, err := s.OpenVolume(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.tree.Root(t.Context(), v.Root)
	if err != nil {
		t.Fatal(err)
	}
	names, err := voltree.Split(path)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.tree.Find(t.Context(), root, names)
	if fault.KindOf(err) == fault.NotFound {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	if e.Size == 0 {
		return ""
	}
	if e.Content.Chunked {
		m, err := cas.Load(t.Context(), s, e.Content.Digest)
		var whole strings.Builder
		if err == nil {
			err = cas.Copy(t.Context(), s, m, &whole)
		}
		if err != nil {
			t.Fatal(err)
		}
		return whole.String()
	}
	data, err := s.ReadAll(t.Context(), e.Content.Digest, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return string(data[e.Content.Offset : e.Content.Offset+e.Size])
}

// Leave has the shelf be away, or with false be there again.
func (s *Shelf) Leave(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}
