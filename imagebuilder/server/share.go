package server

import (
	"context"
	"time"

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
		data, err := b.Encode()
		if err != nil {
			return err
		}
		ref, _, err := s.blobs.Add(ctx, data)
		if err != nil {
			return err
		}
		if err := s.layers.Store(ctx, from.Grant, ref.Digest); err != nil {
			return err
		}
		s.log.Info("results of a build are shared with other builders", "bundle", ref.Digest, "bytes", b.Bytes())
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
