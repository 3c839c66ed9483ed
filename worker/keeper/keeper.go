// Package keeper is the process that serves lazily loaded images, so that sandboxes that run from them outlive the worker, and the worker's
// side of it.
//
// A worker starts the keeper when it first needs it, and finds it again by its socket after a restart. They speak over one connection on which
// both ask: the worker for images, the keeper for chunks that are not on this host. While no worker is connected, readers of those wait, as
// for a gateway that is away; what is on this host is served. The keeper ends when no worker is there and nobody has an image open.
//
// The worker also has a descriptor of every mount's device. So the kernel keeps a mount whose keeper has died, until the next keeper, which the
// worker starts at once, goes on with it. When both have died, readers get errors.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/cache"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// DefaultLinger is how long a keeper that nobody needs waits for a worker, which may just be starting again.
const DefaultLinger = 10 * time.Second

// helloTimeout is how long a worker may take to say which protocols it speaks.
const helloTimeout = 10 * time.Second

// Config says what a keeper works with. Fields without a default are needed.
type Config struct {
	Dir        string       `json:"dir"`         // its own, in the run folder; short
	CacheDir   string       `json:"cache_dir"`   // in which it keeps chunks and profiles
	CacheBytes uint64       `json:"cache_bytes"` // of chunks
	Release    string       `json:"-"`           // of this program
	Log        *slog.Logger `json:"-"`

	Linger   time.Duration `json:"linger,omitempty"`   // default DefaultLinger
	Patience time.Duration `json:"patience,omitempty"` // default lazyfs.DefaultPatience
	// Protocols; default OldestProtocol, NewestProtocol.
	Oldest int `json:"oldest,omitempty"`
	Newest int `json:"newest,omitempty"`
}

// Keeper serves images. New allocates, Run does everything.
type Keeper struct {
	cfg    Config
	chunks *lazyfs.Chunks
	images *lazyfs.Store
	source *source
	locks  []*os.File
	aside  string        // a cache of its own, or ""
	events chan struct{} // has a token when something may have made the keeper needless

	mu       sync.Mutex
	session  *session          // of the worker that is connected, or nil
	held     map[string]func() // images that a worker uses, by digest, and how to give them back
	taken    map[string]bool   // those of them that the connected worker has asked for or taken over
	stopping bool
}

// New describes a keeper.
func New(cfg Config) *Keeper {
	if cfg.Linger <= 0 {
		cfg.Linger = DefaultLinger
	}
	if cfg.Patience <= 0 {
		cfg.Patience = lazyfs.DefaultPatience
	}
	if cfg.Newest == 0 {
		cfg.Oldest, cfg.Newest = OldestProtocol, NewestProtocol
	}
	return &Keeper{cfg: cfg, events: make(chan struct{}, 1), held: map[string]func(){}, taken: map[string]bool{}, source: newSource(cfg.Patience)}
}

// Run serves until the keeper is no longer needed, or ctx ends: then images are taken down though they are in use. Ready is called when
// workers can connect; where another keeper has the folder, that is when it has ended.
func (k *Keeper) Run(ctx context.Context, ready func()) (err error) {
	at := beside.Folder(k.cfg.Dir)
	lock, err := at.Take(ctx)
	if err != nil {
		return err
	}
	k.locks = append(k.locks, lock)
	defer func() { err = errors.Join(err, k.unlock()) }()
	if err := k.open(at); err != nil {
		return err
	}
	defer k.chunks.Close()
	listener, err := beside.Listen(at.Socket())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		k.accept(ctx, listener)
		cancel()
	})
	ready()
	k.cfg.Log.Info("keeper serves images", "folder", k.cfg.Dir, "process", os.Getpid(), "release", k.cfg.Release)
	k.wait(ctx)
	err = listener.Close() // which removes the socket
	cancel()
	running.Wait()
	k.cfg.Log.Info("keeper ends")
	return errors.Join(err, k.close())
}

