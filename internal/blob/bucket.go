package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/aws/smithy-go"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob" // s3:// URLs
	"gocloud.dev/gcerrors"

	"github.com/skerry-dev/skerry/internal/fault"
)

// claimPrefix is where a bucket has an empty object for each blob that was claimed long after it was stored: its time is that of the claim.
// An object's own time changes only by being written again, which a claim of a large blob can't afford.
const claimPrefix = "claims/"

// partSize is that of uploads in parts. A bucket takes 10,000 parts, which is more than MaxSize.
const partSize = 8 << 20

// bucket has blobs as objects of an object store elsewhere.
type bucket struct {
	bucket *blob.Bucket
	// times are held, by the digest's first byte, for writing where a blob's times are compared and the blob then removed, for reading where it gets
	// a new one.
	times [256]sync.RWMutex
}

// OpenBucket opens the store in a bucket: s3://name, with the parameters region, endpoint (of a store that is not AWS's) and prefix, and others
// of gocloud.dev/blob/s3blob. Credentials are found as the AWS tools find them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profiles, the
// instance's role. Staging is a folder of this store's own for what is being written. Errors: fault.Invalid; fault.Unavailable where the bucket can't
// be reached, or does not let us in.
func OpenBucket(ctx context.Context, rawURL, staging string) (*Store, error) {
	where, err := bucketURL(rawURL)
	if err != nil {
		return nil, err
	}
	if err := emptied(staging); err != nil {
		return nil, fmt.Errorf("blob store %q: %w", rawURL, err)
	}
	b, err := blob.OpenBucket(ctx, where)
	if err != nil {
		return nil, fault.New(fault.Invalid, "blob store %q: %w", rawURL, err)
	}
	if ok, err := b.IsAccessible(ctx); err != nil || !ok {
		if err == nil {
			err = errors.New("there is no such bucket")
		}
		return nil, errors.Join(fault.New(fault.Unavailable, "blob store %q: %w", rawURL, err), b.Close())
	}
	return &Store{bucket: b, home: &bucket{bucket: b}, staging: staging}, nil
}

// IsBucket says whether a URL is for OpenBucket, and not of a folder.
func IsBucket(rawURL string) bool {
	u, err := url.Parse(rawURL)
	return err == nil && u.Scheme != "" && u.Scheme != "file"
}

// bucketURL is the URL for the driver.
func bucketURL(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fault.New(fault.Invalid, "blob store: %w", err)
	}
	if u.User != nil {
		return "", fault.New(fault.Invalid, "blob store \"%s://...\": credentials are no part of the URL; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", u.Scheme)
	}
	if u.Scheme != "s3" || u.Host == "" {
		return "", fault.New(fault.Invalid, "blob store %q: want s3://bucket?region=..., or the path of a folder", rawURL)
	}
	q := u.Query()
	if q.Has("endpoint") && !q.Has("use_path_style") {
		q.Set("use_path_style", "true") // stores elsewhere seldom have a host name for each bucket
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func (b *bucket) lock(digest string) *sync.RWMutex {
	return &b.times[hexByte(digest[len("sha256:"):])]
}

// hexByte is the number that the first two of hexadecimal digits are.
func hexByte(digits string) (n byte) {
	for _, c := range []byte(digits[:2]) {
		if c > '9' {
			c -= 'a' - '9' - 1
		}
		n = n<<4 | (c - '0')
	}
	return n
}

// put uploads what is staged. The object is there as a whole, or not.
func (b *bucket) put(ctx context.Context, digest string, staged *os.File) error {
	if _, err := staged.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return b.upload(ctx, digest, staged)
}

func (b *bucket) upload(ctx context.Context, digest string, content io.Reader) error {
	l := b.lock(digest)
	l.RLock()
	defer l.RUnlock()
	return b.bucket.Upload(ctx, key(digest), content, &blob.WriterOptions{ContentType: "application/octet-stream", BufferSize: partSize})
}

func claimKey(digest string) string { return claimPrefix + key(digest)[len(keyPrefix):] }

// times returns a blob's size and time. Errors: fault.NotFound.
func (b *bucket) stat(ctx context.Context, digest string) (size uint64, at time.Time, err error) {
	o, err := b.bucket.Attributes(ctx, key(digest))
	if err != nil {
		return 0, at, named(digest, err)
	}
	size, at = uint64(o.Size), o.ModTime //nolint:gosec // not negative
	if time.Since(at) < claimStep {
		return size, at, nil
	}
	claim, err := b.bucket.Attributes(ctx, claimKey(digest))
	switch {
	case err == nil && claim.ModTime.After(at):
		return size, claim.ModTime, nil
	case err != nil && gcerrors.Code(err) != gcerrors.NotFound:
		return 0, at, named(digest, err)
	}
	return size, at, nil
}

func (b *bucket) claim(ctx context.Context, digest string) (uint64, error) {
	l := b.lock(digest)
	l.RLock()
	defer l.RUnlock()
	size, at, err := b.stat(ctx, digest)
	if err != nil {
		return 0, err
	}
	if time.Since(at) > claimStep {
		if err := b.bucket.Upload(ctx, claimKey(digest), bytes.NewReader(nil), &blob.WriterOptions{ContentType: "application/octet-stream"}); err != nil {
			return 0, named(digest, err)
		}
	}
	return size, nil
}

// list goes through blobs and claims side by side: both come in the order of digests.
func (b *bucket) list(ctx context.Context, f func(Entry) error) error {
	blobs := &lister{ctx: ctx, list: b.bucket.List(&blob.ListOptions{Prefix: keyPrefix})}
	claims := &lister{ctx: ctx, list: b.bucket.List(&blob.ListOptions{Prefix: claimPrefix})}
	claim, err := claims.next()
	if err != nil {
		return err
	}
	for {
		e, err := blobs.next()
		if err != nil || e == nil {
			return err
		}
		for claim != nil && claim.Digest < e.Digest {
			if claim, err = claims.next(); err != nil {
				return err
			}
		}
		if claim != nil && claim.Digest == e.Digest && claim.Time.After(e.Time) {
			e.Time = claim.Time
		}
		if err := f(*e); err != nil {
			return err
		}
	}
}

func (b *bucket) remove(ctx context.Context, digest string, before time.Time) (bool, error) {
	l := b.lock(digest)
	l.Lock()
	defer l.Unlock()
	_, at, err := b.stat(ctx, digest)
	if errors.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil || !at.Before(before) {
		return false, err
	}
	// The blob first: a claim that is left says nothing of a blob that is not there.
	if err := b.bucket.Delete(ctx, key(digest)); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return false, named(digest, err)
	}
	if err := b.bucket.Delete(ctx, claimKey(digest)); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return true, named(digest, err)
	}
	return true, nil
}

// isRemote says whether an error comes from an object store, or from the way to it.
func isRemote(err error) bool {
	var api smithy.APIError
	var network net.Error
	return errors.As(err, &api) || errors.As(err, &network)
}
