package erofs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// opaque marks, in the header of a directory, that what the image below has under its name doesn't show through.
const opaque = "SCHILY.xattr.trusted.overlay.opaque"

// LayerParams says what Layer puts together and where it puts it.
type LayerParams struct {
	// Base is the file of the image below and Manifest what that is made of. Of the file, the metadata alone is read.
	Base     io.ReaderAt
	Manifest *cas.Manifest
	// Upper calls take with the entries of a tar of what differs from the image, folders before what is in them: as overlay file systems have
	// it, a character device 0:0 for what is removed, and an attribute at directories that hide what is below them. An error of take ends it.
	Upper func(ctx context.Context, take Take) error
	// Leave are absolute paths that Upper has but that are not part of it, such as places of mounts.
	Leave []string
	// Root is the absolute path of the folder that becomes the image's root; links are followed. Empty: the root.
	Root string
	// MaxBytes bounds the contents of Upper; 0: MaxSize.
	MaxBytes int64
	// Dir is a folder for a file as large as Upper, which is gone when Layer returns.
	Dir string
	// Sink takes the chunks that are new and the manifest.
	Sink cas.Sink
	// Keep claims those chunks of the image below that are part of the new one.
	Keep func(ctx context.Context, chunks []cas.Chunk) error
}

// Take takes an entry of a tar and reads its content.
type Take func(h *tar.Header, content io.Reader) error

// Entries returns what calls take with the entries of a tar stream.
func Entries(r io.Reader) func(ctx context.Context, take Take) error {
	return func(ctx context.Context, take Take) error { return entries(ctx, r, take) }
}

// Layer makes an image of another one and of what differs from it, and stores it. Chunks of the image below are taken over as they are, without
// being read, as long as any file is in them; what is in them besides is no longer found. What is new comes after them, in the order of its
// paths, so that the same image and layer give the same bytes. Errors: fault.Invalid for a tar that makes no file system, fault.NotFound if
// there is no folder Root, fault.Exhausted where it is too large, fault.DataLoss for a file that is no image of ours.
func Layer(ctx context.Context, p LayerParams) (done *cas.Written, err error) {
	root, l, err := load(p.Base, p.Manifest)
	if err != nil {
		return nil, err
	}
	var files [2]*os.File // contents in the order of their arrival, and metadata
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for i := range files {
		if files[i], err = nameless(p.Dir); err != nil {
			return nil, err
		}
	}
	m, err := newImage(files[0], nil)
	if err != nil {
		return nil, fmt.Errorf("image file: %w", err)
	}
	m.root, m.names = root, l.names
	if err := m.readUpper(ctx, p); err != nil {
		return nil, err
	}
	if m.root, err = m.folder(p.Root); err != nil {
		return nil, err
	}
	return m.storeOn(ctx, p, files[1])
}

// nameless makes a file of which nothing is left however the process ends.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return nil, fmt.Errorf("image file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("image file: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// readUpper changes the tree by a layer and writes the contents of its files.
func (m *image) readUpper(ctx context.Context, p LayerParams) error {
	u := upper{image: m, leave: p.Leave, most: p.MaxBytes, gone: map[string]bool{}}
	if u.most <= 0 {
		u.most = MaxSize
	}
	u.left = u.most
	if err := p.Upper(ctx, u.take); err != nil {
		return err
	}
	return m.w.Flush()
}

// upper is a layer that is being read.
type upper struct {
	*image
	leave      []string
	most, left int64           // bytes of contents
	gone       map[string]bool // what is removed: the same may have further names, which are links to it
}

// take changes the tree by an entry.
func (u *upper) take(h *tar.Header, content io.Reader) error {
	name := path.Clean("/" + h.Name)
	if slices.ContainsFunc(u.leave, func(l string) bool { return name == l || strings.HasPrefix(name, strings.TrimSuffix(l, "/")+"/") }) {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if h.Size < 0 || h.Size > u.left {
			return fault.New(fault.Exhausted, "what was written since the image is larger than %d MiB", u.most>>20)
		}
		u.left -= h.Size
	case tar.TypeChar, tar.TypeLink:
		whiteout := h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0
		if whiteout || h.Typeflag == tar.TypeLink && u.gone[path.Clean("/"+h.Linkname)] {
			u.gone[name] = true
			return errors.Join(u.remove(name), u.named(name, ""))
		}
	case tar.TypeDir:
		if h.PAXRecords[opaque] == "y" && name != "/" {
			if err := u.remove(name); err != nil {
				return err
			}
		}
	}
	return u.entry(h, content)
}

// remove takes a name out of the tree, if it is there.
func (m *image) remove(name string) error {
	if len(name) > maxPath {
		return fault.New(fault.Invalid, "path is longer than %d bytes", maxPath)
	}
	dir, err := m.dir(path.Dir(name))
	if err != nil {
		return err
	}
	delete(dir.children, path.Base(name))
	return nil
}

// maxLinks is how many links a path may lead over, as in Linux.
const maxLinks = 40

