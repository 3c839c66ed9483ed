package keeper

import (
	"context"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// source is what the connected worker has. While none is, it waits for one. It is safe for concurrent use.
type source struct {
	patience time.Duration // how long it waits

	mu      sync.Mutex
	peer    *beside.Peer
	arrived chan struct{} // closed when peer is there
}

var (
	_ cas.Source      = (*source)(nil)
	_ lazyfs.Profiles = (*source)(nil)
)

func newSource(patience time.Duration) *source {
	return &source{patience: patience, arrived: make(chan struct{})}
}

func (s *source) connect(p *beside.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer == nil {
		close(s.arrived)
	}
	s.peer = p
}

func (s *source) disconnect(p *beside.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer == p {
		s.peer, s.arrived = nil, make(chan struct{})
	}
}

// worker returns the connected worker.
func (s *source) worker(ctx context.Context) (*beside.Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	for {
		s.mu.Lock()
		p, arrived := s.peer, s.arrived
		s.mu.Unlock()
		if p != nil {
			return p, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, "no worker is connected: %w", context.Cause(ctx))
		}
	}
}

// ReadAll implements cas.Source: the worker has verified what it sends.
func (s *source) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	p, err := s.worker(ctx)
	if err != nil {
		return nil, err
	}
	data, _, err := p.Call(ctx, beside.Request{Op: opBlob, Args: blobArgs{Digest: digest, Limit: limit}}, nil)
	return data, err
}

// Profile implements lazyfs.Profiles.
func (s *source) Profile(ctx context.Context, image string) ([]uint32, error) {
	p, err := s.worker(ctx)
	if err != nil {
		return nil, err
	}
	var out profileArgs
	_, _, err = p.Call(ctx, beside.Request{Op: opProfile, Args: profileArgs{Image: image}}, &out)
	return out.Chunks, err
}

// StoreProfile implements lazyfs.Profiles.
func (s *source) StoreProfile(ctx context.Context, image string, chunks []uint32) error {
	p, err := s.worker(ctx)
	if err != nil {
		return err
	}
	_, _, err = p.Call(ctx, beside.Request{Op: opRemember, Args: profileArgs{Image: image, Chunks: chunks}}, nil)
	return err
}
