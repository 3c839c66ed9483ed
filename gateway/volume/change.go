package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// Bounds of one request.
const (
	// MaxChanges is how many changes a request may have.
	MaxChanges = 1_000_000
	// MaxPaths is how many bytes the paths and targets of a request may have together.
	MaxPaths = 256 << 20
	// MaxMissing is how many missing blobs are named at a time.
	MaxMissing = 10_000
)

// Change is a request to change a volume.
type Change struct {
	VolumeID string
	// RequestID is chosen by who asks, and makes one version in the volume however often it is sent.
	RequestID string
	Changes   []voltree.Change
	// LastWins is for what a container has done to an older version.
	LastWins bool
	By       string
	Reason   string
}

// Gatherer takes the changes of a request as they come.
type Gatherer struct {
	Changes []voltree.Change
	bytes   int
	// Many files have the same blob, whose name is kept once.
	digests map[string]string
}

// Add takes more changes. Errors: fault.Exhausted over MaxChanges or MaxPaths.
func (g *Gatherer) Add(changes []voltree.Change) error {
	if g.digests == nil {
		g.digests = map[string]string{}
	}
	for _, c := range changes {
		g.bytes += len(c.Path) + len(c.To) + len(c.Entry.Target) + len(c.Entry.Content.Digest)
		if d := c.Entry.Content.Digest; d != "" {
			if had, ok := g.digests[d]; ok {
				c.Entry.Content.Digest = had
			} else {
				g.digests[d] = d
			}
		}
		g.Changes = append(g.Changes, c)
	}
	if len(g.Changes) > MaxChanges || g.bytes > MaxPaths {
		return fault.New(fault.Exhausted, "more than %d changes, or %d bytes of paths, at once; make them in parts", MaxChanges, MaxPaths)
	}
	return nil
}

// lock is held by who changes a volume.
type lock struct {
	held chan struct{} // has room for one
	uses int           // who has it or waits for it
}

// lock waits for a volume's lock and returns what gives it back.
func (s *Service) lock(ctx context.Context, id string) (unlock func(), err error) {
	s.mu.Lock()
	l := s.locks[id]
	if l == nil {
		l = &lock{held: make(chan struct{}, 1)}
		s.locks[id] = l
	}
	l.uses++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.uses--; l.uses == 0 {
			delete(s.locks, id)
		}
	}
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// Change applies changes as one version, all or none. Where blobs are missing it changes nothing and returns their digests, at most
// MaxMissing. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Precondition, fault.Exhausted, fault.DataLoss.
func (s *Service) Change(ctx context.Context, c Change) (v *Version, missing []string, err error) {
	if len(c.RequestID) != 22 {
		return nil, nil, fault.New(fault.Invalid, "volume %q: request id %.80q: want 22 characters", c.VolumeID, c.RequestID)
	}
	if _, err := s.objects.Find(ctx, c.VolumeID); err != nil {
		return nil, nil, err
	}
	if done, err := s.d.Versions.VersionOf(ctx, c.VolumeID, c.RequestID); !errors.Is(err, fault.NotFound) {
		return done, nil, err
	}
	if missing, err := s.claim(ctx, c.Changes); err != nil || len(missing) > 0 {
		return nil, missing, err
	}
	v, err = s.add(ctx, c, func(head *Version) (voltree.Result, error) {
		return voltree.Apply(ctx, voltree.Params{
			Reader: s.reader, Sink: s.d.Blobs, Root: head.Root, Changes: c.Changes, LastWins: c.LastWins, Now: time.Now(),
		})
	})
	return v, nil, err
}

// add makes the version that follows the newest.
func (s *Service) add(ctx context.Context, c Change, next func(head *Version) (voltree.Result, error)) (*Version, error) {
	unlock, err := s.lock(ctx, c.VolumeID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for {
		// The same request may have come on another way, or have been waiting for the lock.
		if done, err := s.d.Versions.VersionOf(ctx, c.VolumeID, c.RequestID); !errors.Is(err, fault.NotFound) {
			return done, err
		}
		head, err := s.d.Versions.Version(ctx, c.VolumeID, 0)
		if err != nil {
			return nil, err
		}
		done, err := next(head)
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", c.VolumeID, err)
		}
		v := Version{
			Number: head.Number + 1, Root: done.Root, RequestID: c.RequestID, CreatedAt: time.Now(), CreatedBy: c.By, Reason: c.Reason,
			Files: done.Totals.Files, Bytes: done.Totals.Bytes,
		}
		err = s.d.Versions.AddVersion(ctx, c.VolumeID, v)
		if errors.Is(err, fault.Precondition) {
			continue // another gateway was faster
		}
		return &v, err
	}
}

// Restore makes a new version with the content of an old one. Errors: fault.NotFound.
func (s *Service) Restore(ctx context.Context, c Change, number uint64) (*Version, error) {
	if _, err := s.objects.Find(ctx, c.VolumeID); err != nil {
		return nil, err
	}
	c.Reason = fmt.Sprintf("restore %d", number)
	return s.add(ctx, c, func(*Version) (voltree.Result, error) {
		old, err := s.d.Versions.Version(ctx, c.VolumeID, number)
		if err != nil {
			return voltree.Result{}, err
		}
		// The tree outlives the version, should that be forgotten before the new one is written.
		if err := s.Hold(ctx, []string{old.Root}); err != nil {
			return voltree.Result{}, err
		}
		return voltree.Result{Root: old.Root, Totals: voltree.Totals{Files: old.Files, Bytes: old.Bytes}}, nil
	})
}
