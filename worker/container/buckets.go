package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/internal/fault"
)

// BucketMount is a bucket at a path. It is comparable: those that are equal can be one mount.
type BucketMount struct {
	Path             string
	Bucket, Endpoint string // Endpoint is a URL; empty: Amazon's
	Prefix           string // of keys; empty or with "/" at its end
	ReadOnly         bool
	RequesterPays    bool
	PathStyle        bool

	// Credentials, which are not for logs and not for records. All are empty where the bucket is open to everybody.
	AccessKey    string `json:"-"`
	SecretKey    string `json:"-"`
	SessionToken string `json:"-"`
	Region       string `json:"-"` // empty: not said
}

// MountedBucket is a bucket that is mounted on the host. One of Release and Leave is called.
type MountedBucket struct {
	ID   string          // by which Buckets.Adopt finds it, "bk-..."
	Dir  string          // where it is
	Lost <-chan struct{} // closed when it can't be used any more: reading it is an error
	// Release gives it back; nothing that runs has it mounted any more.
	Release func() error
	// Leave leaves it to the worker's next process.
	Leave func()
}

// Buckets mounts buckets. Implemented by worker/bucket.
type Buckets interface {
	// Mount mounts one. Errors: fault.Invalid, fault.NotFound, fault.Denied, fault.Unavailable for what is wrong with the bucket or its
	// credentials, and others for what is wrong with this host.
	Mount(ctx context.Context, b BucketMount) (*MountedBucket, error)
	// Adopt takes over one that an earlier process has mounted, before the network runs. Errors: fault.NotFound.
	Adopt(ctx context.Context, id string) (*MountedBucket, error)
}

// BucketBind is how a container gets a bucket that is mounted. Others change it as well, and it has to hear of each file that is closed.
func BucketBind(b BucketMount, m *MountedBucket) Bind {
	return Bind{Source: m.Dir, Target: b.Path, Writable: !b.ReadOnly, Shared: true, Closes: true}
}

// LostBucket says, for whoever uses a container, that a bucket of it can't be used any more.
func LostBucket(b BucketMount) string {
	return fmt.Sprintf("the process that served bucket %q at %s has ended: what was written and not closed is lost; start again", b.Bucket, b.Path)
}

// bucketError is a bucket that can't be mounted, and whose fault it is.
type bucketError struct{ error }

func (b bucketError) Unwrap() error { return b.error }

// theirs says whether what is wrong is the bucket, its server or its credentials, and not this host.
func (b bucketError) theirs() bool {
	for _, kind := range []*fault.Kind{fault.Invalid, fault.NotFound, fault.Denied, fault.Unavailable, fault.Unimplemented} {
		if errors.Is(b.error, kind) {
			return true
		}
	}
	return false
}

// mountBuckets has the container's buckets mounted.
func (l *life) mountBuckets(ctx context.Context) (binds []Bind, releases []func(), err error) {
	for _, wanted := range l.spec.Buckets {
		m, err := l.host.cfg.Buckets.Mount(ctx, wanted)
		if err != nil {
			return nil, releases, bucketError{fmt.Errorf("mount at %s: %w", wanted.Path, err)}
		}
		binds = append(binds, BucketBind(wanted, m))
		releases = append(releases, func() {
			if err := m.Release(); err != nil {
				l.failed = append(l.failed, fmt.Errorf("container %q: %w", l.spec.ID, err))
			}
		})
		l.lostBuckets = append(l.lostBuckets, m.Lost)
	}
	return binds, releases, nil
}

// watchBuckets notes when a bucket can't be used any more.
func (l *life) watchBuckets() {
	for i, lost := range l.lostBuckets {
		at := l.spec.Buckets[i]
		l.group.Go("bucket", func(ctx context.Context) error {
			select {
			case <-lost:
				l.note(note{kind: noteBucketLost, err: errors.New(LostBucket(at))})
			case <-ctx.Done():
			}
			return nil
		})
	}
}
