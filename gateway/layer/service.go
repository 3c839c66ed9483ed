package layer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Service says which results there are. It is safe for concurrent use.
type Service struct {
	config Config
	store  Store
	blobs  Blobs
	log    *slog.Logger

	mu     sync.Mutex
	grants []grant // the oldest first
}

// grant lets one builder store the results of a recipe once, and its base once.
type grant struct {
	secret, builder string
	names           []string // nil once the results are stored
	base            string   // empty once the base is stored
	until           time.Time
}

// New returns a Service.
func New(c Config, store Store, blobs Blobs, log *slog.Logger) *Service {
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	return &Service{config: c, store: store, blobs: blobs, log: log}
}

// Offer returns what a build of a recipe may take and give; nil where nothing is shared.
func (s *Service) Offer(ctx context.Context, builder string, r Recipe) (*Offer, error) {
	names := r.Beginnings
	if s.config.MaxBytes < 0 || len(names) == 0 {
		return nil, nil //nolint:nilnil // nothing is shared
	}
	longest := slices.Clone(names)
	slices.Reverse(longest)
	now := time.Now()
	found, err := s.store.FindLayers(ctx, append(longest, r.Base), now)
	if err != nil {
		return nil, err
	}
	base := found[len(longest)]
	found = found[:len(longest)]
	o := &Offer{Known: found[0] != "", Base: base, Grant: ident.Random(43), MaxBytes: uint64(s.config.MaxBytes)}
	for _, b := range found {
		if b != "" && len(o.Bundles) < maxBundles && !slices.Contains(o.Bundles, b) {
			o.Bundles = append(o.Bundles, b)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants = slices.DeleteFunc(s.grants, func(g grant) bool { return now.After(g.until) })
	s.grants = append(s.grants, grant{o.Grant, builder, slices.Clone(names), r.Base, now.Add(grantTime)})
	s.grants = s.grants[max(len(s.grants)-maxGrants, 0):]
	return o, nil
}

// take returns the names that a grant is for, once.
func (s *Service) take(secret, builder string, base bool) (names []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.grants, func(g grant) bool { return g.secret == secret && g.builder == builder })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "grant to share results: not known, or of another builder or long ago")
	}
	g := &s.grants[i]
	if names = g.names; base && g.base != "" {
		names, g.base = []string{g.base}, ""
	} else if base {
		names = nil
	} else {
		g.names = nil
	}
	if len(names) == 0 {
		return nil, fault.New(fault.NotFound, "grant to share results: was used for these")
	}
	return names, nil
}

// Put has the bundle of a build that was given a grant found from now on. Errors: fault.NotFound for the grant or a blob; fault.Exhausted
// for a bundle that is too large; fault.DataLoss for one that makes no sense.
func (s *Service) Put(ctx context.Context, builder, secret, bundle string) error {
	return s.put(ctx, builder, secret, bundle, false)
}

// PutBase is Put for the bundle of the base that the build has started from.
func (s *Service) PutBase(ctx context.Context, builder, secret, bundle string) error {
	return s.put(ctx, builder, secret, bundle, true)
}

func (s *Service) put(ctx context.Context, builder, secret, bundle string, base bool) error {
	if err := ident.CheckDigest(bundle); err != nil {
		return err
	}
	names, err := s.take(secret, builder, base)
	if err != nil {
		return err
	}
	bytes, err := s.claim(ctx, bundle)
	if err != nil {
		return fmt.Errorf("shared results %q: %w", bundle, err)
	}
	return s.store.PutLayers(ctx, Entry{Bundle: bundle, Bytes: bytes, UsedAt: time.Now()}, names)
}

// claim sees to it that all of a bundle is there and stays until it is referred to.
func (s *Service) claim(ctx context.Context, digest string) (uint64, error) {
	if _, err := s.blobs.Claim(ctx, digest); err != nil {
		return 0, err
	}
	b, err := s.bundle(ctx, digest)
	if err != nil {
		return 0, err
	}
	if b.Bytes() > uint64(s.config.MaxBytes) { //nolint:gosec // not below 0, or there were no grant
		return 0, fault.New(fault.Exhausted, "%d bytes, at most %d are shared", b.Bytes(), s.config.MaxBytes)
	}
	chunks := 0
	for _, f := range b.Files {
		m, err := cas.Claim(ctx, s.blobs, f.Manifest)
		if err != nil {
			return 0, err
		}
		if chunks += len(m.Chunks); chunks > maxChunks || m.Size != f.Size {
			return 0, fault.New(fault.Invalid, "content %q: has not the %d bytes it says, or too many chunks", f.Content, f.Size)
		}
	}
	return b.Bytes(), nil
}

