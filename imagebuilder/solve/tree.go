package solve

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/llb"
)

// tree gives BuildKit the files of a tree straight from the blob store. Owners, times and the permissions of folders are the same
// everywhere, so that the same tree is the same layer.
type tree struct {
	files map[string]build.File
	dirs  map[string][]string // names in each folder; "" is the root
	blobs build.Blobs
}

var _ fsutil.FS = (*tree)(nil)

func newTree(files []build.File, blobs build.Blobs) *tree {
	t := &tree{files: map[string]build.File{}, dirs: map[string][]string{"": nil}, blobs: blobs}
	for _, f := range files {
		name := path.Clean(f.Path)
		if name == "." {
			name = llb.LocalFile
		}
		t.files[name] = f
		t.link(name)
	}
	for dir, names := range t.dirs {
		t.dirs[dir] = slices.Compact(slices.Sorted(slices.Values(names)))
	}
	return t
}

// link enters a name into its folder, and the folder into its own.
func (t *tree) link(name string) {
	dir := strings.TrimSuffix(path.Dir(name), ".")
	_, known := t.dirs[dir]
	t.dirs[dir] = append(t.dirs[dir], path.Base(name))
	if !known {
		t.link(dir)
	}
}

// Walk visits all below target, parents first, names in order.
func (t *tree) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	err := t.walk(ctx, strings.Trim(path.Clean("/"+target), "/"), fn)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

func (t *tree) walk(ctx context.Context, dir string, fn fs.WalkDirFunc) error {
	for _, base := range t.dirs[dir] {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(dir, base)
		f, isFile := t.files[name]
		stat := &types.Stat{Path: name, Mode: uint32(os.ModeDir | 0o755)}
		if isFile {
			stat.Mode, stat.Size = f.Mode&0o777, int64(f.Blob.Size) //nolint:gosec // blobs are far smaller
		}
		err := fn(name, &fsutil.DirEntryInfo{Stat: stat}, nil)
		switch {
		case errors.Is(err, fs.SkipDir) && isFile:
			return nil
		case errors.Is(err, fs.SkipDir):
			continue
		case err != nil:
			return err
		}
		if isFile {
			continue
		}
		if err := t.walk(ctx, name, fn); err != nil {
			return err
		}
	}
	return nil
}

// Open returns a file's content. BuildKit takes a file that can't be opened for an empty one, so an error comes at the first read.
func (t *tree) Open(name string) (io.ReadCloser, error) {
	f, ok := t.files[strings.Trim(name, "/")]
	if !ok {
		return failing{&fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}}, nil
	}
	if r, err := t.blobs.Open(context.Background(), f.Blob); err == nil {
		return r, nil
	} else { //nolint:revive // the error is the file's content
		return failing{err}, nil
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
func (f failing) Close() error             { return nil }
