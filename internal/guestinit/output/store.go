// Package output keeps what processes write, by offset: the newest bytes in memory, those before them in a file of the container's disk that has
// no name. Memory and disk of all streams together are bounded.
package output

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// Limit is how much of each stream is kept in memory, in bytes.
	Limit = 1 << 20
	// SpillLimit is how much of each stream is kept on the disk besides, in bytes.
	SpillLimit = 64 << 20
	// MaxMemory is how much all streams may keep in memory while there is room on the disk, in bytes. Each has minMemory in any case.
	MaxMemory = 64 << 20
	// MaxSpill is how much all streams may keep on the disk, in bytes; a quarter of a disk that is smaller than four times this.
	MaxSpill  = 1 << 30
	minMemory = 32 << 10
)

// Config says where a Store keeps what memory has no room for.
type Config struct {
	// Dir is a folder of the container's disk; empty: what memory has no room for is forgotten.
	Dir string
}

// Store bounds what all streams of a container keep. It is safe for concurrent use.
type Store struct {
	dir string

	mu       sync.Mutex
	memory   int64 // bytes of all buffers
	spilled  int64 // bytes of all spill files
	maxSpill int64 // 0: not known yet
}

// NewStore returns a store without streams.
func NewStore(cfg Config) *Store { return &Store{dir: cfg.Dir} }

// NewStream returns an empty stream that is open.
func (s *Store) NewStream() *Stream {
	return &Stream{store: s, limit: Limit, patience: Patience, followers: make(map[*Follower]struct{})}
}

// claim takes memory for a buffer that grows from have to want bytes; it says no when others have it all and this one has its least.
func (s *Store) claim(have, want int, must bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !must && want > minMemory && s.memory+int64(want-have) > MaxMemory {
		return false
	}
	s.memory += int64(want - have)
	return true
}

func (s *Store) unclaim(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory -= int64(n)
}

// reserve takes n bytes of the disk's share, if there are as many.
func (s *Store) reserve(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxSpill == 0 {
		s.maxSpill = share(s.dir)
	}
	if s.spilled+n > s.maxSpill {
		return false
	}
	s.spilled += n
	return true
}

func (s *Store) unreserve(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spilled -= n
}

// share is how much of a disk output may take.
func share(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || st.Blocks == 0 {
		return MaxSpill
	}
	return min(MaxSpill, int64(st.Blocks)*st.Bsize/4) //nolint:gosec // disks are smaller than 8 EiB
}

// create makes a file without a name.
func (s *Store) create() (*os.File, error) {
	fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "spill"), nil //nolint:gosec // file descriptors are small
	}
	// Not every file system has files that never had a name.
	f, err := os.CreateTemp(s.dir, ".skerry-output-")
	if err != nil {
		return nil, fmt.Errorf("keep output: %w", err)
	}
	if err := os.Remove(filepath.Clean(f.Name())); err != nil {
		_ = f.Close() // nothing was written
		return nil, fmt.Errorf("keep output: %w", err)
	}
	return f, nil
}
