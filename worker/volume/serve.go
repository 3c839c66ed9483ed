package volume

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/beside"
)

// stageTimeout is how long a commit may be in the making.
const stageTimeout = 2 * storeTimeout

// dial connects to the process.
func (h *Host) dial(ctx context.Context, process chan struct{}) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", h.at.Socket())
	if err != nil {
		return nil, err
	}
	unixConn, _ := conn.(*net.UnixConn)
	if err := beside.Ours(unixConn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	l := &link{peer: beside.NewPeer(unixConn, h.answer), process: process, ended: make(chan struct{})}
	h.running.Go(func() { _ = l.peer.Run(h.life) }) // whoever asks hears that it has ended
	if _, _, err := l.peer.Call(ctx, asks(opHello, hello{protocol, h.cfg.Process.Release}), &hello{}); err != nil {
		l.peer.Close()
		return nil, err
	}
	return l, nil
}

// answer answers a request of the process.
func (h *Host) answer(ctx context.Context, m *beside.Message) (beside.Reply, error) {
	switch m.Op {
	case opBlob:
		var args blobArgs
		if err := decode(m, &args); err != nil {
			return beside.Reply{}, err
		}
		ctx, cancel := context.WithTimeout(ctx, blobTimeout)
		defer cancel()
		data, err := h.cfg.Blobs.ReadAll(ctx, args.Digest, args.Limit)
		return beside.Reply{Data: data}, err
	case opAdd:
		ref, _, err := h.cfg.Blobs.Add(ctx, m.Data)
		return beside.Reply{Args: blobArgs{Digest: ref.Digest}}, err
	case opOpen:
		var args openArgs
		if err := decode(m, &args); err != nil {
			return beside.Reply{}, err
		}
		v, err := h.cfg.Store.OpenVolume(ctx, args.VolumeID)
		return beside.Reply{Args: v}, err
	case opHold:
		var args holdArgs
		if err := decode(m, &args); err != nil {
			return beside.Reply{}, err
		}
		return beside.Reply{}, h.cfg.Store.HoldVersions(ctx, args.Roots)
	case opStage:
		return beside.Reply{}, h.stage(m)
	case opApply:
		return h.apply(m)
	}
	return beside.Reply{}, fault.New(fault.Unimplemented, "worker of release %s: does not know %q", h.cfg.Process.Release, m.Op)
}

// stage hands a part of a commit on.
func (h *Host) stage(m *beside.Message) error {
	var args stageArgs
	if err := decode(m, &args); err != nil {
		return err
	}
	if len(args.RequestID) != requestLength {
		return fault.New(fault.Invalid, "volumes: request %q", args.RequestID)
	}
	if err := ident.Check(ident.Volume, args.VolumeID); err != nil {
		return err
	}
	var list []voltree.Change
	if err := json.Unmarshal(m.Data, &list); err != nil {
		return fault.New(fault.Invalid, "volumes: changes: %w", err)
	}
	c, err := h.staged(args)
	if err == nil {
		err = c.Send(list)
	}
	if err != nil {
		h.unstage(args.RequestID)
	}
	return err
}

// staged returns a commit that goes on, or with its first part begins it.
func (h *Host) staged(args stageArgs) (Commit, error) {
	h.mu.Lock()
	before := h.commits[args.RequestID]
	h.mu.Unlock()
	if !args.First {
		if before == nil {
			return nil, fault.New(fault.Unavailable, "volumes: a commit was broken off")
		}
		return before, nil
	}
	c, err := h.cfg.Store.BeginCommit(h.life, args.CommitParams)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.commits[args.RequestID] = c
	h.mu.Unlock()
	time.AfterFunc(stageTimeout, func() { h.unstage(args.RequestID) }) // the process has given it up
	return c, nil
}

func (h *Host) take(request string) Commit {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.commits[request]
	delete(h.commits, request)
	return c
}

func (h *Host) unstage(request string) {
	if c := h.take(request); c != nil {
		c.Abort()
	}
}

// apply makes the version.
func (h *Host) apply(m *beside.Message) (beside.Reply, error) {
	var args CommitParams
	if err := decode(m, &args); err != nil {
		return beside.Reply{}, err
	}
	c := h.take(args.RequestID)
	if c == nil {
		return beside.Reply{}, fault.New(fault.Unavailable, "volumes: a commit was broken off")
	}
	v, err := c.Close()
	return beside.Reply{Args: v}, err
}
