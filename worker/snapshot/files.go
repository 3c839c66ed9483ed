package snapshot

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// claimers is how many claims are under way at a time.
const claimers = 16

// FilesParams says whose files an image is made of.
type FilesParams struct {
	// Image is what the container was started from: its manifest's digest, and where its file is on this host.
	Image payload.Ref
	File  string
	// Save takes the writable layer, with files of its own in dir.
	Save func(ctx context.Context, dir string) (Layer, error)
	// Need is about how many bytes that takes.
	Need uint64
	// Leave are the absolute paths where something is mounted that is not the container's own.
	Leave []string
	// Path is the absolute path of the folder to keep; empty: all.
	Path string
}

// Files makes an image of a container's files, or of one of its folders, and stores it. The container stands still while its layer is taken.
// Errors: fault.NotFound if there is no such folder, fault.Precondition for one in a mount, fault.Exhausted where it is too large,
// fault.Unavailable if the sandbox has ended.
func (s *Store) Files(ctx context.Context, p FilesParams) (image payload.Ref, err error) {
	for _, at := range p.Leave {
		if folder := path.Clean(p.Path); p.Path != "" && (folder == at || strings.HasPrefix(folder, at+"/")) {
			return payload.Ref{}, fault.New(fault.Precondition, "directory %.200q: it is in what is mounted at %s; copy it to a directory of the sandbox's own", p.Path, at)
		}
	}
	if err := s.room(2 * p.Need); err != nil { // the layer, and then its contents in another order
		return payload.Ref{}, err
	}
	manifest, err := cas.Load(ctx, s.cfg.Blobs, p.Image.Digest)
	if err != nil {
		return payload.Ref{}, fmt.Errorf("image %s: %w", p.Image.Digest, err)
	}
	base, err := os.Open(p.File)
	if err != nil {
		return payload.Ref{}, fmt.Errorf("image %s: %w", p.Image.Digest, err)
	}
	defer base.Close()
	layer, err := p.Save(ctx, s.tmp())
	if err != nil {
		return payload.Ref{}, err
	}
	defer closing(&err, layer)
	done, err := erofs.Layer(ctx, erofs.LayerParams{
		Base: base, Manifest: manifest,
		Upper: func(ctx context.Context, take erofs.Take) error { return layer.Each(ctx, take) },
		Leave: p.Leave, Root: p.Path, Dir: s.tmp(), Sink: s.cfg.Blobs, Keep: s.claim,
	})
	if err != nil {
		return payload.Ref{}, err
	}
	return done.File, nil
}

// Tree makes an image of a tar stream, which somebody in a container writes of a folder that is not in its writable layer. It reads it to its end.
func (s *Store) Tree(ctx context.Context, r io.Reader) (image payload.Ref, err error) {
	if err := s.room(0); err != nil {
		return payload.Ref{}, err
	}
	done, err := erofs.Store(ctx, erofs.Params{Tar: r, Dir: s.tmp(), Sink: s.cfg.Blobs})
	if err != nil {
		return payload.Ref{}, err
	}
	return done.File, nil
}

// claim keeps chunks of an image from being removed before another one refers to them.
func (s *Store) claim(ctx context.Context, chunks []cas.Chunk) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(claimers)
	seen := map[string]bool{}
	for _, c := range chunks {
		if seen[c.Digest] {
			continue
		}
		seen[c.Digest] = true
		g.Go(func() error { return s.cfg.Blobs.Claim(ctx, c.Digest) })
	}
	return g.Wait()
}
