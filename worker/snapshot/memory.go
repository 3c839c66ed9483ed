package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/skerry-dev/skerry/internal/fault"
)

// memory counts who uses which snapshots that are kept here.
type memory struct {
	mu      sync.Mutex
	used    map[string]int
	dropped map[string]bool // those that go when nobody uses them any more
}

// describing is the file of a memory snapshot that says what it is of. It comes last, so a folder that has it is complete.
const describing = "snapshot.json"

// format names the layout of a snapshot. A reader refuses others.
const format = "skerry.memory.1"

// maxFiles and maxDescription bound a snapshot's description.
const maxFiles, maxDescription = 16, 4096

// description says what a snapshot is.
type description struct {
	Format  string `json:"format"`
	Runtime string `json:"runtime"`
	Files   []file `json:"files"`
}

type file struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

var fileName = regexp.MustCompile(`^[a-z][a-z_]{0,40}\.img$`)

// check refuses what this worker can't restore. Errors: fault.DataLoss, fault.Precondition.
func (d *description) check(runtime string) error {
	if d.Format != format || len(d.Files) == 0 || len(d.Files) > maxFiles {
		return fault.New(fault.DataLoss, "snapshot: its description is none of ours")
	}
	for i, f := range d.Files {
		if !fileName.MatchString(f.Name) || f.Size < 0 || slices.ContainsFunc(d.Files[:i], func(o file) bool { return o.Name == f.Name }) {
			return fault.New(fault.DataLoss, "snapshot: its description names a file %.80q of %d bytes", f.Name, f.Size)
		}
	}
	if d.Runtime != runtime {
		return fault.New(fault.Precondition, "the snapshot was made with %.200s, this worker has %s; make it again", d.Runtime, runtime)
	}
	return nil
}

func (d *description) bytes() (n uint64) {
	for _, f := range d.Files {
		n += uint64(f.Size) //nolint:gosec // check has seen it
	}
	return n
}

// snapshotID is what may name a folder.
var snapshotID = regexp.MustCompile(`^[a-z]{2}-[0-9A-Za-z]{1,64}$`)

// Keep takes a memory snapshot: save writes the files to the folder that it is given. Need is about how many bytes they take. It returns their
// size. A snapshot is kept until Drop. Errors: save's, fault.Exists, fault.Exhausted where the disk is full.
func (s *Store) Keep(ctx context.Context, id string, need uint64, save func(ctx context.Context, dir string) error) (size uint64, err error) {
	if !snapshotID.MatchString(id) {
		return 0, fault.New(fault.Invalid, "snapshot %.80q: that is no id", id)
	}
	if _, err := os.Stat(s.kept(id)); err == nil {
		return 0, fault.New(fault.Exists, "snapshot %q is there already", id)
	}
	if err := s.room(need); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(s.tmp(), id+"-")
	if err != nil {
		return 0, fmt.Errorf("snapshot %q: %w", id, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := save(ctx, dir); err != nil {
		return 0, err
	}
	d, err := s.describe(dir)
	if err != nil {
		return 0, fmt.Errorf("snapshot %q: %w", id, err)
	}
	if err := os.Rename(dir, s.kept(id)); err != nil {
		return 0, fmt.Errorf("snapshot %q: %w", id, err)
	}
	return d.bytes(), nil
}

// describe says what a folder holds, after that is on the disk.
func (s *Store) describe(dir string) (*description, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	d := &description{Format: format, Runtime: s.cfg.Runtime}
	for _, e := range entries {
		size, err := settle(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		d.Files = append(d.Files, file{e.Name(), size})
	}
	if err := d.check(s.cfg.Runtime); err != nil {
		return nil, err
	}
	data, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, describing), data, 0o600); err != nil {
		return nil, err
	}
	_, err = settle(filepath.Join(dir, describing))
	return d, err
}

// settle waits until a file is on the disk, and returns its size.
func settle(path string) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// List returns the ids of all snapshots that are kept here.
func (s *Store) List() ([]string, error) {
	entries, err := os.ReadDir(s.kept(""))
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, nil
}

// Drop removes a snapshot that is kept here, once nobody uses it any more. One that is not there is no error.
func (s *Store) Drop(id string) error {
	if !snapshotID.MatchString(id) {
		return fault.New(fault.Invalid, "snapshot %.80q: that is no id", id)
	}
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	if s.memory.used[id] > 0 {
		s.memory.dropped[id] = true
		return nil
	}
	return s.removeKept(id)
}

func (s *Store) removeKept(id string) error {
	// A folder half removed is none that is kept.
	dir, err := os.MkdirTemp(s.tmp(), "dropped-")
	if err != nil {
		return fmt.Errorf("snapshot %q: %w", id, err)
	}
	err = os.Rename(s.kept(id), filepath.Join(dir, id))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		return fmt.Errorf("snapshot %q: %w", id, err)
	}
	return nil
}

// Dir returns the folder of a snapshot's files, which stays until release is called: the one that is kept here, or else one that is fetched by
// the digest of its manifest, where that is not empty. Errors: fault.NotFound, fault.DataLoss, fault.Precondition if it is of another runtime,
// fault.Exhausted where the disk is full.
func (s *Store) Dir(ctx context.Context, id, manifest string) (dir string, release func() error, err error) {
	dir, release, err = s.use(id)
	if err == nil || !errors.Is(err, fault.NotFound) || manifest == "" {
		return dir, release, err
	}
	return s.fetch(ctx, manifest)
}

// use finds a snapshot that is kept here.
func (s *Store) use(id string) (dir string, release func() error, err error) {
	if !snapshotID.MatchString(id) {
		return "", nil, fault.New(fault.Invalid, "snapshot %.80q: that is no id", id)
	}
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	if s.memory.dropped[id] {
		return "", nil, fault.New(fault.NotFound, "snapshot %q is being removed", id)
	}
	if _, err := s.read(s.kept(id)); err != nil {
		return "", nil, fmt.Errorf("snapshot %q: %w", id, err)
	}
	s.memory.used[id]++
	var once sync.Once
	return s.kept(id), func() (err error) {
		once.Do(func() { err = s.leave(id) })
		return err
	}, nil
}

func (s *Store) leave(id string) error {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	if s.memory.used[id]--; s.memory.used[id] > 0 {
		return nil
	}
	delete(s.memory.used, id)
	if !s.memory.dropped[id] {
		return nil
	}
	delete(s.memory.dropped, id)
	return s.removeKept(id)
}

// read reads a folder's description. Errors: fault.NotFound if there is no such folder.
func (s *Store) read(dir string) (*description, error) {
	data, err := os.ReadFile(filepath.Join(dir, describing))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "it is not on this worker")
	}
	if err != nil {
		return nil, err
	}
	d := &description{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fault.New(fault.DataLoss, "its description: %w", err)
	}
	return d, d.check(s.cfg.Runtime)
}
