package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// maxKeepers is how many keepers of one instance there may be: one that this release uses, and older ones with which it can't speak.
const maxKeepers = 8

// link is a worker's end of its connection to a keeper.
type link struct {
	at      beside.Folder
	peer    *beside.Peer
	ended   chan struct{} // closed when the connection has ended and what follows from that is done
	process chan struct{} // closed when the keeper's process has ended; nil for one that another worker started
}

// connected returns the connection to a keeper. Errors: fault.NotFound where there is none and none is to be started.
func (c *Client) connected(ctx context.Context, start bool) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("keeper: %w", context.Cause(ctx))
	}
	c.mu.Lock()
	l, closing := c.link, c.closing
	c.mu.Unlock()
	if closing {
		return nil, fault.New(fault.Unavailable, "keeper: the worker ends")
	}
	if l != nil {
		return l, nil
	}
	l, free, err := c.find(ctx)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if l == nil && !start {
		return nil, fault.New(fault.NotFound, "keeper: none runs")
	}
	if l == nil {
		if l, err = c.launch(ctx, free); err != nil {
			return nil, fmt.Errorf("keeper: %w", err)
		}
	}
	c.use(l)
	return l, nil
}

// use has the client use a connection. The caller has the turn.
func (c *Client) use(l *link) {
	c.mu.Lock()
	c.link = l
	c.mu.Unlock()
	c.running.Go(func() {
		<-l.peer.Done()
		c.gone(l)
		close(l.ended)
	})
}

// find connects to the keeper that runs and speaks our protocol. Without one it returns a folder for it. What is left of keepers that have
// died is removed.
func (c *Client) find(ctx context.Context) (l *link, free beside.Folder, err error) {
	for n := 1; n <= maxKeepers; n++ {
		at := beside.Folder(filepath.Join(c.cfg.Dir, strconv.Itoa(n)))
		alive, err := at.Alive()
		if err != nil {
			return nil, "", err
		}
		if alive {
			l, err := c.dial(ctx, at, nil)
			switch {
			case err == nil:
				return l, "", nil
			case errors.Is(err, fault.Precondition):
				c.cfg.Log.Info("a keeper of another release goes on with its images, and gets no new ones", "folder", string(at), "error", err)
				continue
			case !at.Ends(ctx):
				c.cfg.Log.Warn("a keeper does not answer: it gets no new images", "folder", string(at), "error", err)
				continue
			}
		}
		if err := errors.Join(lazyfs.Sweep(at.Mounts()), os.RemoveAll(string(at))); err != nil {
			return nil, "", err
		}
		if free == "" {
			free = at
		}
	}
	if free == "" {
		return nil, "", fault.New(fault.Exhausted, "%d keepers of other releases are there", maxKeepers)
	}
	return nil, free, nil
}

// elsewhere says whether any keeper that lives has an image mounted, and where.
func (c *Client) elsewhere(digest string) (path string, ok bool) {
	for n := 1; n <= maxKeepers; n++ {
		at := beside.Folder(filepath.Join(c.cfg.Dir, strconv.Itoa(n)))
		path, ok, err := lazyfs.Mounted(at.Mounts(), digest)
		if err != nil || !ok {
			continue
		}
		if alive, err := at.Alive(); err == nil && alive {
			return path, true
		}
	}
	return "", false
}

// dial connects to a keeper.
func (c *Client) dial(ctx context.Context, at beside.Folder, process chan struct{}) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", at.Socket())
	if err != nil {
		return nil, err
	}
	unixConn, _ := conn.(*net.UnixConn)
	if err := beside.Ours(unixConn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	l := &link{at: at, ended: make(chan struct{}), process: process}
	l.peer = beside.NewPeer(unixConn, c.answer)
	c.running.Go(func() { _ = l.peer.Run(c.life) }) // whoever asks hears that it has ended
	mine, theirs := hello{Oldest: c.cfg.Oldest, Newest: c.cfg.Newest, Release: c.cfg.Release}, hello{}
	if _, _, err := l.peer.Call(ctx, beside.Request{Op: opHello, Args: mine}, &theirs); err != nil {
		l.peer.Close()
		return nil, err
	}
	return l, nil
}

// launch starts a keeper and connects to it.
func (c *Client) launch(ctx context.Context, at beside.Folder) (*link, error) {
	process, err := c.start(ctx, at)
	if err != nil {
		return nil, err
	}
	return c.dial(ctx, at, process)
}

// start starts a keeper that outlives this process, and returns when it can be reached. The channel is closed when it has ended.
func (c *Client) start(ctx context.Context, at beside.Folder) (process chan struct{}, err error) {
	settings, err := json.Marshal(Config{Dir: string(at), CacheDir: c.cfg.CacheDir, CacheBytes: c.cfg.CacheBytes})
	if err != nil {
		return nil, err
	}
	return beside.Start(ctx, c.life, &c.running, beside.Program{Command: c.cfg.Command, Settings: string(settings), LogFile: c.cfg.LogFile})
}

// stop ends the keeper and waits for its end.
func (l *link) stop(ctx context.Context) error {
	_, _, err := l.peer.Call(ctx, beside.Request{Op: opStop, Args: struct{}{}}, nil)
	if errors.Is(err, fault.Precondition) {
		return nil // it has images of a worker before us, which nobody has given back
	}
	if err != nil && !errors.Is(err, beside.ErrEnded) {
		return fmt.Errorf("keeper: %w", err)
	}
	// It has done all when it gives up its lock.
	lock, err := l.at.Take(ctx)
	if err != nil {
		return fmt.Errorf("does not end: %w", err)
	}
	if l.process != nil {
		<-l.process
	}
	<-l.ended
	return lock.Close()
}

// sweep removes what is left of keepers that have ended.
func (c *Client) sweep() error {
	entries, err := os.ReadDir(c.cfg.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := beside.Folder(filepath.Join(c.cfg.Dir, e.Name()))
		alive, err := at.Alive()
		if err != nil {
			return err
		}
		if alive {
			continue
		}
		if err := errors.Join(lazyfs.Sweep(at.Mounts()), os.RemoveAll(string(at))); err != nil {
			return err
		}
	}
	return nil
}
