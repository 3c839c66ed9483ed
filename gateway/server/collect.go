package server

import (
	"context"
	"errors"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// DefaultBlobGrace is how long blobs live that nothing refers to. It is longer than the flow keeps anything that may name one: inputs and
	// outputs of calls that are not in the database have no other protection.
	DefaultBlobGrace = 8 * 24 * time.Hour
	// collectEvery is the time between two collections.
	collectEvery = 6 * time.Hour
)

// collect removes blobs that nothing refers to, at the start and then every few hours, until ctx ends. A collection that fails has removed
// nothing that is needed; the next one tries again.
func (s *Server) collect(ctx context.Context) error {
	t := time.NewTicker(collectEvery)
	defer t.Stop()
	for {
		began := time.Now()
		var done cas.Collected
		err := errors.Join(s.layers.Prune(ctx), s.snapshots.Prune(ctx), s.images.Prune(ctx))
		if err == nil {
			done, err = cas.Collect(ctx, s.blobs, roots{s}, began.Add(-s.cfg.BlobGrace))
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.log.Error("collection of blobs ended early", "removed", done.Blobs, "error", err)
		case done.Blobs > 0:
			s.log.Info("blobs removed that nothing refers to", "blobs", done.Blobs, "bytes", done.Bytes, "elapsed", time.Since(began))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// roots are the references to blobs: images, results that builders share, snapshots, code and arguments of functions, calls with their
// outputs, and what dicts and queues hold.
type roots struct{ s *Server }

var _ cas.Roots = roots{}

func (r roots) Roots(ctx context.Context, cutoff time.Time, add func(cas.Root) error) error {
	err := r.s.db.ImageFiles(ctx, func(digest string, chunked bool) error {
		return add(cas.Root{Digest: digest, File: chunked})
	})
	if err != nil {
		return err
	}
	if err := errors.Join(r.s.layers.Roots(ctx, add), r.s.volumes.Roots(ctx, add)); err != nil {
		return err
	}
	if err := r.s.db.SnapshotFiles(ctx, func(digest string) error { return add(cas.Root{Digest: digest, File: true}) }); err != nil {
		return err
	}
	named := map[string]bool{}
	if err := r.s.db.Referred(ctx, cutoff, func(digest string) { named[digest] = true }); err != nil {
		return err
	}
	name := func(digest string) error {
		named[digest] = true
		return nil
	}
	if err := errors.Join(r.s.engine.Dicts().Blobs(ctx, name), r.s.engine.Queues().Blobs(ctx, name)); err != nil {
		return err
	}
	for digest := range named {
		if err := add(cas.Root{Digest: digest}); err != nil {
			return err
		}
	}
	return r.s.db.Trees(ctx, func(digest string) error { return r.tree(ctx, digest, named[digest], cutoff, add) })
}

// tree adds the files of a tree that is in use, or was made since cutoff, and forgets any other, lest somebody refer to it again.
func (r roots) tree(ctx context.Context, digest string, named bool, cutoff time.Time, add func(cas.Root) error) error {
	if !named {
		gone, err := r.s.db.ForgetTree(ctx, digest, cutoff)
		if err != nil || gone {
			return err
		}
	}
	t, err := r.s.mounts.Tree(ctx, digest)
	if err != nil {
		return err
	}
	if err := add(cas.Root{Digest: digest}); err != nil {
		return err
	}
	for _, f := range t.Files {
		if err := add(cas.Root{Digest: f.Blob.Digest}); err != nil {
			return err
		}
	}
	return nil
}

// claim says whether a blob is there that is about to be referred to.
func (s *Server) claim(ctx context.Context, digest string) (bool, error) {
	_, err := s.blobs.Claim(ctx, digest)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	return err == nil, err
}
