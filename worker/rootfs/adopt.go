package rootfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/container"
)

// Adopt takes over what a sandbox uses that an earlier process started: its image and its trees stay where they are until release is called,
// as after Image and Mounts. Nothing is fetched. It is called before Reap and before the first Image. Errors: fault.NotFound where the image or
// a tree is no longer on this host, so that the sandbox can't read it any more.
func (s *Store) Adopt(ctx context.Context, image container.Image, mounts []container.Mount) (a container.Adopted, release func(), err error) {
	for _, m := range mounts {
		if err := ident.CheckDigest(m.TreeDigest); err != nil {
			return a, nil, fmt.Errorf("mount at %q: %w", m.RemotePath, err)
		}
	}
	groups, err := overlapping(mounts)
	if err != nil {
		return a, nil, err
	}
	var releases []func()
	release = func() {
		for _, r := range releases {
			r()
		}
	}
	path, held, err := s.adoptImage(ctx, image)
	if err != nil {
		return a, nil, fmt.Errorf("image %s: %w", image.Digest, err)
	}
	a.Image, releases = path, append(releases, held)
	for _, g := range groups {
		source, held, ok := s.trees.Lookup(g.name())
		if !ok {
			release()
			return a, nil, fault.New(fault.NotFound, "mount at %q: is no longer on this host", g.root)
		}
		a.Binds, releases = append(a.Binds, container.Bind{Source: source, Target: g.root}), append(releases, held)
	}
	return a, release, nil
}

// adoptImage pins all that an image may be read from: which of it a sandbox has open, it alone knows.
func (s *Store) adoptImage(ctx context.Context, image container.Image) (path string, release func(), err error) {
	if err := ident.CheckDigest(image.Digest); err != nil {
		return "", nil, err
	}
	name := key(image.Digest)
	if image.Chunked {
		name = wholeKey(image.Digest)
	} else if s.local != nil {
		if path, ok := s.local.LocalPath(image.Digest); ok {
			return path, func() {}, nil
		}
	}
	whole, release, here := s.blobs.Lookup(name)
	if !image.Chunked || s.lazy == nil {
		if !here {
			return "", nil, fault.New(fault.NotFound, "is no longer on this host")
		}
		return whole, release, nil
	}
	path, lazy, err := s.lazy.Adopt(ctx, image.Ref)
	switch {
	case !here:
		return path, lazy, err
	case errors.Is(err, fault.NotFound):
		return whole, release, nil
	case err != nil:
		release()
		return "", nil, err
	}
	return path, func() {
		release()
		lazy()
	}, nil
}

// Find has what readers of images wait for fetched that an earlier process started. It is called before they are to end: one that waits can't.
func (s *Store) Find(ctx context.Context) error {
	if s.lazy == nil {
		return nil
	}
	return s.lazy.Find(ctx)
}

// Reap gives back what an earlier process had of lazy images and nobody has adopted. It is called before the first Image.
func (s *Store) Reap(ctx context.Context) error {
	if s.lazy == nil {
		return nil
	}
	return s.lazy.Reap(ctx)
}

// Close gives back what images need while they are used. Those of sandboxes that go on stay, for the next process to adopt.
func (s *Store) Close() error {
	if s.lazy == nil {
		return nil
	}
	return s.lazy.Close()
}
