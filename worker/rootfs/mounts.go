package rootfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/cache"
	"github.com/skerry-dev/skerry/worker/container"
)

// group is mounts that overlap; root is the shortest of their targets.
type group struct {
	root   string
	mounts []placed
}

// placed is a mount with its place in the order.
type placed struct {
	order  int
	target string
	digest string
}

// Mounts returns where trees of files are on this host, merged where they overlap.
func (s *Store) Mounts(ctx context.Context, mounts []container.Mount) (binds []container.Bind, release func(), err error) {
	groups, err := overlapping(mounts)
	if err != nil {
		return nil, nil, err
	}
	var releases []func()
	release = func() {
		for _, r := range releases {
			r()
		}
	}
	for _, g := range groups {
		source, r, err := s.merged(ctx, g)
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("mount at %q: %w", g.root, err)
		}
		releases = append(releases, r)
		binds = append(binds, container.Bind{Source: source, Target: g.root})
	}
	return binds, release, nil
}

// overlapping divides mounts into groups of which no root is below another.
func overlapping(mounts []container.Mount) ([]*group, error) {
	var groups []*group
	for i, m := range mounts {
		if !path.IsAbs(m.RemotePath) || path.Clean(m.RemotePath) == "/" {
			return nil, fault.New(fault.Invalid, "mount at %q: want an absolute path below /", m.RemotePath)
		}
		g := &group{root: path.Clean(m.RemotePath)}
		g.mounts = []placed{{order: i, target: g.root, digest: m.TreeDigest}}
		var apart []*group
		for _, other := range groups {
			switch {
			case within(g.root, other.root):
				g.root = other.root
				g.mounts = append(other.mounts, g.mounts...)
			case within(other.root, g.root):
				g.mounts = append(other.mounts, g.mounts...)
			default:
				apart = append(apart, other)
			}
		}
		groups = append(apart, g)
	}
	for _, g := range groups {
		slices.SortFunc(g.mounts, func(a, b placed) int { return cmp.Compare(a.order, b.order) })
	}
	return groups, nil
}

// within tells whether p is root or below it.
func within(p, root string) bool { return p == root || strings.HasPrefix(p, root+"/") }

// name is the group's in the cache. Its digests are valid.
func (g *group) name() string {
	if len(g.mounts) == 1 {
		return key(g.mounts[0].digest)
	}
	hash := sha256.New()
	for _, m := range g.mounts {
		fmt.Fprintf(hash, "%q %s\n", strings.TrimPrefix(m.target, g.root), m.digest)
	}
	return "merged-" + hex.EncodeToString(hash.Sum(nil))
}

// merged returns one file or folder with the content of all mounts of a group.
func (s *Store) merged(ctx context.Context, g *group) (source string, release func(), err error) {
	if len(g.mounts) == 1 {
		return s.tree(ctx, g.mounts[0].digest)
	}
	return s.trees.Get(ctx, g.name(), func(tmp string) (uint64, error) {
		for _, m := range g.mounts {
			if err := s.lay(ctx, m.digest, filepath.Join(tmp, strings.TrimPrefix(m.target, g.root))); err != nil {
				return 0, err
			}
		}
		size, _, err := cache.Measure(tmp)
		return size, err
	})
}

// lay puts a tree over what is at target.
func (s *Store) lay(ctx context.Context, digest, target string) error {
	source, release, err := s.tree(ctx, digest)
	if err != nil {
		return err
	}
	defer release()
	return filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, p)
		if err != nil {
			return err
		}
		to := filepath.Join(target, rel)
		if d.IsDir() {
			return makeDirs(to)
		}
		if err := makeDirs(filepath.Dir(to)); err != nil {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		// The trees are ours and of one file system, and nobody writes to them.
		return os.Link(p, to)
	})
}

// makeDirs makes a folder and those above it, where files are in the way instead of them.
func makeDirs(dir string) error {
	info, err := os.Lstat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		if err := os.Remove(dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	if err := makeDirs(filepath.Dir(dir)); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o755) //nolint:gosec // read by every user of a container
}
