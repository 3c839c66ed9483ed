package image

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// useEvery is how often the use of an image is noted.
const useEvery = time.Hour

// Keep adds an image that no recipe has made, which is forgotten ttl after its last use (0: never), and returns its id.
func (s *Service) Keep(ctx context.Context, im Image, ttl time.Duration) (string, error) {
	im.ID, im.Recipe, im.CreatedAt = ident.New(ident.Image), nil, time.Now()
	im.TTL, im.UsedAt = ttl, im.CreatedAt
	return im.ID, s.d.Store.PutImage(ctx, im)
}

// Used notes that an image is used. Only images that are forgotten some time need it.
func (s *Service) Used(ctx context.Context, im *Image) error {
	if now := time.Now(); im.TTL > 0 && now.Sub(im.UsedAt) > min(useEvery, im.TTL/2) {
		return s.d.Ages.UseImage(ctx, im.ID, now)
	}
	return nil
}

// Prune forgets images whose time has passed and that nothing uses.
func (s *Service) Prune(ctx context.Context) error {
	stale, err := s.d.Ages.StaleImages(ctx, time.Now())
	if err != nil {
		return err
	}
	for _, id := range stale {
		err := s.Delete(ctx, id)
		if err != nil && !errors.Is(err, fault.NotFound) && !errors.Is(err, fault.Precondition) {
			return err
		}
	}
	return nil
}
