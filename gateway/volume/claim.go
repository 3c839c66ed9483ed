package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// claimers is how many blobs are claimed at a time.
const claimers = 8

// wanted is what changes ask of a blob: bytes up to an end, or to be the manifest of a file of a size.
type wanted struct {
	end     uint64
	chunked bool
}

// claim sees to it that all contents of changes are there, and outlive the next collections. It returns digests of what is missing; chunks
// of a manifest that is missing are not known yet.
func (s *Service) claim(ctx context.Context, changes []voltree.Change) (missing []string, err error) {
	needs, err := contents(changes)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	lacks := map[string]bool{}
	lack := func(digest string) {
		mu.Lock()
		defer mu.Unlock()
		lacks[digest] = true
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(claimers)
	for digest, need := range needs {
		g.Go(func() error {
			if need.chunked {
				return s.claimFile(gctx, digest, need.end, lack)
			}
			size, err := s.d.Blobs.Claim(gctx, digest)
			switch {
			case errors.Is(err, fault.NotFound):
				lack(digest)
				return nil
			case err == nil && size > voltree.MaxPack:
				return fault.New(fault.Invalid, "blob %q: has %d bytes, at most %d may be; use chunks", digest, size, voltree.MaxPack)
			case err == nil && size < need.end:
				return fault.New(fault.Invalid, "blob %q: has %d bytes, a file ends at %d", digest, size, need.end)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for digest := range lacks {
		missing = append(missing, digest)
	}
	slices.Sort(missing)
	return missing[:min(len(missing), MaxMissing)], nil
}

// contents are the blobs that changes refer to.
func contents(changes []voltree.Change) (map[string]wanted, error) {
	needs := map[string]wanted{}
	for i := range changes {
		c := &changes[i].Entry.Content
		if c.Digest == "" {
			continue
		}
		end := c.Offset + changes[i].Entry.Size
		had, ok := needs[c.Digest]
		if ok && (had.chunked != c.Chunked || c.Chunked && had.end != end) {
			return nil, fault.New(fault.Invalid, "%q: its content is that of another file as well, which is not alike", changes[i].Path)
		}
		needs[c.Digest] = wanted{end: max(end, had.end), chunked: c.Chunked}
	}
	return needs, nil
}

func (s *Service) claimFile(ctx context.Context, digest string, size uint64, lack func(string)) error {
	if _, err := s.d.Blobs.Claim(ctx, digest); err != nil {
		if errors.Is(err, fault.NotFound) {
			lack(digest)
			return nil
		}
		return err
	}
	m, err := s.manifest(ctx, digest)
	if errors.Is(err, fault.DataLoss) {
		return fault.New(fault.Invalid, "%s", err.Error()) // it is what the client has sent
	}
	if err != nil {
		return err
	}
	if m.Size != size {
		return fault.New(fault.Invalid, "manifest %q: is of %d bytes, the file of %d", digest, m.Size, size)
	}
	for _, c := range m.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		has, err := s.d.Blobs.Claim(ctx, c.Digest)
		switch {
		case errors.Is(err, fault.NotFound):
			lack(c.Digest)
		case err != nil:
			return err
		case has != uint64(c.Size):
			return fault.New(fault.Invalid, "chunk %q: has %d bytes, not %d", c.Digest, has, c.Size)
		}
	}
	return nil
}

// manifest reads the manifest of a volume's file. Errors: fault.NotFound, fault.DataLoss.
func (s *Service) manifest(ctx context.Context, digest string) (*cas.Manifest, error) {
	if m, ok := s.recent.get(digest).(*cas.Manifest); ok {
		return m, nil
	}
	m, err := cas.Load(ctx, s.d.Blobs, digest)
	if err != nil {
		return nil, err
	}
	if err := voltree.CheckManifest(m); err != nil {
		return nil, fault.New(fault.DataLoss, "manifest %q: %s", digest, err.Error())
	}
	s.recent.put(digest, m, 150*len(m.Chunks)+200)
	return m, nil
}

// pack reads a blob that has several files. Errors: fault.NotFound, fault.DataLoss.
func (s *Service) pack(ctx context.Context, digest string) ([]byte, error) {
	if data, ok := s.recent.get(digest).([]byte); ok {
		return data, nil
	}
	data, err := s.d.Blobs.ReadAll(ctx, digest, voltree.MaxPack)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	s.recent.put(digest, data, len(data))
	return data, nil
}
