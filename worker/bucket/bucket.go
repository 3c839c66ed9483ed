// Package bucket has buckets mounted on this host for containers: each by a process of its own (package bucketfs), which outlives the worker and
// goes with the last container that uses the mount.
//
// A mount is a folder of the run folder with the mount itself and a record of the process, by which the next process of the worker finds it
// again. The process has the credentials, and nobody else: they go to it over a pipe. It may reach what containers may reach, for where a
// bucket is says whoever mounts it: it runs in the network namespace of an endpoint of its own. Only endpoints that the operator names are reached
// from the host's own network.
package bucket

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network"
)

// DefaultCacheBytes is how much a mount keeps of what was read.
const DefaultCacheBytes = 10 << 30

// Config says how buckets are mounted. Fields without a default are needed.
type Config struct {
	Dir        string   // of mounts, in the run folder
	CacheDir   string   // of files that are open or were, on a disk
	CacheBytes int64    // of each mount, without what is open; default DefaultCacheBytes
	LogFile    string   // which the processes append to
	Program    string   // path of skerry-bucket; empty: there is none, and nothing can be mounted
	Trusted    []string // URLs of endpoints that are reached from the host's own network
	Roots      string   // PEM file of certificates that are trusted besides the system's; or empty

	Network network.Endpoints
	Log     *slog.Logger
}

// Store has the mounts. It is safe for concurrent use.
type Store struct {
	cfg     Config
	trusted map[string]bool // by origin

	mu     sync.Mutex
	mounts map[string]*mount                // by id
	shared map[container.BucketMount]*mount // those that others may join, by what they are of

	starting sync.WaitGroup // those who mount, and who give back what they no longer wait for
	running  sync.WaitGroup // those who follow a process
	closed   chan struct{}  // processes go on without us
}

var _ container.Buckets = (*Store)(nil)

// New describes a store; it changes nothing on the host. Errors: fault.Invalid.
func New(cfg Config) (*Store, error) {
	if cfg.CacheBytes <= 0 {
		cfg.CacheBytes = DefaultCacheBytes
	}
	s := &Store{cfg: cfg, trusted: map[string]bool{}, mounts: map[string]*mount{}, shared: map[container.BucketMount]*mount{}, closed: make(chan struct{})}
	for _, text := range cfg.Trusted {
		o, err := origin(text)
		if err != nil {
			return nil, fault.New(fault.Invalid, "bucket endpoint %q: want a URL such as http://127.0.0.1:9000", text)
		}
		s.trusted[o] = true
	}
	return s, nil
}

// origin is a URL's scheme, host and port.
func origin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "", fault.New(fault.Invalid, "URL %q: has no host", text)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + u.Hostname() + ":" + port, nil
}

// Mount returns where a bucket is mounted, mounting it if need be: those who want the same with the same credentials share it. Its folder is
// there until Release. Errors: fault.Invalid, fault.NotFound, fault.Denied and fault.Unavailable say what is wrong with the bucket,
// fault.Internal with this host.
func (s *Store) Mount(ctx context.Context, b container.BucketMount) (*container.MountedBucket, error) {
	name := b.Bucket
	b.Path = "" // where a container sees it makes no difference here
	s.mu.Lock()
	m := s.shared[b]
	if m == nil {
		m = s.newMount(ident.New(ident.Bucket))
		s.shared[b], s.mounts[m.id] = m, m
		s.starting.Go(func() { s.start(context.WithoutCancel(ctx), m, b) })
	}
	m.refs++
	s.mu.Unlock()
	select {
	case <-m.started:
	case <-ctx.Done():
		s.starting.Go(func() {
			<-m.started
			if err := s.release(m); err != nil {
				s.cfg.Log.Warn("a bucket that nobody waits for was not taken down", "mount", m.id, "error", err)
			}
		})
		return nil, fmt.Errorf("bucket %q: %w", name, context.Cause(ctx))
	}
	if m.err != nil {
		return nil, fmt.Errorf("bucket %q: %w", name, m.err)
	}
	return s.public(m), nil
}

// public is what containers see of a mount.
func (s *Store) public(m *mount) *container.MountedBucket {
	var once sync.Once
	return &container.MountedBucket{
		ID: m.id, Dir: m.target(), Lost: m.lost,
		Release: func() (err error) {
			once.Do(func() { err = s.release(m) })
			return err
		},
		Leave: func() {
			once.Do(func() {
				if m.endpoint != nil {
					s.cfg.Network.Leave(m.endpoint)
				}
			})
		},
	}
}

// release gives up a use of a mount; the last one takes it down.
func (s *Store) release(m *mount) error {
	s.mu.Lock()
	m.refs--
	last := m.refs == 0 && m.err == nil
	if last {
		s.forget(m)
	}
	s.mu.Unlock()
	if !last {
		return nil
	}
	return s.end(m)
}

// forget takes a mount off the lists, so that nobody joins it any more. s.mu is held.
func (s *Store) forget(m *mount) {
	delete(s.mounts, m.id)
	s.unshare(m)
}

func (s *Store) unshare(m *mount) {
	for b, other := range s.shared {
		if other == m {
			delete(s.shared, b)
		}
	}
}

// Close gives up what this process follows. Mounts that are in use stay, for the next one.
func (s *Store) Close() {
	s.starting.Wait()
	s.mu.Lock()
	close(s.closed)
	for _, m := range s.mounts {
		if m.ending = true; m.process != nil {
			m.process.Release()
		}
	}
	s.mu.Unlock()
	s.running.Wait()
}
