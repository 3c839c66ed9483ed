package erofs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// FromTar writes the file system in a tar stream to out, an empty file that can be written anywhere. It reads r to its end, or to ctx's.
// Names that come twice count as the last says. Errors: fault.Invalid for a tar that makes no file system, fault.Exhausted for one that is too
// large.
func FromTar(ctx context.Context, r io.Reader, out *os.File) error {
	_, err := fromTar(ctx, r, out, nil)
	return err
}

func fromTar(ctx context.Context, r io.Reader, out *os.File, store *cas.Writer) (*image, error) {
	m, err := newImage(out, store)
	if err != nil {
		return nil, fmt.Errorf("image file: %w", err)
	}
	if err := m.read(ctx, r); err != nil {
		return nil, err
	}
	if err := m.finish(); err != nil {
		return nil, fmt.Errorf("image file: %w", err)
	}
	return m, nil
}

// read takes all entries of a tar.
func (m *image) read(ctx context.Context, r io.Reader) error {
	return entries(ctx, r, m.entry)
}

// entries calls take with all entries of a tar, and reads it to its end.
func entries(ctx context.Context, r io.Reader, take Take) error {
	src := tar.NewReader(r)
	for ctx.Err() == nil {
		h, err := src.Next()
		if errors.Is(err, io.EOF) {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return fmt.Errorf("image tar: %w", err)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("image tar: %w", err)
		}
		if err := take(h, src); err != nil {
			return fmt.Errorf("image tar: %.200q: %w", h.Name, err)
		}
	}
	return context.Cause(ctx)
}

func (m *image) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if len(h.Name) > maxPath || len(h.Linkname) > maxPath {
		return fault.New(fault.Invalid, "path is longer than %d bytes", maxPath)
	}
	name := path.Clean("/" + h.Name)
	if name == "/" {
		if h.Typeflag == tar.TypeDir {
			m.root.describe(h)
		}
		return nil
	}
	dir, err := m.dir(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if len(base) > maxNameLength {
		return fault.New(fault.Invalid, "name is longer than %d bytes", maxNameLength)
	}
	if old := dir.children[base]; old != nil && old.mode&typeMask == typeDir && h.Typeflag == tar.TypeDir {
		old.describe(h)
		return nil
	}
	n, err := m.node(h, content)
	if err != nil {
		return err
	}
	dir.children[base] = n
	return m.named(base, n.target)
}

// node makes the node of an entry; for a hard link it is the node that the link means.
func (m *image) node(h *tar.Header, content io.Reader) (*node, error) {
	n := &node{}
	switch h.Typeflag {
	case tar.TypeReg:
		n.mode, n.size = typeRegular, uint64(h.Size) //nolint:gosec // archive/tar refuses negative sizes
		var err error
		if n.block, n.mark, err = m.add(content, h.Size); err != nil {
			return nil, err
		}
	case tar.TypeLink:
		return m.find(h.Linkname)
	case tar.TypeDir:
		n = newDir()
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxSymlinkLength {
			return nil, fault.New(fault.Invalid, "symbolic link's target has %d bytes, want 1 to %d", len(h.Linkname), maxSymlinkLength)
		}
		n.mode, n.target = typeSymlink, h.Linkname
	case tar.TypeChar:
		n.mode, n.rdev = typeChar, device(h.Devmajor, h.Devminor)
	case tar.TypeBlock:
		n.mode, n.rdev = typeBlock, device(h.Devmajor, h.Devminor)
	case tar.TypeFifo:
		n.mode = typeFifo
	default:
		return nil, fault.New(fault.Invalid, "entries of type %q are not known", h.Typeflag)
	}
	n.describe(h)
	return n, nil
}

// describe takes permissions, owner and time from a header.
func (n *node) describe(h *tar.Header) {
	n.mode = n.mode&typeMask | uint16(h.Mode&0o7777) //nolint:gosec // twelve bits
	n.uid, n.gid = uint32(h.Uid), uint32(h.Gid)      //nolint:gosec // the kernel's own width
	n.mtime = uint64(max(h.ModTime.Unix(), 0))       //nolint:gosec // not negative
}

// dir returns a directory, made with its parents where no entry did.
func (m *image) dir(name string) (*node, error) {
	n := m.root
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		c := n.children[part]
		if c == nil {
			c = newDir()
			n.children[part] = c
			if err := m.named(part, ""); err != nil {
				return nil, err
			}
		}
		if c.mode&typeMask != typeDir {
			return nil, fault.New(fault.Invalid, "parent %q is not a directory", part)
		}
		n = c
	}
	return n, nil
}

// find returns the node that a hard link means.
func (m *image) find(link string) (*node, error) {
	name := path.Clean("/" + link)
	dir, err := m.dir(path.Dir(name))
	if err != nil {
		return nil, err
	}
	n := dir.children[path.Base(name)]
	if n == nil || n.mode&typeMask == typeDir {
		return nil, fault.New(fault.Invalid, "hard link to %q, which is no file before it", link)
	}
	return n, nil
}
