package voltree

import (
	"slices"

	"github.com/skerry-dev/skerry/internal/fault"
)

func (e *editor) copy(from, to []string, recursive bool) error {
	source, err := e.find(from)
	if err != nil {
		return err
	}
	if source == nil {
		return e.orLeave(missing())
	}
	if source.isFolder() && !recursive {
		return fault.New(fault.Precondition, "the source is a folder; copy it recursively")
	}
	target, err := e.find(to)
	if err != nil {
		return err
	}
	if target != nil && target.isFolder() && len(from) > 0 {
		to = append(slices.Clip(to), from[len(from)-1])
	}
	if slices.Equal(from, to) {
		return fault.New(fault.Invalid, "source and destination are the same")
	}
	if source.isFolder() && within(to, from) {
		return fault.New(fault.Invalid, "a folder can't be copied into itself")
	}
	entry, err := e.freeze(source)
	if err != nil {
		return err
	}
	in, err := e.destination(to)
	if err != nil {
		return err
	}
	return e.add(in, to[len(to)-1], entry)
}

// within says whether a path is in a folder, or is it.
func within(path, folder []string) bool {
	return len(path) >= len(folder) && slices.Equal(path[:len(folder)], folder)
}

// orLeave is err, or nil where no change fails.
func (e *editor) orLeave(err error) error {
	if e.LastWins {
		return nil
	}
	return err
}

// destination returns the folder in which something gets a path, which has a name at least.
func (e *editor) destination(to []string) (*node, error) {
	in, err := e.parent(to, e.LastWins)
	if err == nil && in == nil {
		err = fault.New(fault.NotFound, "the destination's folder is not there")
	}
	return in, err
}

// add puts a copy of an entry into a folder; a folder is added to one that is there.
func (e *editor) add(in *node, name string, entry Entry) error {
	old, err := e.child(in, name)
	if err != nil {
		return err
	}
	if old != nil && old.isFolder() && entry.Type == Folder {
		into := in.open(name, old)
		for c, err := range e.Reader.Entries(e.ctx, entry, "") {
			if err != nil {
				return err
			}
			if err := e.add(into, c.Name, c); err != nil {
				return err
			}
		}
		return nil
	}
	if old != nil && old.isFolder() != (entry.Type == Folder) {
		if err := e.replaceable(old, entry.Type == Folder, false); err != nil {
			return err
		}
	}
	d, err := e.unlinked(entry)
	if err != nil {
		return err
	}
	in.set(name, d)
	return nil
}

// unlinked is a copy of an entry in which no file has hard links.
func (e *editor) unlinked(entry Entry) (*edit, error) {
	entry.Inode = 0
	d := &edit{entry: entry}
	if entry.Type != Folder || entry.Totals.Links == 0 {
		return d, nil
	}
	d.node = &node{attr: entry}
	for c, err := range e.Reader.Entries(e.ctx, entry, "") {
		if err != nil {
			return nil, err
		}
		if c.Inode == 0 && c.Totals.Links == 0 {
			continue
		}
		inner, err := e.unlinked(c)
		if err != nil {
			return nil, err
		}
		d.node.set(c.Name, inner)
	}
	return d, nil
}

// freeze returns an entry for what is there now, and stores what that refers to.
func (e *editor) freeze(d *edit) (Entry, error) {
	if d.node == nil {
		if d.isFolder() && d.entry.Pages == "" {
			d.entry.Pages = e.store(encodedEmpty)
			return d.entry, e.settle()
		}
		return d.entry, nil
	}
	entry, err := e.flush(d.node)
	if err != nil {
		return Entry{}, err
	}
	return entry, e.settle()
}

func (e *editor) move(from, to []string) error {
	if len(from) == 0 || len(to) == 0 {
		return fault.New(fault.Invalid, "the root can't be moved or replaced")
	}
	source, err := e.find(from)
	if err != nil {
		return err
	}
	if source == nil {
		return e.orLeave(missing())
	}
	if slices.Equal(from, to) {
		return nil
	}
	if within(to, from) {
		return fault.New(fault.Invalid, "a folder can't be moved into itself")
	}
	if within(from, to) && !e.LastWins {
		return fault.New(fault.Precondition, "the destination's folder is not empty")
	}
	out, err := e.parent(from, false)
	if err != nil {
		return err
	}
	in, err := e.destination(to)
	if err != nil {
		return err
	}
	name := to[len(to)-1]
	old, err := e.child(in, name)
	if err != nil {
		return err
	}
	if old != nil && !e.LastWins {
		if err := e.movable(source, old); err != nil {
			return err
		}
	}
	out.drop(from[len(from)-1])
	in.set(name, source)
	return nil
}

// movable says whether something may take the place of old, by rename(2).
func (e *editor) movable(source, old *edit) error {
	if source.isFolder() != old.isFolder() {
		return e.replaceable(old, source.isFolder(), false)
	}
	if !old.isFolder() {
		return nil
	}
	empty, err := e.empty(old)
	if err == nil && !empty {
		err = fault.New(fault.Precondition, "the destination's folder is not empty")
	}
	return err
}
