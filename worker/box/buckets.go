package box

import (
	"context"
	"fmt"

	"github.com/skerry-dev/skerry/worker/container"
)

// mountBuckets has the box's buckets mounted.
func (b *Box) mountBuckets(ctx context.Context) error {
	for _, wanted := range b.spec.Buckets {
		m, err := b.host.cfg.Buckets.Mount(ctx, wanted)
		if err != nil {
			return fmt.Errorf("at %s: %w", wanted.Path, err)
		}
		b.ownsBucket(wanted, m)
	}
	return nil
}

// adoptBuckets takes over what an earlier process has mounted for the box.
func (b *Box) adoptBuckets(ctx context.Context, ids []string) error {
	for i, id := range ids {
		if i == len(b.spec.Buckets) {
			break
		}
		m, err := b.host.cfg.Buckets.Adopt(ctx, id)
		if err != nil {
			return fmt.Errorf("bucket at %s: %w", b.spec.Buckets[i].Path, err)
		}
		b.ownsBucket(b.spec.Buckets[i], m)
	}
	return nil
}

func (b *Box) ownsBucket(wanted container.BucketMount, m *container.MountedBucket) {
	b.buckets = append(b.buckets, m)
	b.undo.Add(func() { b.note(m.Release()) })
	b.binds = append(b.binds, container.BucketBind(wanted, m))
}

// watchBuckets says when one of them can't be used any more. b.group is there.
func (b *Box) watchBuckets() {
	for i, m := range b.buckets {
		at := b.spec.Buckets[i]
		b.group.Go("bucket", func(ctx context.Context) error {
			select {
			case <-m.Lost:
				b.breaking.Do(func() {
					b.why = container.LostBucket(at)
					close(b.broken)
				})
			case <-ctx.Done():
			}
			return nil
		})
	}
}

// Broken is closed when a part of the box that it can't do without is lost; Why tells.
func (b *Box) Broken() <-chan struct{} { return b.broken }

// Breakage says what was lost, once Broken is closed.
func (b *Box) Breakage() string { return b.why }
