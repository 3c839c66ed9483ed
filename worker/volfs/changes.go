package volfs

import (
	"context"
	"iter"
	"path"

	"github.com/skerry-dev/skerry/internal/voltree"
)

// Change is one change of the volume.
type Change struct {
	// Path is where, in the volume.
	Path string
	// Remove says that what is there goes, a folder with all in it. Else Entry is put there.
	Remove bool
	Entry  voltree.Entry
	// File has the bytes of a file that has changed, which are to be stored and Entry.Content to be set; nil: Entry has all. Hard links have
	// the same File.
	File *Cut
}

// Changes are all that has changed at one instant. Exactly one of Settle and Close is called in the end.
type Changes struct {
	fs    *FS
	began uint64 // of FS.changed
	list  []*step
	marks []mark
	cuts  map[*inode]*Cut
	root  bool // the root's own attributes are among them
}

// step is a change, or what a folder that was moved has in the volume and that nobody has looked at.
type step struct {
	Change
	moved  *voltree.Entry
	except map[string]bool
}

// mark is what the volume has of a name once the changes are stored; without an inode nothing.
type mark struct {
	binding *binding
	dir     *inode
	name    string
	node    *inode
	gen     uint64
}

// Changes takes what has changed; nil if nothing has. It does not wait for anything.
func (f *FS) Changes() *Changes {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &Changes{fs: f, began: f.changed.Load(), cuts: map[*inode]*Cut{}}
	root := f.nodes[rootNode]
	var removed, put []*step
	if c.root = f.rootChanged.Swap(false); c.root {
		put = append(put, &step{Change: c.entry(root, f.cfg.Path)})
	}
	c.walk(root, f.cfg.Path, false, &removed, &put)
	if c.list = append(removed, put...); len(c.list) == 0 {
		f.changed.Add(-c.began)
		return nil
	}
	return c
}

// walk finds what has changed in a folder. Fresh says that the volume has nothing of the folder under its path.
func (c *Changes) walk(dir *inode, at string, fresh bool, removed, put *[]*step) {
	for name, b := range dir.children {
		where := path.Join(at, name)
		n := b.node
		gone := b.stored && !fresh && (n == nil || b.storedID != n.id && (b.storedType == voltree.Folder || n.typ == voltree.Folder))
		if gone {
			*removed = append(*removed, &step{Change: Change{Path: where, Remove: true}})
		}
		if n == nil {
			if b.stored {
				c.marks = append(c.marks, mark{binding: b, dir: dir, name: name})
			}
			continue
		}
		if fresh || !b.clean() {
			*put = append(*put, &step{Change: c.entry(n, where)})
			c.marks = append(c.marks, mark{b, dir, name, n, n.gen})
		}
		if n.typ == voltree.Folder {
			inner := fresh || !b.stored || b.storedID != n.id
			if inner && n.lower.Pages != "" {
				*put = append(*put, moved(n, where))
			}
			c.walk(n, where, inner, removed, put)
		}
	}
}

// moved are the entries of a folder that is elsewhere than in the version, but for those that are in memory.
func moved(n *inode, where string) *step {
	lower := n.lower
	s := &step{Change: Change{Path: where}, moved: &lower, except: map[string]bool{}}
	for name := range n.children {
		s.except[name] = true
	}
	return s
}

// entry is an inode in the volume's terms.
func (c *Changes) entry(n *inode, where string) Change {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := voltree.Entry{
		Name: path.Base(where), Type: n.typ, Mode: n.mode, UID: n.uid, GID: n.gid, Modified: n.mtime, Target: n.target, Inode: n.link,
		Size: n.size, Content: n.content,
	}
	if n.nlink == 1 && n.all {
		e.Inode = 0
	}
	out := Change{Path: where, Entry: e}
	if n.typ == voltree.File && n.size > 0 && (n.data != nil || n.base < n.size) {
		if c.cuts[n] == nil {
			if n.data == nil {
				c.fs.mintPath(n)
			}
			c.cuts[n] = c.fs.cut(n)
		}
		out.File, out.Entry.Content = c.cuts[n], voltree.Content{}
	}
	if n.size == 0 {
		out.Entry.Content = voltree.Content{}
	}
	return out
}

// Files are those whose bytes have to be stored.
func (c *Changes) Files() iter.Seq[*Cut] {
	return func(yield func(*Cut) bool) {
		for _, cut := range c.cuts {
			if !yield(cut) {
				return
			}
		}
	}
}

// All hands over all changes in an order in which they can be made; contents has where the bytes of the Files are.
func (c *Changes) All(ctx context.Context, contents map[*Cut]voltree.Content) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for _, s := range c.list {
			if s.moved != nil {
				if !c.expand(ctx, s.Path, *s.moved, s.except, yield) {
					return
				}
				continue
			}
			change := s.Change
			if change.File != nil {
				change.Entry.Content = contents[change.File]
			}
			if !yield(change, nil) {
				return
			}
		}
	}
}

// expand hands over what is in a folder of the version.
func (c *Changes) expand(ctx context.Context, at string, folder voltree.Entry, except map[string]bool, yield func(Change, error) bool) bool {
	for e, err := range c.fs.cfg.Tree.Entries(ctx, folder, "") {
		if err != nil {
			return yield(Change{}, err)
		}
		if except[e.Name] {
			continue
		}
		where, inner := path.Join(at, e.Name), e
		e.Pages, e.Totals = "", voltree.Totals{}
		if !yield(Change{Path: where, Entry: e}, nil) {
			return false
		}
		if inner.Type == voltree.Folder && !c.expand(ctx, where, inner, nil, yield) {
			return false
		}
	}
	return true
}

// Close gives up: all is as changed as it was.
func (c *Changes) Close() {
	if c.root {
		c.fs.rootChanged.Store(true)
	}
	for _, cut := range c.cuts {
		cut.Close()
	}
}

// Settle says that the volume has the changes. What was not changed since is clean; the bytes of files that nobody has open are from now
// on those of the volume.
func (c *Changes) Settle(contents map[*Cut]voltree.Content) {
	f := c.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range c.marks {
		b := m.binding
		b.stored = m.node != nil
		if m.node != nil {
			b.storedID, b.storedGen, b.storedType = m.node.id, m.gen, m.node.typ
		} else if b.node == nil && m.dir.lower.Pages == "" && m.dir.children[m.name] == b {
			delete(m.dir.children, m.name)
		}
	}
	for n, cut := range c.cuts {
		f.settle(n, cut, contents[cut])
	}
	f.changed.Add(-c.began)
}

// settle has a file be what the volume has, if it was not changed since.
func (f *FS) settle(n *inode, cut *Cut, content voltree.Content) {
	n.mu.Lock()
	defer n.mu.Unlock()
	cut.close()
	if n.gen != cut.gen || n.nlink == 0 {
		return
	}
	n.content, n.base, n.manifest = content, n.size, nil
	f.discard(n)
}
