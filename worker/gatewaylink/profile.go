package gatewaylink

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/worker/lazyfs"
)

var _ lazyfs.Profiles = (*Bulk)(nil)

// Profile implements lazyfs.Profiles.
func (b *Bulk) Profile(ctx context.Context, image string) ([]uint32, error) {
	res, err := b.rpc.FetchProfile(ctx, connect.NewRequest(&workerv1.FetchProfileRequest{Digest: image}))
	if err != nil {
		return nil, fmt.Errorf("profile of image %s: %w", image, fault.FromConnect(err))
	}
	return res.Msg.GetChunks(), nil
}

// StoreProfile implements lazyfs.Profiles.
func (b *Bulk) StoreProfile(ctx context.Context, image string, chunks []uint32) error {
	_, err := b.rpc.StoreProfile(ctx, connect.NewRequest(&workerv1.StoreProfileRequest{Digest: image, Chunks: chunks}))
	if err != nil {
		return fmt.Errorf("profile of image %s: %w", image, fault.FromConnect(err))
	}
	return nil
}
