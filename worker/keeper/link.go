package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// maxKeepers is how many keepers of one instance there may be: one that this release uses, and older ones with which it can't speak.
const maxKeepers = 8

// link is a worker's end of its connection to a keeper.
type link struct {
	at      folder
	peer    *peer
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
		<-l.peer.done
		c.gone(l)
		close(l.ended)
	})
}

// find connects to the keeper that runs and speaks our protocol. Without one it returns a folder for it. What is left of keepers that have
// died is removed.
func (c *Client) find(ctx context.Context) (l *link, free folder, err error) {
	for n := 1; n <= maxKeepers; n++ {
		at := folder(filepath.Join(c.cfg.Dir, strconv.Itoa(n)))
		alive, err := at.alive()
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
			case !at.ends(ctx):
				c.cfg.Log.Warn("a keeper does not answer: it gets no new images", "folder", string(at), "error", err)
				continue
			}
		}
		if err := errors.Join(lazyfs.Sweep(at.images()), os.RemoveAll(string(at))); err != nil {
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
		at := folder(filepath.Join(c.cfg.Dir, strconv.Itoa(n)))
		path, ok, err := lazyfs.Mounted(at.images(), digest)
		if err != nil || !ok {
			continue
		}
		if alive, err := at.alive(); err == nil && alive {
			return path, true
		}
	}
	return "", false
}

// dial connects to a keeper.
func (c *Client) dial(ctx context.Context, at folder, process chan struct{}) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", at.socket())
	if err != nil {
		return nil, err
	}
	unixConn, _ := conn.(*net.UnixConn)
	if err := ours(unixConn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	l := &link{at: at, ended: make(chan struct{}), process: process}
	l.peer = newPeer(unixConn, c.answer)
	c.running.Go(func() { _ = l.peer.run(c.life) }) // whoever asks hears that it has ended
	mine, theirs := hello{Oldest: c.cfg.Oldest, Newest: c.cfg.Newest, Release: c.cfg.Release}, hello{}
	if _, _, err := l.peer.call(ctx, opHello, mine, &theirs, nil); err != nil {
		l.peer.close()
		return nil, err
	}
	return l, nil
}

// launch starts a keeper and connects to it.
func (c *Client) launch(ctx context.Context, at folder) (*link, error) {
	process, err := c.start(ctx, at)
	if err != nil {
		return nil, err
	}
	return c.dial(ctx, at, process)
}

// start starts a keeper that outlives this process, and returns when it can be reached. The channel is closed when it has ended.
func (c *Client) start(ctx context.Context, at folder) (process chan struct{}, err error) {
	settings, err := json.Marshal(Config{Dir: string(at), CacheDir: c.cfg.CacheDir, CacheBytes: c.cfg.CacheBytes})
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.cfg.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	defer log.Close() // the child has its own descriptor
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()                                                                                     // only read
	cmd := exec.Command(c.cfg.Command[0], append(slices.Clone(c.cfg.Command[1:]), string(settings))...) //nolint:gosec,noctx // ourselves; it outlives this process
	cmd.Stdout, cmd.Stderr, cmd.Dir = w, log, "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return nil, err
	}
	process = make(chan struct{})
	c.running.Go(func() {
		defer close(process)
		// A keeper may outlive us.
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // what matters of its end is that its connection ends
		}()
		select {
		case <-ended:
		case <-c.life.Done():
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(pastDeadline) })
	defer stop()
	line, err := bufio.NewReader(r).ReadString('\n')
	if strings.TrimSpace(line) == readyLine {
		return process, nil
	}
	_ = cmd.Process.Kill() // it may have ended
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("process %d: %w", cmd.Process.Pid, err)
	}
	return nil, fault.New(fault.Unavailable, "process %d: ended before it was ready; the log is in %s", cmd.Process.Pid, c.cfg.LogFile)
}

// stop ends the keeper and waits for its end.
func (l *link) stop(ctx context.Context) error {
	_, _, err := l.peer.call(ctx, opStop, struct{}{}, nil, nil)
	if errors.Is(err, fault.Precondition) {
		return nil // it has images of a worker before us, which nobody has given back
	}
	if err != nil && !errors.Is(err, errEnded) {
		return fmt.Errorf("keeper: %w", err)
	}
	// It has done all when it gives up its lock.
	lock, err := l.at.take(ctx)
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
		at := folder(filepath.Join(c.cfg.Dir, e.Name()))
		alive, err := at.alive()
		if err != nil {
			return err
		}
		if alive {
			continue
		}
		if err := errors.Join(lazyfs.Sweep(at.images()), os.RemoveAll(string(at))); err != nil {
			return err
		}
	}
	return nil
}
