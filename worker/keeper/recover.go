package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// A keeper that dies so often in so short a time is not started again: it would die of the same.
const (
	maxRestarts   = 4
	restartWindow = time.Minute
)

// gone hears that a connection has ended. If the keeper has died, another goes on with the images that are in use; those with which none can
// are lost.
func (c *Client) gone(l *link) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	c.link = nil
	used := c.used()
	again := !c.closing && c.mayRestart()
	closing := c.closing
	c.mu.Unlock()
	defer c.check(used)
	if closing || len(used) == 0 {
		return
	}
	err := fmt.Errorf("keeper: died %d times within %s", maxRestarts, restartWindow)
	if again {
		c.cfg.Log.Warn("the keeper has died; another goes on with its images", "images", len(used))
		err = c.restart(l.at, used)
	}
	if err != nil {
		c.lose(used, err)
		// Their devices are closed: whoever reads them gets errors.
		if err := lazyfs.Sweep(l.at.Mounts()); err != nil {
			c.cfg.Log.Warn("images of a keeper that has died were not taken down", "error", err)
		}
	}
}

// used returns the images that somebody uses; they stay on the list until check. The lock is held.
func (c *Client) used() (list []*held) {
	for _, h := range c.images {
		if h.refs > 0 && !h.lost {
			h.wanted++
			list = append(list, h)
		}
	}
	return list
}

// check tells the keeper of images that were given back while there was none to tell.
func (c *Client) check(images []*held) {
	for _, h := range images {
		c.running.Go(func() {
			h.turn <- struct{}{}
			defer func() { <-h.turn }()
			defer c.forget(h)
			c.mu.Lock()
			h.wanted--
			unused := h.refs == 0 && !h.lost
			c.mu.Unlock()
			if unused {
				c.tell(h)
			}
		})
	}
}

// mayRestart counts a restart, if there were not too many. The lock is held.
func (c *Client) mayRestart() bool {
	now := time.Now()
	c.restarts = slices.DeleteFunc(c.restarts, func(t time.Time) bool { return now.Sub(t) > restartWindow })
	if len(c.restarts) >= maxRestarts {
		return false
	}
	c.restarts = append(c.restarts, now)
	return true
}

// restart starts a keeper that goes on with images.
func (c *Client) restart(at beside.Folder, used []*held) error {
	ctx, cancel := context.WithTimeout(c.life, StartTimeout)
	defer cancel()
	l, err := c.launch(ctx, at)
	if err != nil {
		return err
	}
	for _, h := range used {
		if err := c.resume(ctx, l, h); err != nil {
			c.lose([]*held{h}, err)
		}
	}
	if _, _, err := l.peer.Call(ctx, beside.Request{Op: opSettle, Args: struct{}{}}, nil); err != nil {
		l.peer.Close()
		return errors.Join(err, context.Cause(ctx))
	}
	c.use(l)
	return nil
}

// resume has a keeper go on with an image.
func (c *Client) resume(ctx context.Context, l *link, h *held) error {
	c.mu.Lock()
	used, device := h.refs > 0, h.session.Device
	var session lazyfs.Session
	var err error
	if used && device != nil {
		session, err = h.session.Copy()
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		return err
	case !used:
		return nil // given back meanwhile
	case device == nil:
		return errors.New("the kernel can't have another keeper go on")
	}
	defer closeDevice(session)
	_, another, err := l.peer.Call(ctx, beside.Request{Op: opResume, Args: imageArgs{Image: h.image, Kernel: session.Kernel}, File: session.Device}, nil)
	if another != nil {
		_ = another.Close() // we have one
	}
	return err
}

// lose gives images up that nobody can read any more, and says so.
func (c *Client) lose(images []*held, cause error) {
	var names, paths []string
	c.mu.Lock()
	for _, h := range images {
		if h.lost || h.refs == 0 {
			continue
		}
		h.lost = true
		if c.images[h.image.Digest] == h {
			delete(c.images, h.image.Digest)
		}
		closeDevice(h.session)
		h.session = lazyfs.Session{}
		names, paths = append(names, h.image.Digest), append(paths, h.path)
	}
	c.mu.Unlock()
	if len(names) == 0 {
		return
	}
	c.cfg.Log.Error("images are lost with their keeper: what runs from them gets I/O errors", "images", names, "error", cause)
	if c.cfg.Lost != nil {
		c.cfg.Lost(paths, cause)
	}
}
