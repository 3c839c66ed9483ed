package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/cache"
	"github.com/skerry-dev/skerry/worker/lazyfs"
	"github.com/skerry-dev/skerry/worker/volfs"
)

// Defaults of a Config.
const (
	// DefaultInterval is how often what containers have written is committed by itself.
	DefaultInterval = 10 * time.Second
	// DefaultDiskBytes is how many bytes one container may have written to a volume that are not committed.
	DefaultDiskBytes = 64 << 30
	// DefaultPatience is how long readers and commits wait for a worker or a gateway that is away.
	DefaultPatience = 60 * time.Second
	// DefaultLinger is how long a process that nobody needs waits for a worker.
	DefaultLinger = 10 * time.Second
)

// Bounds in memory: about 500 bytes for each file that was made and is not committed.
const (
	maxNodes    = 1_000_000
	maxAllNodes = 4_000_000
	treeCache   = 64 << 20
)

// holdInterval is how often versions that are in use are named.
const holdInterval = 30 * time.Minute

// Config says what the process works with. Fields without a default are needed.
type Config struct {
	Dir        string       `json:"dir"`         // its own, in the run folder; short
	CacheDir   string       `json:"cache_dir"`   // in which it keeps chunks, as the keeper does
	CacheBytes uint64       `json:"cache_bytes"` // of those
	UpperDir   string       `json:"upper_dir"`   // for bytes that are not committed
	DiskBytes  int64        `json:"disk_bytes"`  // of a mount; default DefaultDiskBytes
	Release    string       `json:"-"`           // of this program
	Log        *slog.Logger `json:"-"`

	Interval time.Duration `json:"interval,omitempty"` // default DefaultInterval
	Patience time.Duration `json:"patience,omitempty"` // default DefaultPatience
	Linger   time.Duration `json:"linger,omitempty"`   // default DefaultLinger
}

// Process serves volumes. New allocates, Run does everything.
type Process struct {
	cfg    Config
	at     beside.Folder
	worker *beside.Other
	chunks *lazyfs.Chunks
	tree   *voltree.Reader
	nodes  *volfs.Room
	events chan struct{} // has a token when something may have made the process needless

	life    context.Context //nolint:containedctx // of commits, which outlive who asked
	end     context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	session  *session
	mounts   map[string]*mount // by name
	known    map[string]bool   // containers that the connected worker has mounted or adopted volumes of
	stopping bool
}

// NewProcess describes a process.
func NewProcess(cfg Config) *Process {
	setDefault(&cfg.Interval, DefaultInterval)
	setDefault(&cfg.Patience, DefaultPatience)
	setDefault(&cfg.Linger, DefaultLinger)
	setDefault(&cfg.DiskBytes, DefaultDiskBytes)
	life, end := context.WithCancel(context.Background())
	return &Process{
		cfg: cfg, at: beside.Folder(cfg.Dir), worker: beside.NewOther(cfg.Patience), nodes: volfs.NewRoom(maxAllNodes, nil),
		events: make(chan struct{}, 1), life: life, end: end, mounts: map[string]*mount{}, known: map[string]bool{},
	}
}

func setDefault[T ~int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Main is the process, which a Host starts with its settings as the only argument. It tells out, which it closes, when workers can connect;
// its log goes to standard error.
func Main(ctx context.Context, settings, release string, out *os.File) error {
	var cfg Config
	if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
		return fault.New(fault.Invalid, "volumes: settings: %w", err)
	}
	if cfg.Dir == "" || cfg.CacheDir == "" || cfg.UpperDir == "" {
		return fault.New(fault.Invalid, "volumes: settings without folders; the worker starts this")
	}
	cfg.Release, cfg.Log = release, slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("part", "volumes")
	return NewProcess(cfg).Run(ctx, beside.Ready(out))
}

// Run serves until the process is no longer needed, or ctx ends: then volumes are taken down though they are in use.
func (p *Process) Run(ctx context.Context, ready func()) (err error) {
	lock, err := p.at.Take(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := p.open(); err != nil {
		return err
	}
	defer p.chunks.Close()
	listener, err := beside.Listen(p.at.Socket())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	p.running.Go(func() {
		p.accept(ctx, listener)
		cancel()
	})
	p.running.Go(func() { p.hold(ctx) })
	ready()
	p.cfg.Log.Info("volumes are served", "folder", p.cfg.Dir, "process", os.Getpid(), "release", p.cfg.Release)
	p.wait(ctx)
	err = listener.Close()
	cancel()
	p.end()
	p.running.Wait()
	p.cfg.Log.Info("volumes are no longer served")
	return errors.Join(err, p.close())
}

// open makes the folders, clears away what an earlier process left, and opens the cache of chunks.
func (p *Process) open() error {
	if err := clearAway(p.at, p.cfg.UpperDir); err != nil {
		return err
	}
	for _, dir := range []string{p.at.Mounts(), p.cfg.UpperDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	kept, err := cache.Open(filepath.Join(p.cfg.CacheDir, "volume-chunks"), p.cfg.CacheBytes)
	if err != nil {
		return fmt.Errorf("cache of chunks: %w", err)
	}
	source := blobs{p.worker, filepath.Join(p.cfg.CacheDir, "chunks")}
	p.chunks = lazyfs.NewChunks(lazyfs.ChunksConfig{Cache: kept, Source: source, Log: p.cfg.Log, Patience: p.cfg.Patience})
	p.tree = voltree.NewReader(p.chunks, treeCache)
	return nil
}

// clearAway takes down what a process has left that has died: its mounts, and what was not committed.
func clearAway(at beside.Folder, upper string) error {
	return errors.Join(lazyfs.Sweep(at.Mounts()), os.RemoveAll(upper))
}

func (p *Process) accept(ctx context.Context, l *net.UnixListener) {
	var connected sync.WaitGroup
	defer connected.Wait()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return // closed
		}
		connected.Go(func() { p.connect(ctx, conn) })
	}
}

// wait returns when the process is no longer needed.
func (p *Process) wait(ctx context.Context) {
	linger := time.NewTimer(p.cfg.Linger)
	defer linger.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.events:
		case <-linger.C:
			if !p.needed() {
				return
			}
		}
		if p.stopped() {
			return
		}
		linger.Reset(p.cfg.Linger) // with every event the time begins anew
	}
}

func (p *Process) event() {
	select {
	case p.events <- struct{}{}:
	default:
	}
}

func (p *Process) needed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session != nil || len(p.mounts) > 0
}

func (p *Process) stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopping
}

// hold says now and then which versions are in use, so that their blobs stay.
func (p *Process) hold(ctx context.Context) {
	t := time.NewTicker(holdInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
		var args holdArgs
		for _, m := range p.mounts {
			args.Roots = append(args.Roots, m.roots()...)
		}
		p.mu.Unlock()
		if _, err := p.worker.Call(ctx, asks(opHold, args), nil); err != nil && ctx.Err() == nil {
			p.cfg.Log.Warn("versions in use could not be named", "error", err)
		}
	}
}

// close takes everything down.
func (p *Process) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.mounts {
		err = errors.Join(err, m.takeDown())
	}
	return errors.Join(err, clearAway(p.at, p.cfg.UpperDir))
}
