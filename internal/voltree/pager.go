package voltree

import (
	"hash/fnv"
	"slices"

	"github.com/skerry-dev/skerry/internal/ident"
)

// A page ends behind a name whose hash says so, once it has some entries, and when it is full. So pages depend on the names around a cut
// alone, and a change leaves those before and behind it as they were.
const (
	minPage, maxPage = 256, 4096
	maxPageBytes     = 512 << 10
	cutMask          = 1<<10 - 1
)

func cuts(name string) bool {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	return h.Sum64()&cutMask == 0
}

// encodedEmpty is the page of an empty folder.
var (
	encodedEmpty = header(kindPage, 0)
	emptyPage    = ident.Digest(encodedEmpty)
)

// pager writes a folder.
type pager struct {
	e       *editor
	entries []Entry
	bytes   int
	rows    []Row
}

func (p *pager) add(entry Entry) error {
	p.entries = append(p.entries, entry)
	p.bytes += len(entry.Name) + len(entry.Target) + 100 // or fewer
	n := len(p.entries)
	if n >= minPage && cuts(entry.Name) || n >= maxPage || p.bytes >= maxPageBytes {
		return p.cut()
	}
	return nil
}

func (p *pager) cut() error {
	data, err := EncodePage(p.entries)
	if err != nil {
		return err
	}
	r, err := rowOf(p.entries, p.e.store(data))
	p.rows, p.entries, p.bytes = append(p.rows, r), p.entries[:0], 0
	return err
}

// rowOf describes a page that is not empty. Errors: fault.Exhausted.
func rowOf(entries []Entry, digest string) (Row, error) {
	r := Row{First: entries[0].Name, Digest: digest, Count: uint32(len(entries))} //nolint:gosec // at most maxPage
	for i := range entries {
		r.Totals = r.Totals.Plus(&entries[i])
		if err := r.Totals.check(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// finish returns the digest of the folder, and what is in it.
func (p *pager) finish() (digest string, t Totals, err error) {
	if len(p.entries) > 0 {
		if err := p.cut(); err != nil {
			return "", t, err
		}
	}
	for _, r := range p.rows {
		if t = t.join(r.Totals); t.check() != nil {
			return "", t, t.check()
		}
	}
	switch len(p.rows) {
	case 0:
		return p.e.store(encodedEmpty), t, nil
	case 1:
		return p.rows[0].Digest, t, nil
	}
	data, err := EncodeIndex(p.rows)
	if err != nil {
		return "", t, err
	}
	return p.e.store(data), t, nil
}

// flush writes a folder with its edits, which it then has no more.
func (e *editor) flush(n *node) (Entry, error) {
	names := make([]string, 0, len(n.edits))
	for name, d := range n.edits {
		names = append(names, name)
		if d.gone || !d.isFolder() {
			continue
		}
		if d.node == nil && d.entry.Pages != "" {
			continue
		}
		if d.node == nil {
			d.node = &node{attr: d.entry}
		}
		var err error
		if d.entry, err = e.flush(d.node); err != nil {
			return Entry{}, err
		}
	}
	if len(names) == 0 && n.attr.Pages != "" {
		return n.attr, nil
	}
	slices.Sort(names)
	p := &pager{e: e}
	err := e.merge(p, n, names)
	if err == nil {
		n.attr.Pages, n.attr.Totals, err = p.finish()
	}
	n.edits = nil
	return n.attr, err
}

// merge writes what a folder was, with its edits, whose names are sorted. Pages that have none are taken over as they are.
func (e *editor) merge(p *pager, n *node, names []string) error {
	rows, err := e.rows(n.attr.Pages)
	if err != nil {
		return err
	}
	for i, row := range rows {
		mine := len(names)
		if i+1 < len(rows) {
			mine, _ = slices.BinarySearch(names, rows[i+1].First)
		}
		if mine == 0 && len(p.entries) == 0 {
			p.rows = append(p.rows, row)
			continue
		}
		page, err := e.Reader.page(e.ctx, row)
		if err != nil {
			return err
		}
		for _, old := range page {
			for mine > 0 && names[0] < old.Name {
				if err := p.edit(n.edits[names[0]]); err != nil {
					return err
				}
				names, mine = names[1:], mine-1
			}
			if mine > 0 && names[0] == old.Name {
				continue // the edit comes next
			}
			if err := p.add(old); err != nil {
				return err
			}
		}
		for ; mine > 0; mine-- {
			if err := p.edit(n.edits[names[0]]); err != nil {
				return err
			}
			names = names[1:]
		}
	}
	for _, name := range names {
		if err := p.edit(n.edits[name]); err != nil {
			return err
		}
	}
	return nil
}

func (p *pager) edit(d *edit) error {
	if d.gone {
		return nil
	}
	return p.add(d.entry)
}

// rows are the pages of a folder.
func (e *editor) rows(digest string) ([]Row, error) {
	if digest == "" {
		return nil, nil
	}
	top, err := e.Reader.load(e.ctx, digest)
	if err != nil || top.isIndex {
		return top.rows, err
	}
	if len(top.entries) == 0 {
		return nil, nil
	}
	row, err := rowOf(top.entries, digest)
	return []Row{row}, err
}
