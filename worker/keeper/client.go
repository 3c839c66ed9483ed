package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// Bounds of what a worker waits for.
const (
	// StartTimeout bounds starting a keeper, or finding one.
	StartTimeout = 30 * time.Second
	// blobTimeout bounds getting a blob for the keeper, which asks again.
	blobTimeout = 35 * time.Second
	// giveTimeout bounds giving something back.
	giveTimeout = 30 * time.Second
)

// ClientConfig says how a worker has a keeper. Fields without a default are needed.
type ClientConfig struct {
	Dir        string   // of all keepers of this instance; short
	CacheDir   string   // the keeper's alone
	CacheBytes uint64   // of chunks
	LogFile    string   // which the keeper appends to
	Command    []string // a program that runs Main with the argument after these
	Release    string   // of this program

	Source   cas.Source                        // of what the keeper lacks; it verifies
	Profiles lazyfs.Profiles                   // what starts read first, as all workers know it
	Lost     func(paths []string, cause error) // hears of images in use that can't be read any more; or nil
	Log      *slog.Logger

	Oldest, Newest int // protocols; default OldestProtocol, NewestProtocol
}

// Client is a worker's side. It starts a keeper when one is first needed. It is safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	life    context.Context //nolint:containedctx // of connections, which outlive those who want them first
	end     context.CancelFunc
	running sync.WaitGroup
	giving  sync.WaitGroup // those of them that give images back
	turn    chan struct{}  // a token for who connects

	mu       sync.Mutex
	link     *link            // or nil; it is set by who has the turn
	images   map[string]*held // by digest
	closing  bool
	restarts []time.Time // of late, because a keeper died
}

// held is an image that this worker uses or is about to.
type held struct {
	image payload.Ref
	turn  chan struct{} // a token for who asks the keeper about the image

	// These are guarded by Client.mu.
	refs    int // of those who use it
	wanted  int // of those who wait for turn
	path    string
	session lazyfs.Session
	lost    bool
}

// NewClient describes a worker's side; no keeper is looked for yet.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Newest == 0 {
		cfg.Oldest, cfg.Newest = OldestProtocol, NewestProtocol
	}
	life, end := context.WithCancel(context.Background())
	return &Client{cfg: cfg, life: life, end: end, turn: make(chan struct{}, 1), images: map[string]*held{}}
}

// Open returns the path of an image's file, which depends on the image alone. It stays valid until release is called. Errors: fault.NotFound,
// fault.DataLoss, fault.Unavailable.
func (c *Client) Open(ctx context.Context, image payload.Ref) (path string, release func(), err error) {
	return c.hold(ctx, opOpen, image)
}

// Adopt is Open for an image that a keeper has mounted for an earlier worker; nothing is fetched, and no keeper is started. Errors:
// fault.NotFound where none has it.
func (c *Client) Adopt(ctx context.Context, image payload.Ref) (path string, release func(), err error) {
	path, release, err = c.hold(ctx, opAdopt, image)
	if !errors.Is(err, fault.NotFound) {
		return path, release, err
	}
	// A keeper with which this release can't speak keeps what is open by itself.
	path, other := c.elsewhere(image.Digest)
	if !other {
		return "", nil, err
	}
	return path, func() {}, nil
}

// hold has the keeper hold an image, once for all who use it.
func (c *Client) hold(ctx context.Context, op string, image payload.Ref) (path string, release func(), err error) {
	c.mu.Lock()
	h := c.images[image.Digest]
	if h == nil {
		h = &held{image: image, turn: make(chan struct{}, 1)}
		c.images[image.Digest] = h
	}
	h.wanted++
	c.mu.Unlock()
	done := make(chan error, 1)
	c.running.Go(func() { done <- c.ask(context.WithoutCancel(ctx), op, h) })
	select {
	case err = <-done:
	case <-ctx.Done():
		// What the keeper then holds has to be given back.
		c.giving.Go(func() {
			if <-done == nil {
				c.give(h)
			}
		})
		return "", nil, context.Cause(ctx)
	}
	if err != nil {
		return "", nil, err
	}
	var once sync.Once
	return h.path, func() { once.Do(func() { c.giving.Go(func() { c.give(h) }) }) }, nil
}

// ask adds a use of an image; the first asks the keeper.
func (c *Client) ask(ctx context.Context, op string, h *held) error {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	defer c.forget(h)
	c.mu.Lock()
	h.wanted--
	lost, again := h.lost, h.refs > 0
	if again && !lost {
		h.refs++
	}
	c.mu.Unlock()
	if lost {
		return fault.New(fault.Unavailable, "image %s: its keeper has died; open it again", h.image.Digest)
	}
	if again {
		return nil
	}
	out, device, err := c.request(ctx, op, h.image)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h.refs++
	h.path, h.session = out.Path, lazyfs.Session{Device: device, Kernel: out.Kernel}
	return nil
}

