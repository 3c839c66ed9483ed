package voltree

import (
	"github.com/skerry-dev/skerry/internal/fault"
)

// child returns what a folder has under a name, or nil. What is not among its edits is a copy of its own.
func (e *editor) child(n *node, name string) (*edit, error) {
	if d := n.edits[name]; d != nil {
		if d.gone {
			return nil, nil //nolint:nilnil // nothing is there, which is no error
		}
		return d, nil
	}
	if n.attr.Pages == "" {
		return nil, nil //nolint:nilnil // nothing is there, which is no error
	}
	entry, err := e.Reader.Lookup(e.ctx, n.attr, name)
	switch {
	case err == nil:
		return &edit{entry: entry}, nil
	case fault.KindOf(err) == fault.NotFound:
		return nil, nil //nolint:nilnil // nothing is there, which is no error
	default:
		return nil, err
	}
}

func (n *node) set(name string, d *edit) {
	if n.edits == nil {
		n.edits = map[string]*edit{}
	}
	d.attr().Name = name
	n.edits[name] = d
}

func (n *node) drop(name string) { n.set(name, &edit{gone: true}) }

// open makes a node of a folder in a folder, to change it.
func (n *node) open(name string, d *edit) *node {
	if d.node == nil {
		d.node = &node{attr: d.entry}
	}
	n.set(name, d)
	return d.node
}

// parent returns the folder of the last name of a path, which has one at least; to be changed. Where a folder on the way is not there, it is
// made, or nil is returned.
func (e *editor) parent(path []string, create bool) (*node, error) {
	at := e.root
	for _, name := range path[:len(path)-1] {
		d, err := e.child(at, name)
		if err != nil {
			return nil, err
		}
		if d != nil && !d.isFolder() && (!create || !e.LastWins) {
			return nil, fault.New(fault.Precondition, "%.255q is no folder", name)
		}
		if d == nil && !create {
			return nil, nil //nolint:nilnil // nothing is there, which is no error
		}
		if d == nil || !d.isFolder() {
			d = &edit{entry: e.newFolder()}
		}
		at = at.open(name, d)
	}
	return at, nil
}

// newFolder is an empty one.
func (e *editor) newFolder() Entry {
	return Entry{Type: Folder, Mode: 0o755, Modified: e.Now.UnixNano()}
}

// find returns what is at a path, nil where nothing is.
func (e *editor) find(path []string) (*edit, error) {
	if len(path) == 0 {
		return &edit{entry: e.root.attr, node: e.root}, nil
	}
	at := e.root
	var d *edit
	for i, name := range path {
		var err error
		if d, err = e.child(at, name); d == nil || err != nil {
			return nil, err
		}
		if i == len(path)-1 {
			break
		}
		if !d.isFolder() {
			return nil, nil //nolint:nilnil // nothing is there, which is no error
		}
		if at = d.node; at == nil {
			at = &node{attr: d.entry}
		}
	}
	return d, nil
}

func (e *editor) put(path []string, c *Change) error {
	entry := c.Entry
	entry.Name, entry.Pages, entry.Totals = "", "", Totals{}
	if err := checkPut(entry); err != nil {
		return err
	}
	if len(path) == 0 {
		if entry.Type != Folder {
			return fault.New(fault.Precondition, "the root is a folder")
		}
		e.root.attr.take(entry)
		return nil
	}
	in, err := e.parent(path, true)
	if err != nil {
		return err
	}
	name := path[len(path)-1]
	old, err := e.child(in, name)
	if err != nil {
		return err
	}
	if old != nil {
		if old.isFolder() && entry.Type == Folder {
			if c.MustBeNew {
				return nil
			}
			old.attr().take(entry)
			in.set(name, old)
			return nil
		}
		if err := e.replaceable(old, entry.Type == Folder, c.MustBeNew); err != nil {
			return err
		}
	}
	in.set(name, &edit{entry: entry})
	return nil
}

// checkPut checks an entry that has no pages yet.
func checkPut(entry Entry) error {
	if entry.Type == Folder {
		entry.Pages = emptyPage
	}
	return entry.Check()
}

// replaceable says whether something may take the place of old; at most one of them is a folder.
func (e *editor) replaceable(old *edit, folder, mustBeNew bool) error {
	switch {
	case mustBeNew && !old.isFolder():
		return fault.New(fault.Exists, "a file is there already")
	case e.LastWins:
		return nil
	case old.isFolder():
		return fault.New(fault.Precondition, "is a folder")
	case folder:
		return fault.New(fault.Precondition, "is no folder")
	}
	return nil
}

// take takes over the attributes of another folder.
func (e *Entry) take(o Entry) {
	e.Mode, e.UID, e.GID, e.Modified = o.Mode, o.UID, o.GID, o.Modified
}

func (e *editor) remove(path []string, c *Change) error {
	if len(path) == 0 {
		if !c.Recursive {
			return fault.New(fault.Precondition, "is the root; remove what is in it, recursively")
		}
		e.root.attr.Pages, e.root.attr.Totals, e.root.edits = "", Totals{}, nil
		return nil
	}
	in, err := e.parent(path, false)
	lenient := c.MissingOK || e.LastWins
	if err != nil && (!lenient || fault.KindOf(err) != fault.Precondition) {
		return err
	}
	var old *edit
	name := path[len(path)-1]
	if in != nil {
		if old, err = e.child(in, name); err != nil {
			return err
		}
	}
	if old == nil {
		if lenient {
			return nil
		}
		return missing()
	}
	if old.isFolder() && !c.Recursive {
		empty, err := e.empty(old)
		if err != nil {
			return err
		}
		if !empty {
			if e.LastWins {
				return nil // others have put something there
			}
			return fault.New(fault.Precondition, "the folder is not empty; remove it recursively")
		}
	}
	in.drop(name)
	return nil
}

func missing() error { return fault.New(fault.NotFound, "there is none") }

// empty says whether a folder is.
func (e *editor) empty(d *edit) (bool, error) {
	if d.node == nil {
		return d.entry.Totals.Files+d.entry.Totals.Folders == 0, nil
	}
	for _, c := range d.node.edits {
		if !c.gone {
			return false, nil
		}
	}
	if d.node.attr.Pages == "" {
		return true, nil
	}
	for c, err := range e.Reader.Entries(e.ctx, d.node.attr, "") {
		if err != nil {
			return false, err
		}
		if d.node.edits[c.Name] == nil {
			return false, nil
		}
	}
	return true, nil
}
