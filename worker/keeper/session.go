package keeper

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// session is the keeper's end of a worker's connection.
type session struct {
	keeper  *Keeper
	peer    *beside.Peer
	once    sync.Once
	late    *time.Timer   // ends a connection that says nothing
	greeted chan struct{} // closed when the worker has said which protocols it speaks, and it is one of ours
}

// answer answers a request of the worker.
func (s *session) answer(ctx context.Context, m *beside.Message) (beside.Reply, error) {
	if m.Op == opHello {
		return s.greet(m)
	}
	select {
	case <-s.greeted:
	default:
		return beside.Reply{}, fault.New(fault.Precondition, "keeper: %q before %q", m.Op, opHello)
	}
	switch m.Op {
	case opOpen, opAdopt, opResume, opGive:
		var args imageArgs
		if err := json.Unmarshal(m.Args, &args); err != nil {
			return beside.Reply{}, fault.New(fault.Invalid, "keeper: %s: %w", m.Op, err)
		}
		if err := ident.CheckDigest(args.Image.Digest); err != nil {
			return beside.Reply{}, err
		}
		if m.Op == opGive {
			s.keeper.give(s, args.Image.Digest)
			return beside.Reply{}, nil
		}
		return s.keeper.hold(ctx, s, m, args)
	case opSettle:
		return beside.Reply{}, s.keeper.settle(s)
	case opStop:
		return beside.Reply{}, s.keeper.stop(s)
	}
	return beside.Reply{}, fault.New(fault.Unimplemented, "keeper of release %s: does not know %q", s.keeper.cfg.Release, m.Op)
}

// greet begins with a worker. The one before it, if it is still connected, has ended or is to.
func (s *session) greet(m *beside.Message) (beside.Reply, error) {
	var theirs hello
	if err := json.Unmarshal(m.Args, &theirs); err != nil {
		return beside.Reply{}, fault.New(fault.Invalid, "keeper: hello: %w", err)
	}
	k := s.keeper
	mine := hello{Oldest: k.cfg.Oldest, Newest: k.cfg.Newest, Release: k.cfg.Release}
	if _, err := mine.with(theirs); err != nil {
		return beside.Reply{}, err
	}
	s.once.Do(func() {
		k.begin(s)
		s.late.Stop()
		close(s.greeted)
	})
	return beside.Reply{Args: mine}, nil
}

// begin has a worker connected.
func (k *Keeper) begin(s *session) {
	k.mu.Lock()
	before := k.session
	k.session, k.taken = s, map[string]bool{}
	k.mu.Unlock()
	if before != nil {
		before.peer.Close()
	}
	k.source.Connect(s.peer)
	k.event()
}

// gone hears that a connection has ended, and says whether it was the worker's. What its worker used stays, for the next one to take over.
func (k *Keeper) gone(s *session) bool {
	k.mu.Lock()
	mine := k.session == s
	if mine {
		k.session = nil
	}
	k.mu.Unlock()
	k.source.Disconnect(s.peer)
	k.event()
	return mine
}

// hold has an image mounted for the worker until it gives it back.
func (k *Keeper) hold(ctx context.Context, s *session, m *beside.Message, args imageArgs) (r beside.Reply, err error) {
	var out opened
	var release func()
	switch m.Op {
	case opOpen:
		out.Path, release, err = k.images.Open(ctx, args.Image)
	case opAdopt:
		out.Path, release, err = k.images.Adopt(args.Image)
	case opResume:
		if m.File == nil {
			return beside.Reply{}, fault.New(fault.Invalid, "keeper: %s without a device", opResume)
		}
		out.Path, release, err = k.images.Resume(ctx, args.Image, lazyfs.Session{Device: m.File, Kernel: args.Kernel})
	}
	if err != nil {
		return beside.Reply{}, err
	}
	if err := k.enter(s, args.Image.Digest, release); err != nil {
		return beside.Reply{}, err
	}
	if session, ok := k.images.Session(args.Image.Digest); ok {
		out.Kernel, r.File = session.Kernel, session.Device
	}
	r.Args = out
	return r, nil
}

// enter notes that the worker uses an image.
func (k *Keeper) enter(s *session, digest string, release func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session != s {
		defer release()
		return beside.ErrEnded
	}
	k.taken[digest] = true
	if k.held[digest] != nil {
		defer release() // once is enough
		return nil
	}
	k.held[digest] = release
	return nil
}

// give gives an image back.
func (k *Keeper) give(s *session, digest string) {
	k.mu.Lock()
	if k.session != s {
		k.mu.Unlock()
		return
	}
	release := k.held[digest]
	delete(k.held, digest)
	delete(k.taken, digest)
	k.mu.Unlock()
	if release != nil {
		release()
	}
}

// settle gives back what earlier workers used and this one has not taken over, and takes down what is left of earlier keepers.
func (k *Keeper) settle(s *session) error {
	k.mu.Lock()
	if k.session != s {
		k.mu.Unlock()
		return beside.ErrEnded
	}
	var releases []func()
	for digest, release := range k.held {
		if !k.taken[digest] {
			releases = append(releases, release)
			delete(k.held, digest)
		}
	}
	k.mu.Unlock()
	for _, release := range releases {
		release()
	}
	return k.images.Sweep()
}

// stop ends the keeper if its worker uses no image.
func (k *Keeper) stop(s *session) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session != s {
		return beside.ErrEnded
	}
	if len(k.held) > 0 {
		return fault.New(fault.Precondition, "keeper: %d images are in use", len(k.held))
	}
	k.stopping = true
	k.event()
	return nil
}