// folder finds the folder that becomes the root.
func (m *image) folder(name string) (*node, error) {
	none := fault.New(fault.NotFound, "directory %.200q: there is none of that name", name)
	rest, links := splitPath(name), 0
	var above []*node // of n
	n := m.root
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			if len(above) > 0 {
				n, above = above[len(above)-1], above[:len(above)-1]
			}
			continue
		}
		c := n.children[part]
		switch {
		case c == nil:
			return nil, none
		case c.mode&typeMask == typeDir:
			n, above = c, append(above, n)
		case c.mode&typeMask == typeSymlink && links < maxLinks && len(rest) < maxPath:
			if links++; strings.HasPrefix(c.target, "/") {
				n, above = m.root, nil
			}
			rest = append(splitPath(c.target), rest...)
		default:
			return nil, none
		}
	}
	return n, nil
}

// splitPath returns the parts of a path that say something.
func splitPath(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(part string) bool { return part == "" || part == "." })
}

// storeOn gives all contents their places and stores what is new.
func (m *image) storeOn(ctx context.Context, p LayerParams, meta *os.File) (*cas.Written, error) {
	m.order = m.root.collect(nil)
	kept, err := m.keep(p.Manifest)
	if err != nil {
		return nil, err
	}
	src := &layout{spool: m.out, meta: meta}
	m.place(src)
	m.out, m.unseen = meta, 0
	m.w.Reset(meta)
	if src.super, err = m.describe(); err != nil {
		return nil, fmt.Errorf("image file: %w", err)
	}
	src.metaAt = int64(m.data) * blockSize //nolint:gosec // at most MaxSize
	if p.Keep != nil && len(kept) > 0 {
		if err := p.Keep(ctx, kept); err != nil {
			return nil, fmt.Errorf("image: %w", err)
		}
	}
	w := cas.NewWriter(ctx, p.Sink, src)
	defer w.Abort()
	w.Ready(w.Reserve(blockSize))
	for _, c := range kept {
		w.Keep(c)
	}
	m.cuts.End()
	m.cuts.Whole((m.blocks - m.data) * blockSize)
	for _, size := range m.cuts.Ended() {
		w.Ready(w.Reserve(size))
	}
	done, err := w.Finish(ctx, m.local())
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return done, nil
}

// keep chooses the chunks of the image below that have files of this one, and gives those files their places among them.
func (m *image) keep(below *cas.Manifest) ([]cas.Chunk, error) {
	live := make([]bool, len(below.Chunks))
	for _, n := range m.order {
		if !n.hasContent() || !n.lower {
			continue
		}
		first, _ := below.At(uint64(n.block) * blockSize)
		last, _ := below.At((uint64(n.block)+n.blocks())*blockSize - 1)
		for i := first; i <= last; i++ {
			live[i] = true
		}
	}
	var kept []cas.Chunk
	moved := make([]uint64, len(below.Chunks)) // how much nearer to the beginning a chunk is, in bytes
	at := uint64(blockSize)
	for i, c := range below.Chunks {
		if !live[i] {
			continue
		}
		if i == 0 || below.Start(i)%blockSize != 0 {
			return nil, damaged("contents in another's chunk")
		}
		moved[i] = below.Start(i) - at
		at += uint64(c.Size)
		kept = append(kept, c)
	}
	for _, n := range m.order {
		if n.hasContent() && n.lower {
			i, _ := below.At(uint64(n.block) * blockSize)
			n.block -= uint32(moved[i] / blockSize) //nolint:gosec // it was larger
		}
	}
	m.blocks = at / blockSize
	return kept, nil
}

// place puts the new contents behind those of the image below.
func (m *image) place(src *layout) {
	m.cuts = cas.Cutter{}
	for _, n := range m.order {
		if !n.hasContent() || n.lower {
			continue
		}
		size := n.blocks() * blockSize
		src.parts = append(src.parts, part{at: int64(m.blocks) * blockSize, from: int64(n.block) * blockSize, size: int64(size)}) //nolint:gosec // at most MaxSize
		m.cuts.Part(size, n.mark)
		n.block = uint32(m.blocks) //nolint:gosec // fill kept the count within 32 bits
		m.blocks += n.blocks()
	}
}

// layout reads an image that is in pieces: new contents in a spool, metadata in a file of its own. The contents of the image below are not in it.
type layout struct {
	super  []byte
	spool  io.ReaderAt
	parts  []part // in the order of their places
	meta   io.ReaderAt
	metaAt int64
}

type part struct{ at, from, size int64 }

var _ io.ReaderAt = (*layout)(nil)

// ReadAt implements io.ReaderAt.
func (l *layout) ReadAt(b []byte, at int64) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		switch here := at + int64(n); {
		case here < blockSize:
			k = copy(b[n:], l.super[here:])
		case here >= l.metaAt:
			k, err = l.meta.ReadAt(b[n:], here-l.metaAt)
		default:
			i := sort.Search(len(l.parts), func(i int) bool { return l.parts[i].at+l.parts[i].size > here })
			if i == len(l.parts) || l.parts[i].at > here {
				return n, fmt.Errorf("image: the byte at %d is in no part", here)
			}
			part := l.parts[i]
			k, err = l.spool.ReadAt(b[n:][:min(int64(len(b)-n), part.at+part.size-here)], part.from+here-part.at)
		}
		n += k
	}
	return n, err
}
