package voltree

import (
	"container/list"
	"context"
	"fmt"
	"iter"
	"sort"
	"sync"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// DefaultCache is how many bytes of encoded pages a Reader keeps in memory; decoded they are about three times as large.
const DefaultCache = 32 << 20

// Reader reads trees, as far as it is asked to, and keeps what it has read lately. It is safe for concurrent use.
type Reader struct {
	from cas.Source
	room int

	mu    sync.Mutex
	used  int
	known map[string]*list.Element // of *loaded
	order *list.List               // the least recently used last
}

// loaded is a blob that was read: an index, or a page.
type loaded struct {
	digest  string
	size    int
	isIndex bool
	rows    []Row
	entries []Entry
}

// NewReader returns a reader over a source of blobs that keeps so many bytes of them in memory.
func NewReader(from cas.Source, cache int) *Reader {
	return &Reader{from: from, room: cache, known: map[string]*list.Element{}, order: list.New()}
}

// Root returns the root folder of a version's tree. Errors: fault.NotFound, fault.DataLoss.
func (r *Reader) Root(ctx context.Context, digest string) (Entry, error) {
	data, err := r.from.ReadAll(ctx, digest, MaxBlob)
	if err != nil {
		return Entry{}, fmt.Errorf("root: %w", err)
	}
	return DecodeRoot(data)
}

// Lookup returns the entry of a folder with a name. Errors: fault.NotFound where there is none; fault.DataLoss, also for blobs that are
// missing.
func (r *Reader) Lookup(ctx context.Context, folder Entry, name string) (Entry, error) {
	for page, err := range r.pages(ctx, folder.Pages, name) {
		if err != nil {
			return Entry{}, err
		}
		i := sort.Search(len(page), func(i int) bool { return page[i].Name >= name })
		if i < len(page) && page[i].Name == name {
			return page[i], nil
		}
		break
	}
	return Entry{}, fault.New(fault.NotFound, "%.255q: there is none", name)
}

// Entries hands over the entries of a folder whose names follow after, in their order; "" is before all. It ends at the first error.
func (r *Reader) Entries(ctx context.Context, folder Entry, after string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for page, err := range r.pages(ctx, folder.Pages, after) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range page[sort.Search(len(page), func(i int) bool { return page[i].Name > after }):] {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Find returns what is at the names, one after the other, below the root; symbolic links are not followed. Errors: fault.NotFound, also
// where something on the way is no folder; fault.DataLoss.
func (r *Reader) Find(ctx context.Context, root Entry, names []string) (Entry, error) {
	at := root
	for _, name := range names {
		if at.Type != Folder {
			return Entry{}, fault.New(fault.NotFound, "%.255q: is no folder", at.Name)
		}
		var err error
		if at, err = r.Lookup(ctx, at, name); err != nil {
			return Entry{}, err
		}
	}
	return at, nil
}

// pages hands over a folder's pages from the one on that would have a name.
func (r *Reader) pages(ctx context.Context, digest, name string) iter.Seq2[[]Entry, error] {
	return func(yield func([]Entry, error) bool) {
		top, err := r.load(ctx, digest)
		if err != nil || !top.isIndex {
			yield(top.entries, err)
			return
		}
		first := sort.Search(len(top.rows), func(i int) bool { return top.rows[i].First > name })
		for _, row := range top.rows[max(first-1, 0):] {
			page, err := r.page(ctx, row)
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}

// page reads a page of an index, which must be what the index says.
func (r *Reader) page(ctx context.Context, row Row) ([]Entry, error) {
	l, err := r.load(ctx, row.Digest)
	if err != nil {
		return nil, err
	}
	if l.isIndex || len(l.entries) != int(row.Count) || l.entries[0].Name != row.First {
		return nil, fault.New(fault.DataLoss, "folder: page %q is not what its index says", row.Digest)
	}
	return l.entries, nil
}

// load reads a page or an index; the result is never nil, and not to be changed.
func (r *Reader) load(ctx context.Context, digest string) (*loaded, error) {
	if l := r.cached(digest); l != nil {
		return l, nil
	}
	data, err := r.from.ReadAll(ctx, digest, MaxBlob)
	if err != nil {
		return &loaded{}, fmt.Errorf("folder: %w", lost(err))
	}
	l := &loaded{digest: digest, size: len(data), isIndex: isIndex(data)}
	if l.isIndex {
		l.rows, err = DecodeIndex(data)
	} else {
		l.entries, err = DecodePage(data)
	}
	if err != nil {
		return &loaded{}, err
	}
	r.keep(l)
	return l, nil
}

// lost makes a folder's blob that is not there a loss: it is not the name that is missing.
func lost(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return fault.New(fault.DataLoss, "%s", err.Error())
	}
	return err
}

func (r *Reader) cached(digest string) *loaded {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.known[digest]
	if e == nil {
		return nil
	}
	r.order.MoveToFront(e)
	return e.Value.(*loaded)
}

func (r *Reader) keep(l *loaded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[l.digest] != nil || l.size > r.room {
		return
	}
	r.known[l.digest] = r.order.PushFront(l)
	r.used += l.size
	for r.used > r.room {
		last := r.order.Remove(r.order.Back()).(*loaded)
		delete(r.known, last.digest)
		r.used -= last.size
	}
}