// open opens the cache of chunks.
func (k *Keeper) open(at beside.Folder) error {
	dir, err := k.cacheFolder()
	if err != nil {
		return fmt.Errorf("cache of chunks: %w", err)
	}
	kept, err := cache.Open(dir, k.cfg.CacheBytes)
	if err != nil {
		return fmt.Errorf("cache of chunks: %w", err)
	}
	k.chunks = lazyfs.NewChunks(lazyfs.ChunksConfig{Cache: kept, Source: k.source, Log: k.cfg.Log, Patience: k.cfg.Patience})
	k.images = lazyfs.New(lazyfs.Config{
		Dir: at.Mounts(), ProfileDir: filepath.Join(k.cfg.CacheDir, "profiles"), Shared: k.source, Chunks: k.chunks, Log: k.cfg.Log,
		Closed: k.event,
	})
	return nil
}

// cacheFolder is the folder of chunks. While a keeper of another release has that, this one has a folder of its own, which goes with it.
func (k *Keeper) cacheFolder() (string, error) {
	if err := os.MkdirAll(k.cfg.CacheDir, 0o700); err != nil {
		return "", err
	}
	file, err := os.OpenFile(filepath.Join(k.cfg.CacheDir, "chunks.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		k.locks = append(k.locks, file)
		return filepath.Join(k.cfg.CacheDir, "chunks"), k.sweepCaches()
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return "", errors.Join(err, file.Close())
	}
	k.aside = filepath.Join(k.cfg.CacheDir, "chunks-"+filepath.Base(k.cfg.Dir))
	return k.aside, file.Close()
}

// sweepCaches removes caches of keepers that have died.
func (k *Keeper) sweepCaches() error {
	left, err := filepath.Glob(filepath.Join(k.cfg.CacheDir, "chunks-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		_, number, _ := strings.Cut(filepath.Base(dir), "-")
		if alive, err := beside.Folder(filepath.Join(filepath.Dir(k.cfg.Dir), number)).Alive(); err != nil || alive {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// accept takes connections until the listener ends.
func (k *Keeper) accept(ctx context.Context, l *net.UnixListener) {
	var connected sync.WaitGroup
	defer connected.Wait()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				k.cfg.Log.Error("keeper takes no more workers", "error", err)
			}
			return
		}
		connected.Go(func() { k.connect(ctx, conn) })
	}
}

// connect serves one connection.
func (k *Keeper) connect(ctx context.Context, conn *net.UnixConn) {
	if err := beside.Ours(conn); err != nil {
		k.cfg.Log.Warn("keeper refuses a peer", "error", err)
		_ = conn.Close() // nothing was said
		return
	}
	s := &session{keeper: k, greeted: make(chan struct{})}
	s.peer = beside.NewPeer(conn, s.answer)
	s.late = time.AfterFunc(helloTimeout, s.peer.Close)
	defer s.late.Stop()
	err := s.peer.Run(ctx)
	if k.gone(s) {
		k.cfg.Log.Info("worker has gone", "why", err)
	}
}

// event has wait look whether the keeper is still needed.
func (k *Keeper) event() {
	select {
	case k.events <- struct{}{}:
	default:
	}
}

// wait returns when the keeper is no longer needed.
func (k *Keeper) wait(ctx context.Context) {
	linger := time.NewTimer(k.cfg.Linger)
	defer linger.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.events:
		case <-linger.C:
			if !k.needed() {
				return
			}
		}
		if k.stopped() {
			return
		}
		// With every event the time begins anew.
		linger.Reset(k.cfg.Linger)
	}
}

// needed says whether a worker is there or somebody has an image open.
func (k *Keeper) needed() bool {
	k.mu.Lock()
	connected := k.session != nil
	k.mu.Unlock()
	return connected || k.images.Opened()
}

func (k *Keeper) stopped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopping
}

// close takes everything down.
func (k *Keeper) close() error {
	k.mu.Lock()
	held := k.held
	k.held = map[string]func(){}
	k.mu.Unlock()
	for _, release := range held {
		release()
	}
	return k.images.Close()
}

// unlock lets the next keeper begin.
func (k *Keeper) unlock() (err error) {
	if k.aside != "" {
		err = os.RemoveAll(k.aside)
	}
	for _, f := range k.locks {
		err = errors.Join(err, f.Close())
	}
	return err
}
