package keeper

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/worker/beside"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

// source is what the connected worker has. While none is, it waits for one. It is safe for concurrent use.
type source struct{ *beside.Other }

var (
	_ cas.Source      = (*source)(nil)
	_ lazyfs.Profiles = (*source)(nil)
)

func newSource(patience time.Duration) *source { return &source{beside.NewOther(patience)} }

// ReadAll implements cas.Source: the worker has verified what it sends.
func (s *source) ReadAll(ctx context.Context, digest string, limit int64) ([]byte, error) {
	return s.Call(ctx, beside.Request{Op: opBlob, Args: blobArgs{Digest: digest, Limit: limit}}, nil)
}

// Profile implements lazyfs.Profiles.
func (s *source) Profile(ctx context.Context, image string) ([]uint32, error) {
	var out profileArgs
	_, err := s.Call(ctx, beside.Request{Op: opProfile, Args: profileArgs{Image: image}}, &out)
	return out.Chunks, err
}

// StoreProfile implements lazyfs.Profiles.
func (s *source) StoreProfile(ctx context.Context, image string, chunks []uint32) error {
	_, err := s.Call(ctx, beside.Request{Op: opRemember, Args: profileArgs{Image: image, Chunks: chunks}}, nil)
	return err
}
