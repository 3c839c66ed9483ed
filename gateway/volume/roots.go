package volume

import (
	"context"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// Roots hands over the blobs of all versions, and of trees that are held. What versions have in common is looked at once.
func (s *Service) Roots(ctx context.Context, add func(cas.Root) error) error {
	trees, err := s.d.Versions.VolumeTrees(ctx, time.Now())
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, root := range trees {
		err := voltree.Blobs(ctx, s.d.Blobs, root, func(digest string, chunked bool) (bool, error) {
			if seen[digest] {
				return false, nil
			}
			seen[digest] = true
			return true, add(cas.Root{Digest: digest, File: chunked})
		})
		if err != nil {
			return fmt.Errorf("tree %q of a volume: %w", root, err)
		}
	}
	return nil
}
