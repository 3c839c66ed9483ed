// Package lazyfs serves images whose contents are not on this host: each is a FUSE mount with one file, whose bytes come from the cache of
// chunks or, when they are read, from the blob store.
//
// The sandbox reads an image's metadata through a memory map, where a page that can't be had ends the whole sandbox. So all of it is on the
// host and verified before an image is given out. Contents may come late; those that can't be had are an I/O error of their reader.
package lazyfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// DefaultIdle is how many images stay mounted that no container uses, so that the kernel keeps what it has read of them.
const DefaultIdle = 16

// readAheadKiB is how much the kernel reads around a page that is not there, at most what one request may ask for.
const readAheadKiB = "1024"

// maxIdleMetadata is how many bytes of metadata idle images may hold in memory.
const maxIdleMetadata = 256 << 20

// Config says what a Store works with. Fields without a default are needed.
type Config struct {
	Dir        string   // of the mounts; short, this store's alone
	ProfileDir string   // what starts read first is remembered there
	Shared     Profiles // or nil
	Chunks     *Chunks
	Log        *slog.Logger
	Idle       int // default DefaultIdle; below 0: none
}

// Store mounts images. It is safe for concurrent use.
type Store struct {
	cfg Config
	own folder

	mu     sync.Mutex
	mounts map[string]*mount // by the manifest's digest
	serial int               // of the last mount
}

// mount is an image that is mounted, or is being mounted.
type mount struct {
	image  payload.Ref
	dir    string
	refs   int
	idled  time.Time
	done   chan struct{} // closed when it is mounted or err is there
	err    error
	server *fuse.Server
	file   *file
	held   uint64 // bytes of metadata in memory
	before uint64 // bytes that had been fetched before
	end    context.CancelFunc
	ended  sync.WaitGroup
}

// New describes a store; nothing is mounted.
func New(cfg Config) *Store {
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	return &Store{cfg: cfg, own: folder{cfg.ProfileDir}, mounts: map[string]*mount{}}
}

// Reap takes down the mounts that an earlier process left. It is called before the first Open.
func (s *Store) Reap() error {
	mounted, err := mountsBelow(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("lazy images: %w", err)
	}
	for _, dir := range mounted {
		// Its server is gone: what still has files of it open gets errors.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("lazy images: unmount %s: %w", dir, err)
		}
	}
	return os.RemoveAll(s.cfg.Dir)
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

// Open returns the path of an image's file. It stays valid until release is called. Errors: fault.NotFound, fault.DataLoss,
// fault.Unavailable.
func (s *Store) Open(ctx context.Context, image payload.Ref) (path string, release func(), err error) {
	s.mu.Lock()
	m := s.mounts[image.Digest]
	if m == nil {
		// The image may be mounted anew while its last mount is being taken down: each has a folder of its own.
		s.serial++
		dir := filepath.Join(s.cfg.Dir, fmt.Sprintf("%s-%d", image.Digest[len("sha256:"):], s.serial))
		m = &mount{image: image, dir: dir, done: make(chan struct{})}
		s.mounts[image.Digest] = m
		m.refs++ // the mounting's
		go s.mount(context.WithoutCancel(ctx), m)
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
	var once sync.Once
	return filepath.Join(m.dir, fileName), func() { once.Do(func() { s.release(m) }) }, nil
}

// mount mounts what Open has entered.
func (s *Store) mount(ctx context.Context, m *mount) {
	err := s.start(ctx, m)
	if err != nil {
		s.mu.Lock()
		m.err = err
		delete(s.mounts, m.image.Digest)
		s.mu.Unlock()
	}
	close(m.done)
	s.release(m)
}

// start gets the metadata and serves the image.
func (s *Store) start(ctx context.Context, m *mount) (err error) {
	m.before = s.cfg.Chunks.Fetched()
	manifest, err := s.cfg.Chunks.manifest(ctx, m.image.Digest)
	if err != nil {
		return err
	}
	if manifest.Size != m.image.Size {
		return fault.New(fault.DataLoss, "manifest %s: is of a file of %d bytes, want %d", m.image.Digest, manifest.Size, m.image.Size)
	}
	life, end := context.WithCancel(context.Background())
	m.end = end
	m.file = &file{
		image: m.image.Digest, manifest: manifest, local: map[int][]byte{}, chunks: s.cfg.Chunks, ahead: newAhead(manifest), log: s.cfg.Log,
	}
	defer func() {
		if err != nil {
			s.stop(m)
		}
	}()
	if err := s.pin(ctx, m.file); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	for _, r := range manifest.Local {
		m.held += r.Size
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	m.ended.Go(func() { m.file.ahead.run(life, s.cfg.Chunks) })
	m.ended.Go(func() { s.remember(life, m) })
	return m.serve()
}

// serve mounts the file and returns when it can be opened.
func (m *mount) serve() error {
	forever := unchanging
	// Nobody forks before the descriptor of the device is no child's.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	server, err := fusefs.Mount(m.dir, &root{file: m.file}, &fusefs.Options{
		EntryTimeout: &forever, AttrTimeout: &forever,
		MountOptions: fuse.MountOptions{
			AllowOther: true, DirectMountStrict: true, FsName: "skerry", Name: "skerry", MaxBackground: 64, MaxWrite: 1 << 20,
			DisableXAttrs: true, Options: []string{"ro"},
		},
	})
	if err != nil {
		return fmt.Errorf("mount of image %s: %w", m.image.Digest, err)
	}
	m.server = server
	if err := readAhead(m.dir); err != nil {
		m.file.log.Warn("the kernel reads images in small pieces, which is slow", "error", err)
	}
	return keepDevices()
}

