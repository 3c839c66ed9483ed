package image

import (
	"context"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of lists of images.
const (
	defaultListed = 100
	maxListed     = 10_000
)

// Listed is an image in a list.
type Listed struct {
	Image
	Names []Name
}

// List lists built images, newest first, without their recipes; limit 0 is 100.
func (s *Service) List(ctx context.Context, limit int) ([]Listed, error) {
	if limit <= 0 {
		limit = defaultListed
	}
	images, err := s.d.Store.Images(ctx, min(limit, maxListed))
	if err != nil {
		return nil, err
	}
	names, err := s.d.Names.ListNames(ctx, "", "")
	if err != nil {
		return nil, err
	}
	of := map[string][]Name{}
	for _, n := range names {
		of[n.ImageID] = append(of[n.ImageID], n.Name)
	}
	out := make([]Listed, len(images))
	for i, im := range images {
		out[i] = Listed{Image: im, Names: of[im.ID]}
	}
	return out, nil
}

// Delete forgets an image and its log. Errors: fault.Invalid, fault.NotFound; fault.Precondition where something uses it.
func (s *Service) Delete(ctx context.Context, id string) error {
	if err := ident.Check(ident.Image, id); err != nil {
		return err
	}
	users, err := s.d.Store.ImageUsers(ctx, id)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fault.New(fault.Precondition, "image %q: is used by %s; stop those apps, or give those names to other images, first", id,
			strings.Join(users, ", "))
	}
	return s.d.Store.DeleteImage(ctx, id)
}

// Log returns what the last build of an image said, also of one that failed. Errors: fault.Invalid, fault.NotFound.
func (s *Service) Log(ctx context.Context, id string) ([]StepLog, error) {
	if err := ident.Check(ident.Image, id); err != nil {
		return nil, err
	}
	return s.d.Store.ImageLog(ctx, id)
}
