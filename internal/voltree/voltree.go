// Package voltree is the form in which a version of a volume is kept: a tree of folders over content-addressed blobs, which never changes.
//
// A folder is a page, a blob with its entries in the order of their names. One with very many entries is several pages and an index of them,
// cut where the names say so, so that a change rewrites a page or two. An entry of a folder names the folder's blob, and so on up to the
// root, a blob with the root folder's own entry: its digest names all that is in the version. A change rewrites the folders from there to
// the root, and shares the rest (Apply).
//
// The bytes of a file are nowhere (it is empty), in a blob beside those of other small files, or in chunks that a manifest of internal/cas
// lists. What is read is checked: whoever wrote it may mean harm.
package voltree

import (
	"strings"
	"unicode/utf8"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Bounds of trees.
const (
	// MaxName is the length of the longest name in bytes.
	MaxName = 255
	// MaxPath is the length of the longest path in bytes.
	MaxPath = 4096
	// MaxTarget is the length in bytes of the longest target of a symbolic link.
	MaxTarget = 4095
	// MaxDepth is how many folders may be in one another.
	MaxDepth = 1024
	// MaxPack is the size in bytes of the largest blob that has several files.
	MaxPack = 4 << 20
	// ChunkSize is the size of a file's chunks in bytes, but for the last: a part that is written anew changes the chunks it touches alone.
	ChunkSize = 4 << 20
	// MaxFile is the size of the largest file in bytes.
	MaxFile = 1 << 40
	// MaxEntries is how many files and folders a version may have.
	MaxEntries = 100_000_000
	// MaxBytes is how many bytes the files of a version may have together.
	MaxBytes = 1 << 60
)

// Type says what an entry is. The numbers are those of skerry.v1.VolumeEntryType, and of what is stored.
type Type uint8

// The types.
const (
	File    Type = 1
	Folder  Type = 2
	Symlink Type = 3
	FIFO    Type = 4
	Socket  Type = 5
)

// Content says where the bytes of a file are; of an empty file it is the zero value.
type Content struct {
	// Digest names a blob that has them at Offset or, with Chunked, a manifest of chunks of ChunkSize.
	Digest  string
	Offset  uint64
	Chunked bool
}

// Totals count what is in a folder, and in the folders in it.
type Totals struct {
	// Files are entries that are no folders.
	Files, Folders uint64
	// Bytes are those of all files, of hard links each time.
	Bytes uint64
	// Links are files that have an inode number.
	Links uint64
	// Depth is how many folders are in one another.
	Depth uint32
}

// Entry is something in a folder, or the root.
type Entry struct {
	// Name is its name in the folder; of the root it is empty.
	Name string
	Type Type
	// Mode are the permission bits with set-user-id, set-group-id and sticky: 0 to 07777.
	Mode     uint32
	UID, GID uint32
	// Modified is when the content was last changed, in nanoseconds since 1970.
	Modified int64
	// Inode is not 0 for hard links: entries of a version with the same number and the same content are one file. Who links files chooses
	// it at random.
	Inode uint64

	// Size in bytes and Content are a file's.
	Size    uint64
	Content Content
	// Target is a symbolic link's.
	Target string
	// Pages is the digest of a folder's page or index, Totals is what is in it.
	Pages  string
	Totals Totals
}

// CheckName returns a fault.Invalid unless name may be that of an entry.
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name):
		return fault.New(fault.Invalid, "name %.80q: is no name of a file", name)
	case len(name) > MaxName:
		return fault.New(fault.Invalid, "name %.80q: has %d bytes, at most %d may be", name, len(name), MaxName)
	}
	return nil
}

// Split returns the names of which a path is made; none for the root ("" and "/"). Errors: fault.Invalid for one with "..", or a name that
// is none.
func Split(path string) ([]string, error) {
	if len(path) > MaxPath {
		return nil, fault.New(fault.Invalid, "path %.80q: has %d bytes, at most %d may be", path, len(path), MaxPath)
	}
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if err := CheckName(name); err != nil {
			return nil, fault.New(fault.Invalid, "path %.200q: %w", path, err)
		}
		names = append(names, name)
	}
	if len(names) > MaxDepth {
		return nil, fault.New(fault.Invalid, "path %.80q: has %d folders, at most %d may be in one another", path, len(names), MaxDepth)
	}
	return names, nil
}

