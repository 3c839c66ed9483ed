// Package lazyfs serves images whose contents are not on this host: each is a FUSE mount with one file, whose bytes come from the cache of
// chunks or, when they are read, from the blob store.
//
// The sandbox reads an image's metadata through a memory map, where a page that can't be had ends the whole sandbox. So all of it is on the
// host and verified before an image is given out. Contents may come late; those that can't be had are an I/O error of their reader.
package lazyfs

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// DefaultIdle is how many images stay mounted that no container uses, so that the kernel keeps what it has read of them.
const DefaultIdle = 16

// maxIdleMetadata is how many bytes of metadata idle images may hold in memory.
const maxIdleMetadata = 256 << 20

// Config says what a Store works with. Fields without a default are needed.
type Config struct {
	Dir        string   // of the mounts; short, this store's alone
	ProfileDir string   // what starts read first is remembered there
	Shared     Profiles // or nil
	Chunks     *Chunks
	Log        *slog.Logger
	Idle       int    // default DefaultIdle; below 0: none
	Closed     func() // called when the last open file of an image is closed; or nil
}

// Store mounts images. It is safe for concurrent use.
type Store struct {
	cfg Config
	own folder

	mu     sync.Mutex
	mounts map[string]*mount        // by the manifest's digest
	ending map[string]chan struct{} // closed when the last mount of an image, which is no longer one of mounts, is taken down
}

// New describes a store; nothing is mounted.
func New(cfg Config) *Store {
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	return &Store{cfg: cfg, own: folder{cfg.ProfileDir}, mounts: map[string]*mount{}, ending: map[string]chan struct{}{}}
}

func mountsBelow(dir string) (found []string, err error) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			found = append(found, fields[1])
		}
	}
	return found, nil
}

// Open returns the path of an image's file, which depends on the image alone. It stays valid until release is called. Errors: fault.NotFound,
// fault.DataLoss, fault.Unavailable.
func (s *Store) Open(ctx context.Context, image payload.Ref) (path string, release func(), err error) {
	return s.open(ctx, image, nil)
}

// Resume goes on with the mount of an image whose server has died, of which this store knows nothing. What readers wait for is answered. The
// device stays the caller's. Errors: as Open.
func (s *Store) Resume(ctx context.Context, image payload.Ref, session Session) (path string, release func(), err error) {
	if !session.resumable() {
		return "", nil, fault.New(fault.Precondition, "image %s: the kernel can't ask again what its server was asked", image.Digest)
	}
	return s.open(ctx, image, &session)
}

func (s *Store) open(ctx context.Context, image payload.Ref, session *Session) (path string, release func(), err error) {
	s.mu.Lock()
	m := s.mounts[image.Digest]
	if m == nil {
		m = &mount{image: image, dir: s.dir(image.Digest), done: make(chan struct{}), before: s.ending[image.Digest]}
		s.mounts[image.Digest] = m
		m.refs++ // the mounting's
		go s.mount(context.WithoutCancel(ctx), m, session)
	}
	m.refs++
	s.mu.Unlock()
	select {
	case <-m.done:
	case <-ctx.Done():
		s.release(m)
		return "", nil, context.Cause(ctx)
	}
	if m.err != nil {
		s.release(m)
		return "", nil, m.err
	}
	return filepath.Join(m.dir, fileName), s.releaser(m), nil
}

// Adopt is Open for an image that is mounted. Errors: fault.NotFound for one that is not.
func (s *Store) Adopt(image payload.Ref) (path string, release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mounts[image.Digest]
	if m == nil || !m.mounted() {
		return "", nil, fault.New(fault.NotFound, "image %s: is not mounted", image.Digest)
	}
	m.refs++
	return filepath.Join(m.dir, fileName), s.releaser(m), nil
}

// Session is what another process needs to go on with an image's mount; its Device is the store's. False: it is not mounted, or the kernel
// can't have another process go on.
func (s *Store) Session(digest string) (Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mounts[digest]
	if m == nil || !m.mounted() {
		return Session{}, false
	}
	return m.session, m.session.resumable()
}

// Opened says whether anybody has the file of a mounted image open.
func (s *Store) Opened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mounts {
		if m.mounted() && m.file.opens.any() {
			return true
		}
	}
	return false
}

// dir is where an image is mounted.
func (s *Store) dir(digest string) string { return filepath.Join(s.cfg.Dir, digest[len("sha256:"):]) }

// Sweep takes down what is mounted in the store's folder and is not the store's: it is left of a process that has died.
func (s *Store) Sweep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var mine []string
	for digest := range s.mounts {
		mine = append(mine, s.dir(digest))
	}
	for digest := range s.ending {
		mine = append(mine, s.dir(digest))
	}
	return Sweep(s.cfg.Dir, mine...)
}

func (s *Store) releaser(m *mount) func() {
	var once sync.Once
	return func() { once.Do(func() { s.release(m) }) }
}

// release gives a mount back. Those that are idle for longest are taken down where there are many.
func (s *Store) release(m *mount) {
	s.mu.Lock()
	if m.refs--; m.refs == 0 && m.file != nil {
		m.file.opens.forget()
	}
	m.idled = time.Now()
	doomed := s.takeIdle(max(s.cfg.Idle, 0))
	if !s.inUse() {
		s.cfg.Chunks.rest()
	}
	s.mu.Unlock()
	for _, m := range doomed {
		s.stop(m)
	}
}

// inUse says whether anybody uses an image. The lock is held.
func (s *Store) inUse() bool {
	for _, m := range s.mounts {
		if m.refs > 0 {
			return true
		}
	}
	return false
}

// takeIdle takes idle mounts off the list until some are left. The lock is held.
func (s *Store) takeIdle(left int) []*mount {
	var idle []*mount
	for _, m := range s.mounts {
		if m.refs == 0 {
			idle = append(idle, m)
		}
	}
	slices.SortFunc(idle, func(a, b *mount) int { return cmp.Compare(b.idled.UnixNano(), a.idled.UnixNano()) })
	keep, held := 0, uint64(0)
	for keep < min(left, len(idle)) && held+idle[keep].held <= maxIdleMetadata {
		held += idle[keep].held
		keep++
	}
	idle = idle[keep:]
	for _, m := range idle {
		delete(s.mounts, m.image.Digest)
		m.gone = make(chan struct{})
		s.ending[m.image.Digest] = m.gone
	}
	return idle
}

// Close takes all mounts down that no container uses; there are no others when containers have ended.
func (s *Store) Close() error {
	s.mu.Lock()
	doomed := s.takeIdle(0)
	left := len(s.mounts)
	s.mu.Unlock()
	for _, m := range doomed {
		s.stop(m)
	}
	if left > 0 {
		return fmt.Errorf("lazy images: %d are still in use", left)
	}
	return Sweep(s.cfg.Dir)
}
