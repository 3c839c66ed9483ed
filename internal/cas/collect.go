package cas

import (
	"context"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Bin is a store that a collection cleans. Implemented by blob.Store.
type Bin interface {
	Source
	// List hands over all blobs with their times.
	List(ctx context.Context, f func(blob.Entry) error) error
	// Remove removes a blob whose time is before a moment, and says whether it did.
	Remove(ctx context.Context, digest string, before time.Time) (bool, error)
}

// Root is a blob that somebody refers to.
type Root struct {
	Digest string
	// File says that it is a manifest, whose chunks are referred to as well.
	File bool
}

// Roots knows who refers to blobs.
type Roots interface {
	// Roots hands over all blobs that are referred to. A reference that is made meanwhile may be left out if its blob was committed or
	// claimed after cutoff. An error ends the collection: nothing is removed that may be needed.
	Roots(ctx context.Context, cutoff time.Time, add func(Root) error) error
}

// Collected says what a collection removed.
type Collected struct{ Blobs, Bytes uint64 }

// Collect removes blobs that no root reaches and whose time is before cutoff. It may run beside writers: a writer commits or claims every
// blob before it refers to it, and has the time from cutoff to now to do so; a blob that is claimed while it is being looked at stays.
// A root that can't be read ends the collection, since what it reaches is not known.
func Collect(ctx context.Context, bin Bin, roots Roots, cutoff time.Time) (done Collected, err error) {
	// Candidates come before roots: what gets a reference from here on has been claimed after cutoff, and so is left alone.
	candidates := map[string]uint64{}
	err = bin.List(ctx, func(e blob.Entry) error {
		if e.Time.Before(cutoff) {
			candidates[e.Digest] = e.Size
		}
		return ctx.Err()
	})
	if err != nil || len(candidates) == 0 {
		return done, err
	}
	err = roots.Roots(ctx, cutoff, func(r Root) error {
		delete(candidates, r.Digest)
		if !r.File {
			return nil
		}
		m, err := Load(ctx, bin, r.Digest)
		if err != nil {
			return fmt.Errorf("collection of blobs: %w", err)
		}
		for _, c := range m.Chunks {
			delete(candidates, c.Digest)
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	for digest, size := range candidates {
		if err := ctx.Err(); err != nil {
			return done, context.Cause(ctx)
		}
		removed, err := bin.Remove(ctx, digest, cutoff)
		if err != nil {
			return done, err
		}
		if removed {
			done.Blobs++
			done.Bytes += size
		}
	}
	return done, nil
}

// Claimer has blobs outlive collections. Implemented by blob.Store.
type Claimer interface {
	Source
	// Claim returns a blob's size and has it outlive the next collections. Errors: fault.NotFound.
	Claim(ctx context.Context, digest string) (uint64, error)
}

// Claim sees to it that all of a file is there, and outlives the next collections, for one who is about to refer to it. Contents are not
// read. Errors: fault.NotFound; fault.DataLoss for a manifest that makes no sense, or chunks of other sizes than it says.
func Claim(ctx context.Context, blobs Claimer, digest string) (*Manifest, error) {
	if _, err := blobs.Claim(ctx, digest); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	m, err := Load(ctx, blobs, digest)
	if err != nil {
		return nil, err
	}
	for _, c := range m.Chunks {
		size, err := blobs.Claim(ctx, c.Digest)
		if err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
		if size != uint64(c.Size) {
			return nil, fault.New(fault.DataLoss, "chunk %q: has %d bytes, not %d", c.Digest, size, c.Size)
		}
	}
	return m, nil
}