// Check returns a fault.Invalid unless the entry, whose name is not looked at, may be in a folder.
func (e *Entry) Check() error {
	if e.Mode > 0o7777 {
		return fault.New(fault.Invalid, "mode %o: only permission bits are kept", e.Mode)
	}
	if e.Type != File && (e.Size != 0 || e.Content != Content{} || e.Inode != 0) {
		return fault.New(fault.Invalid, "only files have bytes and hard links")
	}
	if (e.Type == Symlink) != (e.Target != "") {
		return fault.New(fault.Invalid, "symbolic links, and nothing else, have a target")
	}
	if e.Type != Folder && (e.Pages != "" || e.Totals != Totals{}) {
		return fault.New(fault.Invalid, "only folders have entries")
	}
	switch e.Type {
	case File:
		return e.checkContent()
	case Symlink:
		if len(e.Target) > MaxTarget || strings.ContainsRune(e.Target, 0) || !utf8.ValidString(e.Target) {
			return fault.New(fault.Invalid, "target %.80q: want text of at most %d bytes", e.Target, MaxTarget)
		}
	case Folder:
		if err := ident.CheckDigest(e.Pages); err != nil {
			return err
		}
		return e.Totals.check()
	case FIFO, Socket:
	default:
		return fault.New(fault.Invalid, "type %d is not known", e.Type)
	}
	return nil
}

func (e *Entry) checkContent() error {
	c := e.Content
	switch {
	case e.Size > MaxFile:
		return fault.New(fault.Exhausted, "%d bytes are too many for a file; at most %d may be", e.Size, uint64(MaxFile))
	case e.Size == 0:
		if c != (Content{}) {
			return fault.New(fault.Invalid, "an empty file has no content")
		}
		return nil
	case c.Chunked && c.Offset != 0:
		return fault.New(fault.Invalid, "a file in chunks has no offset")
	case !c.Chunked && (c.Offset > MaxPack || e.Size > MaxPack-c.Offset):
		return fault.New(fault.Invalid, "%d bytes at %d are not within %d; use chunks", e.Size, c.Offset, MaxPack)
	}
	return ident.CheckDigest(c.Digest)
}

// CheckManifest returns a fault.Invalid unless a manifest is that of a volume's file: chunks of ChunkSize but for the last.
func CheckManifest(m *cas.Manifest) error {
	if len(m.Local) > 0 {
		return fault.New(fault.Invalid, "a volume's file has no local ranges")
	}
	for i, c := range m.Chunks {
		if c.Size != ChunkSize && i != len(m.Chunks)-1 {
			return fault.New(fault.Invalid, "chunk %d has %d bytes, want %d", i, c.Size, ChunkSize)
		}
	}
	return nil
}

func (t Totals) check() error {
	if t.Depth > MaxDepth {
		return fault.New(fault.Exhausted, "%d folders are in one another, at most %d may be", t.Depth, MaxDepth)
	}
	// Each is compared by itself as well, so that no sum overflows.
	if t.Files > MaxEntries || t.Folders > MaxEntries || t.Files+t.Folders > MaxEntries || t.Links > t.Files {
		return fault.New(fault.Exhausted, "%d files and %d folders, at most %d may be", t.Files, t.Folders, MaxEntries)
	}
	if t.Bytes > MaxBytes {
		return fault.New(fault.Exhausted, "%d bytes, at most %d may be", t.Bytes, uint64(MaxBytes))
	}
	return nil
}

// Plus adds what an entry of a folder counts.
func (t Totals) Plus(e *Entry) Totals {
	switch e.Type {
	case Folder:
		t.Folders++
		in := e.Totals
		in.Depth++
		return t.join(in)
	case File:
		t.Bytes += e.Size
		if e.Inode != 0 {
			t.Links++
		}
	}
	t.Files++
	return t
}

func (t Totals) join(o Totals) Totals {
	return Totals{
		Files: t.Files + o.Files, Folders: t.Folders + o.Folders, Bytes: t.Bytes + o.Bytes, Links: t.Links + o.Links,
		Depth: max(t.Depth, o.Depth),
	}
}