// readAhead has the kernel ask for large pieces of a mount's file. A file system of FUSE can't say so itself, and the kernel's own choice is
// an eighth of this.
func readAhead(dir string) error {
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return err
	}
	device := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(stat.Dev), unix.Minor(stat.Dev))
	return os.WriteFile(device, []byte(readAheadKiB), 0)
}

// keepDevices has no program inherit a descriptor of /dev/fuse, which the library does not see to. The kernel fails all reads when the last
// one is closed: a sandbox that had one would wait for itself for ever once this process is killed.
func keepDevices() error {
	const mine = "/proc/self/fd"
	entries, err := os.ReadDir(mine)
	if err != nil {
		return err
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(mine, e.Name()))
		if err != nil || target != "/dev/fuse" { // closed meanwhile, or another file
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		syscall.CloseOnExec(fd)
	}
	return nil
}

// pin holds all chunks of metadata in memory for as long as the image is mounted.
func (s *Store) pin(ctx context.Context, f *file) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(DefaultFetches)
	var mu sync.Mutex
	for i, c := range f.manifest.Chunks {
		if !f.manifest.IsLocal(i) {
			continue
		}
		g.Go(func() error {
			data, err := s.cfg.Chunks.get(gctx, c, 0)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			f.local[i] = data
			return nil
		})
	}
	return g.Wait()
}

// remember has what earlier starts read fetched ahead, and when this start is over adds what it has read.
func (s *Store) remember(ctx context.Context, m *mount) {
	earlier, err := s.profile(ctx, m.image.Digest, m.file.manifest)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn("what starts of an image read first is not known, and is recorded anew", "image", m.image.Digest, "error", err)
	}
	for _, index := range earlier {
		m.file.ahead.want(int(index), false)
	}
	t := time.NewTimer(profileWindow)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	read := m.file.ahead.started()
	s.cfg.Log.Info("image started lazily", "image", m.image.Digest, "bytes", m.image.Size, "chunks", len(m.file.manifest.Chunks),
		"read", len(read), "fetched", s.cfg.Chunks.Fetched()-m.before)
	if all, grown := merge(read, earlier); grown {
		if err := s.keep(ctx, m.image.Digest, all); err != nil {
			s.cfg.Log.Warn("what a start of an image read first is not recorded", "image", m.image.Digest, "error", err)
		}
	}
}

// release gives a mount back. Those that are idle for longest are taken down where there are many.
func (s *Store) release(m *mount) {
	s.mu.Lock()
	m.refs--
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
	}
	return idle
}

// stop takes a mount down. Whoever still has its file open gets errors.
func (s *Store) stop(m *mount) {
	var err error
	idle := false
	if m.server != nil {
		if err = unix.Unmount(m.dir, 0); err == nil {
			idle = true
		} else {
			err = unix.Unmount(m.dir, unix.MNT_DETACH)
		}
	}
	m.end()
	m.ended.Wait()
	// Sandboxes of other images began with copies of the mount in namespaces of their own, which would keep it alive as long as they live: they
	// go with the folder.
	if gone := os.Remove(m.dir); err == nil && !errors.Is(gone, fs.ErrNotExist) {
		err = gone
	}
	if idle {
		m.server.Wait()
	}
	if err != nil {
		s.cfg.Log.Warn("a lazy image was not taken down in good order", "image", m.image.Digest, "error", err)
	}
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
	return errors.Join(s.Reap())
}
