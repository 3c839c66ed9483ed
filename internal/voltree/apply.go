package voltree

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Verb says what a change does.
type Verb uint8

// The verbs.
const (
	// Put puts Entry at Path, below folders that are made. A folder that is put where one is gives it attributes; else a folder and what is
	// none don't take each other's place.
	Put Verb = iota + 1
	// Remove removes what is at Path; a folder has to be empty, or goes with Recursive. At the root it removes what is in it.
	Remove
	// Copy copies Path to To, or into it where that is a folder, as cp does; folders with Recursive, into one that is there already by
	// adding to it. Copies are no hard links, and keep modes, owners and times.
	Copy
	// Move gives what is at Path the path To, as rename(2) does: a file may take a file's place, a folder that of an empty one.
	Move
)

// Change is one change to a tree.
type Change struct {
	Verb     Verb
	Path, To string
	// Entry is what to put, but for Name, Pages and Totals.
	Entry Entry
	// MustBeNew makes it a fault.Exists to put something where a file is; a folder that is there stays as it is.
	MustBeNew bool
	// Recursive has Remove and Copy work on folders with all in them, MissingOK makes it no error if what to remove is not there.
	Recursive, MissingOK bool
}

// Params are what Apply works with.
type Params struct {
	// Reader reads from where Sink keeps.
	Reader *Reader
	Sink   cas.Sink
	// Root is the digest of the version's root; empty: a volume with nothing in it.
	Root    string
	Changes []Change
	// LastWins has no change fail for what is in the tree: what is in the way gives way, what is not there is not changed. It is for
	// changes that were made to an older version.
	LastWins bool
	// Now is when folders are made that are not put themselves.
	Now time.Time
}

// Result is a changed tree.
type Result struct {
	// Root is the digest of its root, and Totals what is in it.
	Root   string
	Totals Totals
}

// writers is how many blobs are stored at a time.
var writers = max(4, 2*runtime.NumCPU())

// Apply changes a tree, in the order of the changes, and stores what is new of it. All is stored when it returns; a failure has stored parts
// that nothing refers to. Contents of files are not looked at. Errors: fault.Invalid, fault.NotFound, fault.Exists, fault.Precondition,
// fault.Exhausted, fault.DataLoss.
func Apply(ctx context.Context, p Params) (Result, error) {
	root := Entry{Type: Folder, Mode: 0o755, Modified: p.Now.UnixNano()}
	if p.Root != "" {
		var err error
		if root, err = p.Reader.Root(ctx, p.Root); err != nil {
			return Result{}, err
		}
	}
	e := &editor{Params: p, ctx: ctx, root: &node{attr: root}}
	e.restart()
	for i := range p.Changes {
		if err := e.apply(&p.Changes[i]); err != nil {
			return Result{}, e.fail(err)
		}
	}
	done, err := e.flush(e.root)
	if err != nil {
		return Result{}, e.fail(err)
	}
	data, err := EncodeRoot(done)
	if err != nil {
		return Result{}, e.fail(err)
	}
	digest := e.store(data)
	return Result{Root: digest, Totals: done.Totals}, e.group.Wait()
}

// editor is a tree while it is changed: folders that have changes are nodes, all else is where it was.
type editor struct {
	Params
	ctx   context.Context //nolint:containedctx // that of one call of Apply
	root  *node
	group *errgroup.Group
	gctx  context.Context //nolint:containedctx // likewise
}

// node is a folder that has changes: attr names what it was, edits are what is otherwise.
type node struct {
	attr  Entry
	edits map[string]*edit
}

// edit is what has become of a name in a folder: nothing is there, or an entry. A folder that has changes itself has a node, and the
// entry's attributes are then in it.
type edit struct {
	gone  bool
	entry Entry
	node  *node
}

func (d *edit) isFolder() bool { return d.entry.Type == Folder }

// attr is the entry, to read or to change its attributes.
func (d *edit) attr() *Entry {
	if d.node != nil {
		return &d.node.attr
	}
	return &d.entry
}

func (e *editor) apply(c *Change) error {
	path, err := Split(c.Path)
	if err != nil {
		return err
	}
	switch c.Verb {
	case Put:
		err = e.put(path, c)
	case Remove:
		err = e.remove(path, c)
	case Copy, Move:
		to, terr := Split(c.To)
		if terr != nil {
			return terr
		}
		if c.Verb == Copy {
			err = e.copy(path, to, c.Recursive)
		} else {
			err = e.move(path, to)
		}
	default:
		return fault.New(fault.Invalid, "change %d is not known", c.Verb)
	}
	if err != nil && c.To != "" {
		return fmt.Errorf("%q to %q: %w", c.Path, c.To, err)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", c.Path, err)
	}
	return nil
}

// fail waits for what is being stored, and returns err.
func (e *editor) fail(err error) error {
	_ = e.group.Wait() // the first error is the one to tell
	return err
}

// restart begins a group of blobs that are being stored.
func (e *editor) restart() {
	e.group, e.gctx = errgroup.WithContext(e.ctx)
	e.group.SetLimit(writers)
}

// settle waits until all is stored, so that it can be read.
func (e *editor) settle() error {
	err := e.group.Wait()
	e.restart()
	return err
}

// store has a blob stored and names it.
func (e *editor) store(data []byte) string {
	gctx := e.gctx
	e.group.Go(func() error {
		_, _, err := e.Sink.Add(gctx, data)
		return err
	})
	return ident.Digest(data)
}
