package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
)

// files has blobs as files, whose time is that of their last change.
type files struct {
	bucket *blob.Bucket
	root   string
	// Held for writing where a blob's time is compared and the blob then removed, for reading where it gets a new time.
	times sync.RWMutex
}

func openFiles(root string) (*Store, error) {
	staging := filepath.Join(root, "staging")
	if err := errors.Join(emptied(staging), makeFolders(root)); err != nil {
		return nil, fmt.Errorf("blob store %q: %w", root, err)
	}
	bucket, err := fileblob.OpenBucket(root, &fileblob.Options{Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700, NoTempDir: true})
	if err != nil {
		return nil, fmt.Errorf("blob store %q: %w", root, err)
	}
	return &Store{bucket: bucket, home: &files{bucket: bucket, root: root}, root: root, staging: staging}, nil
}

// emptied makes a folder. What is staged there belongs to writers of a process that is gone.
func emptied(staging string) error {
	return errors.Join(os.RemoveAll(staging), os.MkdirAll(staging, 0o700))
}

// makeFolders makes the folders of blobs, so that a commit need not see to it that they last.
func makeFolders(root string) error {
	top := filepath.Join(root, filepath.FromSlash(keyPrefix))
	if err := os.MkdirAll(top, 0o700); err != nil {
		return err
	}
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(top, fmt.Sprintf("%02x", i)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errors.Join(syncDir(top), syncDir(root))
}

func (f *files) path(digest string) string {
	return filepath.Join(f.root, filepath.FromSlash(key(digest)))
}

func (f *files) put(_ context.Context, digest string, staged *os.File) error {
	if err := staged.Sync(); err != nil {
		return err
	}
	if err := os.Chmod(staged.Name(), 0o444); err != nil {
		return err
	}
	dst := f.path(digest)
	if err := f.name(staged.Name(), dst); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dst)) // the name is durable when its folder is
}

// name gives a staged file its name, with the time of now.
func (f *files) name(staged, dst string) error {
	f.times.RLock()
	defer f.times.RUnlock()
	now := time.Now()
	if err := os.Chtimes(staged, now, now); err != nil {
		return err
	}
	return os.Rename(staged, dst)
}

func (f *files) claim(_ context.Context, digest string) (uint64, error) {
	f.times.RLock()
	defer f.times.RUnlock()
	info, err := os.Stat(f.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, missing(digest)
	}
	if err == nil && time.Since(info.ModTime()) > claimStep {
		err = os.Chtimes(f.path(digest), time.Time{}, time.Now())
	}
	if err != nil {
		return 0, named(digest, err)
	}
	return uint64(info.Size()), nil //nolint:gosec // not negative
}

func (f *files) list(ctx context.Context, each func(Entry) error) error {
	blobs := &lister{ctx: ctx, list: f.bucket.List(&blob.ListOptions{Prefix: keyPrefix})}
	for {
		e, err := blobs.next()
		if err != nil || e == nil {
			return err
		}
		if err := each(*e); err != nil {
			return err
		}
	}
}

func (f *files) remove(_ context.Context, digest string, before time.Time) (bool, error) {
	f.times.Lock()
	defer f.times.Unlock()
	info, err := os.Stat(f.path(digest))
	if err == nil && info.ModTime().Before(before) {
		err = os.Remove(f.path(digest))
	} else if err == nil {
		return false, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, named(digest, err)
	}
	return true, nil
}