func (s *Service) bundle(ctx context.Context, digest string) (*cas.Bundle, error) {
	data, err := s.blobs.ReadAll(ctx, digest, cas.MaxBundle)
	if err != nil {
		return nil, err
	}
	return cas.DecodeBundle(data)
}

// Report looks for itself at a content that a builder could not read of a bundle; empty: at the bundle alone. Where it is damaged, the
// bundle is found no more, and what is damaged is removed, so that it is stored anew with the results of the next build. It says whether it was.
func (s *Service) Report(ctx context.Context, bundle, content string) (forgotten bool, err error) {
	all, err := s.store.Layers(ctx)
	if err != nil || !slices.ContainsFunc(all, func(e Entry) bool { return e.Bundle == bundle }) {
		return false, err
	}
	began := time.Now()
	damaged, err := s.inspect(ctx, bundle, content)
	if !damage(err) {
		return false, err
	}
	s.log.Error("shared results of builds are damaged in the blob store, and forgotten; they are made again", "bundle", bundle, "blob", damaged, "error", err)
	if err := s.store.ForgetLayers(ctx, bundle); err != nil {
		return false, err
	}
	// One that was stored anew meanwhile stays.
	_, err = s.blobs.Remove(ctx, damaged, began)
	return true, err
}

// inspect reads what a content is made of, and returns the blob that can't be read.
func (s *Service) inspect(ctx context.Context, bundle, content string) (blob string, err error) {
	b, err := s.bundle(ctx, bundle)
	if err != nil {
		return bundle, err
	}
	for _, f := range b.Files {
		if f.Content != content {
			continue
		}
		m, err := cas.Load(ctx, s.blobs, f.Manifest)
		if err != nil {
			return f.Manifest, err
		}
		for _, c := range m.Chunks {
			data, err := s.blobs.ReadAll(ctx, c.Digest, cas.MaxChunk)
			if err == nil {
				err = c.Verify(data)
			}
			if err != nil {
				return c.Digest, err
			}
		}
	}
	return "", nil
}

// damage says whether an error is of what is stored, not of a moment.
func damage(err error) bool {
	return errors.Is(err, fault.DataLoss) || errors.Is(err, fault.NotFound) || errors.Is(err, fault.Invalid)
}

// Prune forgets bundles that no build has looked into for long, and those over the bound, the least recently used first.
func (s *Service) Prune(ctx context.Context) error {
	all, err := s.store.Layers(ctx)
	if err != nil {
		return err
	}
	var used uint64
	counted := map[string]bool{}
	for _, e := range all {
		old := time.Since(e.UsedAt) > s.config.MaxAge
		if !old {
			// What bundles have in common is stored once.
			b, err := s.bundle(ctx, e.Bundle)
			if err != nil && !damage(err) {
				return err
			}
			if err == nil {
				for _, f := range b.Files {
					if !counted[f.Content] {
						counted[f.Content] = true
						used += f.Size
					}
				}
			}
		}
		if !old && (s.config.MaxBytes >= 0 && used <= uint64(s.config.MaxBytes)) {
			continue
		}
		s.log.Info("shared results of builds forgotten", "bundle", e.Bundle, "bytes", e.Bytes, "used", e.UsedAt)
		if err := s.store.ForgetLayers(ctx, e.Bundle); err != nil {
			return err
		}
	}
	return nil
}

// Roots hands over the blobs of all bundles to a collection. Bundles that can't be read are forgotten: they are worth no collection's end.
func (s *Service) Roots(ctx context.Context, add func(cas.Root) error) error {
	all, err := s.store.Layers(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		roots, err := s.roots(ctx, e.Bundle)
		if damage(err) {
			s.log.Error("shared results of builds are damaged in the blob store, and forgotten; they are made again", "bundle", e.Bundle, "error", err)
			if err := s.store.ForgetLayers(ctx, e.Bundle); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range roots {
			if err := add(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) roots(ctx context.Context, bundle string) ([]cas.Root, error) {
	b, err := s.bundle(ctx, bundle)
	if err != nil {
		return nil, err
	}
	roots := []cas.Root{{Digest: bundle}}
	for _, f := range b.Files {
		if _, err := cas.Load(ctx, s.blobs, f.Manifest); err != nil {
			return nil, err
		}
		roots = append(roots, cas.Root{Digest: f.Manifest, File: true})
	}
	return roots, nil
}
