package voltree

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// The form of a blob: four bytes of magic and version, a byte that says what it is, how many of them follow as an unsigned varint, and
// those, each a sequence of varints and of texts with their lengths in front; digests are their 32 bytes.
const magic = "skv\x01"

// Kinds of blobs.
const (
	kindPage  = 'P'
	kindIndex = 'I'
	kindRoot  = 'R'
)

// MaxBlob is the size of the largest blob of a tree in bytes.
const MaxBlob = 8 << 20

// What a file's content is stored as.
const (
	inPack   = 1
	inChunks = 2
)

// Row is a page in a folder's index.
type Row struct {
	// First is the name of the first entry, Digest names the page, Count is how many entries it has, and Totals what they count.
	First  string
	Digest string
	Count  uint32
	Totals Totals
}

// EncodePage returns the blob of a page. Errors: fault.Invalid, fault.Exhausted for entries that can't be in one.
func EncodePage(entries []Entry) ([]byte, error) {
	b := header(kindPage, len(entries))
	last := ""
	for i := range entries {
		e := &entries[i]
		if err := CheckName(e.Name); err != nil {
			return nil, err
		}
		if e.Name <= last {
			return nil, fault.New(fault.Invalid, "name %q: follows %q", e.Name, last)
		}
		last = e.Name
		if err := e.Check(); err != nil {
			return nil, fault.New(fault.Invalid, "%q: %w", e.Name, err)
		}
		b = appendEntry(b, e)
	}
	return bounded(b)
}

// EncodeRoot returns the blob of a root, a folder without a name.
func EncodeRoot(e Entry) ([]byte, error) {
	if e.Type != Folder || e.Name != "" {
		return nil, fault.New(fault.Invalid, "root: is a folder without a name")
	}
	if err := e.Check(); err != nil {
		return nil, fault.New(fault.Invalid, "root: %w", err)
	}
	return appendEntry(header(kindRoot, 1), &e), nil
}

// EncodeIndex returns the blob of an index. Errors: fault.Exhausted for a folder with too many entries.
func EncodeIndex(rows []Row) ([]byte, error) {
	b := header(kindIndex, len(rows))
	for _, r := range rows {
		b = appendText(b, r.First)
		b = appendDigest(b, r.Digest)
		b = binary.AppendUvarint(b, uint64(r.Count))
		b = appendTotals(b, r.Totals)
	}
	return bounded(b)
}

func bounded(b []byte) ([]byte, error) {
	if len(b) > MaxBlob {
		return nil, fault.New(fault.Exhausted, "a folder has too many entries; put them in several")
	}
	return b, nil
}

func header(kind byte, n int) []byte {
	return binary.AppendUvarint(append([]byte(magic), kind), uint64(n)) //nolint:gosec // a length
}

func appendEntry(b []byte, e *Entry) []byte {
	b = append(appendText(b, e.Name), byte(e.Type))
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, uint64(e.UID))
	b = binary.AppendUvarint(b, uint64(e.GID))
	b = binary.AppendVarint(b, e.Modified)
	b = binary.AppendUvarint(b, e.Inode)
	switch e.Type {
	case File:
		b = binary.AppendUvarint(b, e.Size)
		switch {
		case e.Size == 0:
		case e.Content.Chunked:
			b = appendDigest(append(b, inChunks), e.Content.Digest)
		default:
			b = binary.AppendUvarint(appendDigest(append(b, inPack), e.Content.Digest), e.Content.Offset)
		}
	case Symlink:
		b = appendText(b, e.Target)
	case Folder:
		b = appendTotals(appendDigest(b, e.Pages), e.Totals)
	}
	return b
}

func appendTotals(b []byte, t Totals) []byte {
	for _, n := range []uint64{t.Files, t.Folders, t.Bytes, t.Links, uint64(t.Depth)} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendDigest appends the bytes of a digest that was checked.
func appendDigest(b []byte, digest string) []byte {
	b, err := hex.AppendDecode(b, []byte(strings.TrimPrefix(digest, digestPrefix)))
	if err != nil {
		panic(err) // CheckDigest has passed it
	}
	return b
}

const digestPrefix = "sha256:"
