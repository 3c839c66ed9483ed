package server

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/solve"
	"github.com/skerry-dev/skerry/internal/cas"
)

// reportTimeout is how long the gateway may take to look at results that could not be read, which it does before they are made again.
const reportTimeout = time.Minute

// share returns what a build takes from other builders and gives to them; nil: nothing.
func (s *Server) share(ctx context.Context, from *build.Shared, noCache bool) *solve.Shared {
	if from == nil || s.config.SharedCache != "" {
		return nil
	}
	out := &solve.Shared{Known: from.Known && !noCache, MaxBytes: from.MaxBytes, Blobs: s.blobs, Dir: s.tmp, Broken: s.broken}
	out.Store = func(ctx context.Context, b *cas.Bundle) error {
		digest, err := s.addBundle(ctx, b)
		if err != nil {
			return err
		}
		if err := s.layers.Store(ctx, from.Grant, digest); err != nil {
			return err
		}
		s.log.Info("results of a build are shared with other builders", "bundle", digest, "bytes", b.Bytes())
		return nil
	}
	if noCache {
		return out
	}
	for _, digest := range from.Bundles {
		data, err := s.blobs.ReadAll(ctx, digest, cas.MaxBundle)
		var b *cas.Bundle
		if err == nil {
			b, err = cas.DecodeBundle(data)
		}
		if err != nil {
			s.broken(ctx, solve.BrokenContent{Bundle: digest, Err: err})
			out.Known = false
			continue
		}
		out.Bundles = append(out.Bundles, solve.Bundle{Digest: digest, Bundle: b})
	}
	return out
}

// broken has the gateway look at results that could not be read.
func (s *Server) broken(ctx context.Context, b solve.BrokenContent) {
	s.log.Warn("results of other builders can't be read, and are made again", "bundle", b.Bundle, "content", b.Content, "err", b.Err)
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	if _, err := s.layers.Report(ctx, b.Bundle, b.Content); err != nil {
		s.log.Warn("the gateway does not know that shared results can't be read", "bundle", b.Bundle, "err", err)
	}
}

// debian returns the base of a Python series. Where results are shared, it is the newest that any builder has made: they are of use on the same
// base alone.
func (s *Server) debian(ctx context.Context, series string, shared *build.Shared, progress func(string)) (*base.Image, error) {
	d, ok := s.chain.Debian(series)
	if !ok || shared == nil || s.config.SharedCache != "" {
		return s.chain.Prepare(ctx, series, progress)
	}
	mine, err := d.Local(series)
	if err != nil {
		return nil, err
	}
	theirs, b, err := s.theirs(ctx, shared.Base)
	if err == nil && theirs != nil && (mine == nil || mine.Digest != theirs.Digest() && mine.Made <= theirs.Made()) {
		var img *base.Image
		if img, err = d.PreparePacked(ctx, theirs, progress); err == nil {
			return img, nil
		}
	}
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		s.broken(ctx, solve.BrokenContent{Bundle: shared.Base, Content: b, Err: err})
		theirs = nil
	}
	if mine == nil {
		if mine, err = d.Prepare(ctx, series, progress); err != nil {
			return nil, err
		}
	}
	if theirs == nil || theirs.Digest() != mine.Digest {
		s.giveBase(mine, shared.Grant)
	}
	return mine, nil
}

// theirs is the base that others start from; nil: there is none. Where it can't be read, content is what can't.
func (s *Server) theirs(ctx context.Context, digest string) (p *base.Packed, content string, err error) {
	if digest == "" {
		return nil, "", nil
	}
	data, err := s.blobs.ReadAll(ctx, digest, cas.MaxBundle)
	if err != nil {
		return nil, "", err
	}
	b, err := cas.DecodeBundle(data)
	if err != nil {
		return nil, "", err
	}
	if p, err = base.Open(ctx, b, s.blobs); err != nil {
		return nil, b.Root, err
	}
	for _, f := range b.Files {
		if f.Size > 1<<20 {
			content = f.Content // the layer, should it turn out to be damaged
		}
	}
	return p, content, nil
}

// giveBase has other builders start from a base, behind the build.
func (s *Server) giveBase(img *base.Image, grant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.given[img.Digest] {
		return
	}
	s.given[img.Digest] = true
	s.giving.Go("base", func(ctx context.Context) error {
		err := s.packBase(ctx, img, grant)
		if err != nil {
			s.mu.Lock()
			delete(s.given, img.Digest)
			s.mu.Unlock()
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("a base is not shared with other builders", "base", img.Name, "err", err)
		}
		return nil
	})
}

func (s *Server) packBase(ctx context.Context, img *base.Image, grant string) error {
	b, err := base.Pack(ctx, img, s.blobs)
	if err != nil {
		return err
	}
	digest, err := s.addBundle(ctx, b)
	if err != nil {
		return err
	}
	if err := s.layers.StoreBase(ctx, grant, digest); err != nil {
		return err
	}
	s.log.Info("a base is shared with other builders", "base", img.Name, "bundle", digest, "bytes", b.Bytes())
	return nil
}

// addBundle keeps a bundle, whose files are blobs already, as a blob, and returns its digest.
func (s *Server) addBundle(ctx context.Context, b *cas.Bundle) (string, error) {
	data, err := b.Encode()
	if err != nil {
		return "", err
	}
	ref, _, err := s.blobs.Add(ctx, data)
	return ref.Digest, err
}
