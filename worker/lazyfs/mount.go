package lazyfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// mount is an image that is mounted, or is being mounted.
type mount struct {
	image   payload.Ref
	dir     string
	refs    int
	idled   time.Time
	done    chan struct{} // closed when it is mounted or err is there
	err     error
	server  *fuse.Server
	session Session
	file    *file
	held    uint64 // bytes of metadata in memory
	fetched uint64 // bytes that had been fetched before
	end     context.CancelFunc
	ended   sync.WaitGroup
	before  chan struct{} // closed when the mount before it, in the same folder, is taken down; or nil
	gone    chan struct{} // closed when it is taken down itself
}

// mounted says whether the image can be read.
func (m *mount) mounted() bool {
	select {
	case <-m.done:
		return m.err == nil
	default:
		return false
	}
}

// mount mounts what open has entered, or goes on with a session.
func (s *Store) mount(ctx context.Context, m *mount, session *Session) {
	err := s.start(ctx, m, session)
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
func (s *Store) start(ctx context.Context, m *mount, session *Session) (err error) {
	m.fetched = s.cfg.Chunks.Fetched()
	manifest, err := s.cfg.Chunks.manifest(ctx, m.image.Digest)
	if err != nil {
		return err
	}
	if manifest.Size != m.image.Size {
		return fault.New(fault.DataLoss, "manifest %s: is of a file of %d bytes, want %d", m.image.Digest, manifest.Size, m.image.Size)
	}
	m.file = &file{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), image: m.image.Digest, manifest: manifest, local: map[int][]byte{}, chunks: s.cfg.Chunks,
		ahead: newAhead(manifest), opens: &opens{closed: s.cfg.Closed, unknown: session != nil}, log: s.cfg.Log,
	}
	if err := s.pin(ctx, m.file); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	for _, r := range manifest.Local {
		m.held += r.Size
	}
	if m.before != nil {
		<-m.before
	}
	if err := m.serve(session); err != nil {
		return fmt.Errorf("mount of image %s: %w", m.image.Digest, err)
	}
	life, end := context.WithCancel(context.Background())
	m.end = end
	m.ended.Go(func() { m.file.ahead.run(life, s.cfg.Chunks) })
	m.ended.Go(func() { s.remember(life, m) })
	return nil
}

// serve serves the file, at a new mount or, with a session, at the one that is there.
func (m *mount) serve(session *Session) (err error) {
	if session == nil {
		if err := os.MkdirAll(m.dir, 0o700); err != nil {
			return err
		}
		if m.server, m.session, err = m.file.session(m.dir); err != nil {
			return errors.Join(err, os.Remove(m.dir))
		}
		return nil
	}
	if m.session, err = session.Copy(); err != nil {
		return err
	}
	if m.server, err = m.file.resume(m.session); err != nil {
		return errors.Join(err, m.session.Device.Close())
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
		"read", len(read), "fetched", s.cfg.Chunks.Fetched()-m.fetched)
	if all, grown := merge(read, earlier); grown {
		if err := s.keep(ctx, m.image.Digest, all); err != nil {
			s.cfg.Log.Warn("what a start of an image read first is not recorded", "image", m.image.Digest, "error", err)
		}
	}
}

// stop takes a mount down that has been taken off the list. Whoever still has its file open gets errors.
func (s *Store) stop(m *mount) {
	idle, err := takeDown(m.dir)
	s.mu.Lock()
	close(m.gone)
	if s.ending[m.image.Digest] == m.gone {
		delete(s.ending, m.image.Digest)
	}
	s.mu.Unlock()
	m.end()
	m.ended.Wait()
	err = errors.Join(err, m.session.Device.Close())
	if idle && !m.file.opens.any() {
		m.server.Wait()
	}
	if err != nil {
		s.cfg.Log.Warn("a lazy image was not taken down in good order", "image", m.image.Digest, "error", err)
	}
}
