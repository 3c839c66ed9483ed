package voltree_test

import (
	"path"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// model is a tree as plain maps: what a path has. Folders are entries as well; the root is not.
type model map[string]voltree.Entry

func (m model) clone() model {
	c := model{}
	for p, e := range m {
		c[p] = e
	}
	return c
}

func (m model) isFolder(p string) bool { return p == "" || m[p].Type == voltree.Folder }

func (m model) has(p string) bool { _, ok := m[p]; return ok || p == "" }

// below are the paths in a folder, at any depth, sorted.
func (m model) below(p string) (out []string) {
	for q := range m {
		if p == "" || strings.HasPrefix(q, p+"/") {
			out = append(out, q)
		}
	}
	slices.Sort(out)
	return out
}

func (m model) delete(p string) {
	for _, q := range m.below(p) {
		delete(m, q)
	}
	delete(m, p)
}

func above(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}

// way has folders above p, made or there. A nil fault is success.
func (m model) way(p string, create, lastWins bool) *fault.Kind {
	up := above(p)
	if up == "" {
		return nil
	}
	if k := m.way(up, create, lastWins); k != nil {
		return k
	}
	switch {
	case m.isFolder(up):
		return nil
	case m.has(up) && (!create || !lastWins):
		return fault.Precondition
	case !create:
		return fault.NotFound
	}
	m.delete(up)
	m[up] = voltree.Entry{Type: voltree.Folder, Mode: 0o755, Modified: now.UnixNano()}
	return nil
}

// apply returns nil, or the kind of error that is expected.
func (m model) apply(c voltree.Change, lastWins bool) *fault.Kind {
	switch c.Verb {
	case voltree.Put:
		return m.put(c, lastWins)
	case voltree.Remove:
		return m.remove(c, lastWins)
	case voltree.Copy:
		return m.copy(c, lastWins)
	default:
		return m.move(c, lastWins)
	}
}

func (m model) put(c voltree.Change, lastWins bool) *fault.Kind {
	if k := m.way(c.Path, true, lastWins); k != nil {
		return k
	}
	if m.has(c.Path) {
		old, folder := m.isFolder(c.Path), c.Entry.Type == voltree.Folder
		if !old && c.MustBeNew {
			return fault.Exists
		}
		if old && folder && c.MustBeNew {
			return nil
		}
		if old != folder {
			if !lastWins {
				return fault.Precondition
			}
			m.delete(c.Path)
		}
	}
	m[c.Path] = c.Entry
	return nil
}

func (m model) remove(c voltree.Change, lastWins bool) *fault.Kind {
	lenient := c.MissingOK || lastWins
	if k := m.way(c.Path, false, lastWins); k != nil {
		if lenient {
			return nil
		}
		return k
	}
	switch {
	case !m.has(c.Path) && lenient:
		return nil
	case !m.has(c.Path):
		return fault.NotFound
	case m.isFolder(c.Path) && !c.Recursive && len(m.below(c.Path)) > 0:
		if lastWins {
			return nil
		}
		return fault.Precondition
	}
	m.delete(c.Path)
	return nil
}

func (m model) copy(c voltree.Change, lastWins bool) *fault.Kind {
	switch {
	case !m.has(c.Path) && lastWins:
		return nil
	case !m.has(c.Path):
		return fault.NotFound
	case m.isFolder(c.Path) && !c.Recursive:
		return fault.Precondition
	}
	to := c.To
	if m.has(to) && m.isFolder(to) {
		to = path.Join(to, path.Base(c.Path))
	}
	if to == c.Path || m.isFolder(c.Path) && strings.HasPrefix(to+"/", c.Path+"/") {
		return fault.Invalid
	}
	source := m.clone()
	if k := m.way(to, lastWins, lastWins); k != nil {
		return k
	}
	for _, q := range append([]string{c.Path}, source.below(c.Path)...) {
		at := to + strings.TrimPrefix(q, c.Path)
		e := source[q]
		e.Inode = 0
		if m.has(at) {
			old, folder := m.isFolder(at), e.Type == voltree.Folder
			if old && folder {
				continue // it keeps its attributes
			}
			if old != folder {
				if !lastWins {
					return fault.Precondition
				}
				m.delete(at)
			}
		}
		m[at] = e
	}
	return nil
}

func (m model) move(c voltree.Change, lastWins bool) *fault.Kind {
	switch {
	case !m.has(c.Path) && lastWins:
		return nil
	case !m.has(c.Path):
		return fault.NotFound
	case c.Path == c.To:
		return nil
	case strings.HasPrefix(c.To, c.Path+"/"):
		return fault.Invalid
	case strings.HasPrefix(c.Path, c.To+"/") && !lastWins:
		return fault.Precondition
	}
	moved := model{"": m[c.Path]}
	for _, q := range m.below(c.Path) {
		moved[strings.TrimPrefix(q, c.Path)] = m[q]
	}
	if k := m.way(c.To, lastWins, lastWins); k != nil {
		return k
	}
	if m.has(c.To) && !lastWins {
		if m.isFolder(c.To) != m.isFolder(c.Path) || m.isFolder(c.To) && len(m.below(c.To)) > 0 {
			return fault.Precondition
		}
	}
	m.delete(c.Path)
	m.delete(c.To)
	for q, e := range moved {
		m[c.To+q] = e
	}
	return nil
}
