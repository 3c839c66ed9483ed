package voltree

import (
	"encoding/binary"
	"encoding/hex"
	"math"

	"github.com/skerry-dev/skerry/internal/fault"
)

// DecodePage reads what EncodePage wrote. Errors: fault.DataLoss for anything else.
func DecodePage(data []byte) ([]Entry, error) {
	p := parser{b: data}
	n := p.header(kindPage)
	entries := make([]Entry, 0, min(n, 8192))
	last := ""
	for range n {
		e := p.entry()
		if p.failed {
			break
		}
		if err := CheckName(e.Name); err != nil {
			return nil, fault.New(fault.DataLoss, "folder: %w", err)
		}
		if e.Name <= last {
			return nil, fault.New(fault.DataLoss, "folder: %q follows %q", e.Name, last)
		}
		if err := e.Check(); err != nil {
			return nil, fault.New(fault.DataLoss, "folder: %q: %w", e.Name, err)
		}
		last = e.Name
		entries = append(entries, e)
	}
	return entries, p.end("folder")
}

// DecodeRoot reads what EncodeRoot wrote. Errors: fault.DataLoss for anything else.
func DecodeRoot(data []byte) (Entry, error) {
	p := parser{b: data}
	n := p.header(kindRoot)
	e := p.entry()
	if err := p.end("root"); err != nil {
		return Entry{}, err
	}
	if n != 1 || e.Type != Folder || e.Name != "" {
		return Entry{}, fault.New(fault.DataLoss, "root: is no folder without a name")
	}
	if err := e.Check(); err != nil {
		return Entry{}, fault.New(fault.DataLoss, "root: %w", err)
	}
	return e, nil
}

// DecodeIndex reads what EncodeIndex wrote. Errors: fault.DataLoss for anything else.
func DecodeIndex(data []byte) ([]Row, error) {
	p := parser{b: data}
	n := p.header(kindIndex)
	rows := make([]Row, 0, min(n, 1024))
	var sum Totals
	for i := range n {
		r := Row{First: p.text(), Digest: p.digest(), Count: p.uint32(), Totals: p.totals()}
		if p.failed {
			break
		}
		if err := CheckName(r.First); err != nil {
			return nil, fault.New(fault.DataLoss, "index: %w", err)
		}
		if i > 0 && r.First <= rows[i-1].First || r.Count == 0 {
			return nil, fault.New(fault.DataLoss, "index: page %d is out of order or empty", i)
		}
		// The sum is checked after each, so that it can't overflow.
		if sum = sum.join(r.Totals); r.Totals.check() != nil || sum.check() != nil {
			return nil, fault.New(fault.DataLoss, "index: page %d counts too much", i)
		}
		rows = append(rows, r)
	}
	return rows, p.end("index")
}

// isIndex says whether a blob begins as an index does.
func isIndex(data []byte) bool {
	return len(data) > len(magic) && data[len(magic)] == kindIndex
}

// parser takes fields off the front of b; after the first that is not there, failed is set and all are zero.
type parser struct {
	b      []byte
	failed bool
}

func (p *parser) fail() { p.failed, p.b = true, nil }

func (p *parser) end(noun string) error {
	if p.failed || len(p.b) != 0 {
		return fault.New(fault.DataLoss, "%s: malformed bytes; the blob is damaged or of a newer release", noun)
	}
	return nil
}

// header reads the magic and how many follow. As each of those has a byte or more, a count beyond the bytes is a failure, and costs nothing.
func (p *parser) header(kind byte) uint64 {
	if len(p.b) <= len(magic) || string(p.b[:len(magic)]) != magic || p.b[len(magic)] != kind {
		p.fail()
		return 0
	}
	p.b = p.b[len(magic)+1:]
	n := p.uvarint()
	if n > uint64(len(p.b)) {
		p.fail()
		return 0
	}
	return n
}

func (p *parser) entry() Entry {
	e := Entry{Name: p.text(), Type: Type(p.byte())}
	e.Mode, e.UID, e.GID = p.uint32(), p.uint32(), p.uint32()
	e.Modified = p.varint()
	e.Inode = p.uvarint()
	switch e.Type {
	case File:
		if e.Size = p.uvarint(); e.Size == 0 {
			break
		}
		switch p.byte() {
		case inChunks:
			e.Content = Content{Digest: p.digest(), Chunked: true}
		case inPack:
			e.Content = Content{Digest: p.digest(), Offset: p.uvarint()}
		default:
			p.fail()
		}
	case Symlink:
		e.Target = p.text()
	case Folder:
		e.Pages, e.Totals = p.digest(), p.totals()
	}
	return e
}

func (p *parser) totals() Totals {
	return Totals{Files: p.uvarint(), Folders: p.uvarint(), Bytes: p.uvarint(), Links: p.uvarint(), Depth: p.uint32()}
}

func (p *parser) byte() byte {
	if len(p.b) == 0 {
		p.fail()
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.fail()
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.b)
	if n <= 0 {
		p.fail()
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *parser) uint32() uint32 {
	v := p.uvarint()
	if v > math.MaxUint32 {
		p.fail()
		return 0
	}
	return uint32(v)
}

func (p *parser) take(n uint64) []byte {
	if n > uint64(len(p.b)) {
		p.fail()
		return nil
	}
	t := p.b[:n]
	p.b = p.b[n:]
	return t
}

func (p *parser) text() string { return string(p.take(p.uvarint())) }

func (p *parser) digest() string { return digestPrefix + hex.EncodeToString(p.take(32)) }
