package lazyfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// MaxProfile is the most chunks of a profile that other workers are told.
const MaxProfile = 8192

// Profiles is what all workers know of what starts read first: positions of chunks in an image's manifest, in order.
type Profiles interface {
	// Profile returns an image's profile, which is empty where there is none.
	Profile(ctx context.Context, image string) ([]uint32, error)
	// StoreProfile keeps a profile of at most MaxProfile chunks.
	StoreProfile(ctx context.Context, image string, chunks []uint32) error
}

// folder is the profiles that this worker has made, a file per image.
type folder struct{ dir string }

var _ Profiles = folder{}

func (p folder) path(image string) string { return filepath.Join(p.dir, image[len("sha256:"):]) }

func (p folder) Profile(_ context.Context, image string) (list []uint32, err error) {
	text, err := os.ReadFile(p.path(image))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("profile of image %s: %w", image, err)
	}
	return list, nil
}

// StoreProfile writes a profile, whole or not at all.
func (p folder) StoreProfile(_ context.Context, image string, chunks []uint32) error {
	text, err := json.Marshal(chunks)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(p.dir, "tmp-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), p.path(image))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// profile is what earlier starts of an image have read first: those on this worker or, where there were none, on others.
func (s *Store) profile(ctx context.Context, image string, m *cas.Manifest) ([]uint32, error) {
	list, err := s.own.Profile(ctx, image)
	if err == nil && len(list) == 0 && s.cfg.Shared != nil {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		list, err = s.cfg.Shared.Profile(ctx, image)
	}
	for _, index := range list {
		if uint64(index) >= uint64(len(m.Chunks)) {
			return nil, fault.New(fault.DataLoss, "profile of image %s: chunk %d of %d", image, index, len(m.Chunks))
		}
	}
	return list, err
}

// keep adds a profile to what is known. While the worker stops, others are not told.
func (s *Store) keep(ctx context.Context, image string, list []uint32) error {
	err := s.own.StoreProfile(ctx, image, list)
	if s.cfg.Shared == nil || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return errors.Join(err, s.cfg.Shared.StoreProfile(ctx, image, list[:min(len(list), MaxProfile)]))
}

// merge returns what both lists have, those of first in front; grown says whether second lacks any of first.
func merge(first, second []uint32) (all []uint32, grown bool) {
	have := make(map[uint32]bool, len(second))
	for _, n := range second {
		have[n] = true
	}
	seen := make(map[uint32]bool, len(first))
	for _, n := range first {
		if !seen[n] {
			all = append(all, n)
		}
		seen[n] = true
		grown = grown || !have[n]
	}
	for _, n := range second {
		if !seen[n] {
			all = append(all, n)
		}
	}
	return all, grown
}
