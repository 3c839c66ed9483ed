package volume

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// maxLinks is how many symbolic links lead to a file at most.
const maxLinks = 40

// Place is a path in a version of a volume.
type Place struct {
	VolumeID string
	// Version 0 is the newest.
	Version uint64
	Path    string
}

// tree returns a version and its root.
func (s *Service) tree(ctx context.Context, p Place) (*Version, voltree.Entry, error) {
	if _, err := s.objects.Find(ctx, p.VolumeID); err != nil {
		return nil, voltree.Entry{}, err
	}
	v, err := s.d.Versions.Version(ctx, p.VolumeID, p.Version)
	if err != nil {
		return nil, voltree.Entry{}, err
	}
	root, err := s.reader.Root(ctx, v.Root)
	return v, root, err
}

// Files hands over what is at a path, with paths from the volume's root, in their order: the entries of a folder and, with recursive, of the
// folders in it, or the one thing that is no folder. Errors: fault.Invalid, fault.NotFound, fault.DataLoss.
func (s *Service) Files(ctx context.Context, p Place, recursive bool, each func(path string, e voltree.Entry) error) error {
	_, root, err := s.tree(ctx, p)
	if err != nil {
		return err
	}
	names, at, err := s.resolve(ctx, root, p)
	if err != nil {
		return err
	}
	where := strings.Join(names, "/")
	if at.Type != voltree.Folder {
		return each(where, at)
	}
	return s.list(ctx, where, at, recursive, each)
}

func (s *Service) list(ctx context.Context, where string, folder voltree.Entry, recursive bool, each func(string, voltree.Entry) error) error {
	for e, err := range s.reader.Entries(ctx, folder, "") {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		at := path.Join(where, e.Name)
		if err := each(at, e); err != nil {
			return err
		}
		if recursive && e.Type == voltree.Folder {
			if err := s.list(ctx, at, e, true, each); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve returns what is at a path, behind symbolic links within the volume, and where that is. Errors: fault.Invalid, fault.NotFound.
func (s *Service) resolve(ctx context.Context, root voltree.Entry, p Place) ([]string, voltree.Entry, error) {
	rest, err := voltree.Split(p.Path)
	if err != nil {
		return nil, root, err
	}
	none := fault.New(fault.NotFound, "volume %q: %q: there is none", p.VolumeID, p.Path)
	var done []string
	way := []voltree.Entry{root} // folders of done, and what is at its end
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			if len(done) == 0 {
				return nil, root, none // it leads out of the volume
			}
			done, way = done[:len(done)-1], way[:len(way)-1]
			continue
		}
		at := way[len(way)-1]
		if at.Type != voltree.Folder {
			return nil, root, none
		}
		e, err := s.reader.Lookup(ctx, at, name)
		if fault.KindOf(err) == fault.NotFound {
			return nil, root, none
		}
		if err != nil {
			return nil, root, err
		}
		if e.Type != voltree.Symlink {
			done, way = append(done, name), append(way, e)
			continue
		}
		if links++; links > maxLinks || path.IsAbs(e.Target) {
			return nil, root, fault.New(fault.NotFound, "volume %q: %q: the symbolic link %q leads to %.200q, which is not in the volume",
				p.VolumeID, p.Path, path.Join(append(slices.Clone(done), name)...), e.Target)
		}
		rest = append(components(e.Target), rest...)
	}
	return done, way[len(way)-1], nil
}

// components are the names of a link's target, ".." among them.
func components(target string) (names []string) {
	for name := range strings.SplitSeq(target, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// File is a file of one version, to be read.
type File struct {
	Entry   voltree.Entry
	Version uint64
	s       *Service
}

// File returns a file; symbolic links within the volume are followed. Errors: fault.Invalid, fault.NotFound; fault.Precondition where it is
// something else.
func (s *Service) File(ctx context.Context, p Place) (*File, error) {
	v, root, err := s.tree(ctx, p)
	if err != nil {
		return nil, err
	}
	_, e, err := s.resolve(ctx, root, p)
	if err != nil {
		return nil, err
	}
	if e.Type != voltree.File {
		return nil, fault.New(fault.Precondition, "volume %q: %q is no file", p.VolumeID, p.Path)
	}
	return &File{Entry: e, Version: v.Number, s: s}, nil
}

// Write writes length bytes from an offset, or as many as there are, to w; all was verified. Errors: fault.DataLoss, and those of w.
func (f *File) Write(ctx context.Context, w io.Writer, offset, length uint64) error {
	if offset >= f.Entry.Size || length == 0 {
		return nil
	}
	end := offset + min(length, f.Entry.Size-offset)
	c := f.Entry.Content
	if !c.Chunked {
		pack, err := f.s.pack(ctx, c.Digest)
		if err != nil {
			return f.lost(err)
		}
		if uint64(len(pack)) < c.Offset+end {
			return fault.New(fault.DataLoss, "file %q: its blob %q is too short", f.Entry.Name, c.Digest)
		}
		_, err = w.Write(pack[c.Offset+offset : c.Offset+end])
		return err
	}
	m, err := f.s.manifest(ctx, c.Digest)
	if err != nil {
		return f.lost(err)
	}
	if m.Size != f.Entry.Size {
		return fault.New(fault.DataLoss, "file %q: its manifest %q is of %d bytes", f.Entry.Name, c.Digest, m.Size)
	}
	for offset < end {
		i, start := m.At(offset)
		data, err := f.s.d.Blobs.ReadAll(ctx, m.Chunks[i].Digest, voltree.ChunkSize)
		if err != nil {
			return f.lost(err)
		}
		if len(data) != int(m.Chunks[i].Size) {
			return fault.New(fault.DataLoss, "file %q: chunk %q has %d bytes", f.Entry.Name, m.Chunks[i].Digest, len(data))
		}
		upTo := min(end, start+uint64(len(data)))
		if _, err := w.Write(data[offset-start : upTo-start]); err != nil {
			return err
		}
		offset = upTo
	}
	return nil
}

// lost makes a content that is not there a loss: it is not the file that is missing.
func (f *File) lost(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return fault.New(fault.DataLoss, "file %q: %s", f.Entry.Name, err.Error())
	}
	return fmt.Errorf("file %q: %w", f.Entry.Name, err)
}