// give takes a use of an image away; after the last the keeper hears of it.
func (c *Client) give(h *held) {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	defer c.forget(h)
	c.mu.Lock()
	h.refs--
	last, session := h.refs == 0 && !h.lost, h.session
	if last {
		h.session = lazyfs.Session{}
	}
	c.mu.Unlock()
	if last {
		c.tell(h)
		closeDevice(session)
	}
}

// tell tells the keeper that nobody uses an image. The caller has the image's turn.
func (c *Client) tell(h *held) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return // recover does it, if another keeper goes on
	}
	ctx, cancel := context.WithTimeout(context.Background(), giveTimeout)
	defer cancel()
	// A keeper that has died holds nothing any more.
	if _, _, err := l.peer.Call(ctx, beside.Request{Op: opGive, Args: imageArgs{Image: h.image}}, nil); err != nil && !errors.Is(err, beside.ErrEnded) {
		c.cfg.Log.Warn("an image was not given back to the keeper", "image", h.image.Digest, "error", err)
	}
}

func closeDevice(s lazyfs.Session) {
	if s.Device != nil {
		_ = s.Device.Close() // nothing was written
	}
}

// forget takes an image off the list that nobody uses.
func (c *Client) forget(h *held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.refs == 0 && h.wanted == 0 && c.images[h.image.Digest] == h {
		delete(c.images, h.image.Digest)
	}
}

// request asks the keeper for an image, and the next one where a keeper dies over it.
func (c *Client) request(ctx context.Context, op string, image payload.Ref) (out opened, device *os.File, err error) {
	for range maxRestarts {
		var l *link
		if l, err = c.connected(ctx, op == opOpen); err != nil {
			return out, nil, err
		}
		_, device, err = l.peer.Call(ctx, beside.Request{Op: op, Args: imageArgs{Image: image}}, &out)
		if !errors.Is(err, beside.ErrEnded) {
			return out, device, err
		}
		<-l.ended
	}
	return out, nil, fmt.Errorf("keeper: died again and again: %w", err)
}

// Find connects to the keeper of an earlier worker, if there is one, so that it is served again.
func (c *Client) Find(ctx context.Context) error {
	if _, err := c.connected(ctx, false); err != nil && !errors.Is(err, fault.NotFound) {
		return err
	}
	return nil
}

// Reap gives back what earlier workers used and this one has not adopted, and takes down what keepers that have died left.
func (c *Client) Reap(ctx context.Context) error {
	l, err := c.connected(ctx, false)
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, _, err = l.peer.Call(ctx, beside.Request{Op: opSettle, Args: struct{}{}}, nil)
	return err
}

// Close ends the connection, and the keeper as well if this worker uses no image.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.giving.Wait()
	c.mu.Lock()
	used := false
	for _, h := range c.images {
		used = used || h.refs > 0
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), StartTimeout)
	defer cancel()
	c.turn <- struct{}{} // no more of them begin
	l := c.link
	<-c.turn
	var err error
	if l != nil && !used {
		err = l.stop(ctx)
	}
	c.end()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.images {
		closeDevice(h.session)
	}
	if used || err != nil {
		return err
	}
	return c.sweep()
}

// answer answers a request of the keeper.
func (c *Client) answer(ctx context.Context, m *beside.Message) (beside.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, blobTimeout)
	defer cancel()
	switch m.Op {
	case opBlob:
		var args blobArgs
		if err := json.Unmarshal(m.Args, &args); err != nil {
			return beside.Reply{}, fault.New(fault.Invalid, "%s: %w", m.Op, err)
		}
		data, err := c.cfg.Source.ReadAll(ctx, args.Digest, args.Limit)
		return beside.Reply{Data: data}, err
	case opProfile, opRemember:
		var args profileArgs
		if err := json.Unmarshal(m.Args, &args); err != nil {
			return beside.Reply{}, fault.New(fault.Invalid, "%s: %w", m.Op, err)
		}
		return c.profile(ctx, m.Op, args)
	}
	return beside.Reply{}, fault.New(fault.Unimplemented, "worker of release %s: does not know %q", c.cfg.Release, m.Op)
}

func (c *Client) profile(ctx context.Context, op string, args profileArgs) (r beside.Reply, err error) {
	if c.cfg.Profiles == nil {
		return beside.Reply{Args: profileArgs{}}, nil
	}
	if op == opRemember {
		return beside.Reply{}, c.cfg.Profiles.StoreProfile(ctx, args.Image, args.Chunks)
	}
	args.Chunks, err = c.cfg.Profiles.Profile(ctx, args.Image)
	return beside.Reply{Args: args}, err
}
