// Package interpreter runs pieces of code that share their state, in interpreters of the container's image. Code may take its interpreter over:
// what that says is bounded and checked.
package interpreter

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit/place"
	"github.com/skerry-dev/skerry/internal/guestinit/process"
)

// MaxContexts is how many contexts there may be.
const MaxContexts = 32

// Config is what a Host works with.
type Config struct {
	Table *process.Table
	Place *place.Place
	// Kernels is the folder of the programs that interpreters are given.
	Kernels string
}

// Host has the contexts of a container. It is safe for concurrent use.
type Host struct {
	cfg Config

	mu       sync.Mutex
	contexts map[string]*Context
	defaults map[string]*Context // by language
}

// New returns a host without contexts.
func New(cfg Config) *Host {
	return &Host{cfg: cfg, contexts: map[string]*Context{}, defaults: map[string]*Context{}}
}

// Settings are what a context begins with.
type Settings struct {
	Language string // empty: python
	Workdir  string // empty: the container's
	Env      map[string]string
	Sealed   []string
}

// Context is state that pieces of code share. It is safe for concurrent use.
type Context struct {
	ID, Language, Workdir string
	CreatedAt             time.Time

	host  *Host
	lang  language
	env   map[string]string
	turn  chan struct{} // holds one value while code runs
	count atomic.Uint64

	mu      sync.Mutex
	kernel  *kernel // nil: the next run starts one
	removed bool
}

// Create makes a context with fresh state. Errors: fault.Invalid for a language there is not, fault.NotFound for an interpreter that the image
// has not, fault.Exhausted.
func (h *Host) Create(s Settings) (*Context, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.create(s)
}

func (h *Host) create(s Settings) (*Context, error) {
	s.Language = cmp.Or(s.Language, "python")
	lang, ok := languages[s.Language]
	if !ok {
		return nil, fault.New(fault.Invalid, "language %q: want one of %v", s.Language, slices.Sorted(maps.Keys(languages)))
	}
	if len(h.contexts) >= MaxContexts {
		return nil, fault.New(fault.Exhausted, "%d contexts: remove some first", MaxContexts)
	}
	env, err := h.cfg.Place.Environment(s.Sealed, s.Env)
	if err != nil {
		return nil, err
	}
	c := &Context{
		ID: "ctx-" + rand.Text(), Language: s.Language, Workdir: cmp.Or(s.Workdir, h.cfg.Place.Workdir()), CreatedAt: time.Now(),
		host: h, lang: lang, env: env, turn: make(chan struct{}, 1),
	}
	if _, err := c.awake(); err != nil {
		return nil, err
	}
	h.contexts[c.ID] = c
	return c, nil
}

// Default returns the context of a language that code runs in which names none. Errors: as Create.
func (h *Host) Default(lang string) (*Context, error) {
	lang = cmp.Or(lang, "python")
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.defaults[lang]; c != nil {
		return c, nil
	}
	c, err := h.create(Settings{Language: lang})
	if err == nil {
		h.defaults[lang] = c
	}
	return c, err
}

// Get returns a context. Errors: fault.NotFound.
func (h *Host) Get(id string) (*Context, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.contexts[id]; c != nil {
		return c, nil
	}
	return nil, fault.New(fault.NotFound, "context %q: no such context", id)
}

// List returns the contexts, oldest first.
func (h *Host) List() []*Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.contexts), func(a, b *Context) int { return a.CreatedAt.Compare(b.CreatedAt) })
}

// Remove ends a context, with what runs there. Errors: fault.NotFound.
func (h *Host) Remove(id string) error {
	c, err := h.Get(id)
	if err != nil {
		return err
	}
	h.mu.Lock()
	delete(h.contexts, id)
	if h.defaults[c.Language] == c {
		delete(h.defaults, c.Language)
	}
	h.mu.Unlock()
	c.mu.Lock()
	c.removed = true
	c.mu.Unlock()
	c.Restart()
	return nil
}

// awake returns the interpreter, and starts one if there is none. Errors: those of the start, fault.NotFound once removed.
func (c *Context) awake() (*kernel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return nil, fault.New(fault.NotFound, "context %q: no such context", c.ID)
	}
	if c.kernel == nil {
		k, err := startKernel(c.host.cfg.Table, c.lang, c.host.cfg.Kernels, process.Spec{Env: maps.Clone(c.env), Workdir: c.Workdir})
		if err != nil {
			return nil, err
		}
		c.kernel = k
	}
	return c.kernel, nil
}

// bury ends an interpreter that is not used any more.
func (c *Context) bury(k *kernel) {
	c.mu.Lock()
	if c.kernel == k {
		c.kernel = nil
	}
	c.mu.Unlock()
	k.close(c.host.cfg.Table)
}

// Restart ends the interpreter, with what runs in it: the next code begins with fresh state.
func (c *Context) Restart() {
	c.mu.Lock()
	k := c.kernel
	c.kernel = nil
	c.mu.Unlock()
	if k == nil {
		return
	}
	_ = c.host.cfg.Table.Signal(k.process, syscall.SIGKILL, true) // it has ended
	<-k.process.Done()
	go func() { // code that ran there ends at once, and has read what it said until then
		c.turn <- struct{}{}
		k.close(c.host.cfg.Table)
		<-c.turn
	}()
}

// Interrupt interrupts the code that runs, as Ctrl-C does.
func (c *Context) Interrupt() {
	c.mu.Lock()
	k := c.kernel
	c.mu.Unlock()
	if k != nil {
		c.interrupt(k)
	}
}

// Busy says whether code runs.
func (c *Context) Busy() bool { return len(c.turn) > 0 }

// limit interrupts code after a timeout, and ends its interpreter if that does not help. Stop ends the watch.
func (c *Context) limit(k *kernel, timeout time.Duration) (stop func(), timedOut *atomic.Bool) {
	timedOut = &atomic.Bool{}
	if timeout <= 0 {
		return func() {}, timedOut
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, step := range []struct {
			wait time.Duration
			sig  syscall.Signal
		}{{timeout, syscall.SIGINT}, {grace, syscall.SIGKILL}} {
			timer := time.NewTimer(step.wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
				timedOut.Store(true)
				_ = c.host.cfg.Table.Signal(k.process, step.sig, true) // it has ended
			}
		}
	}()
	return func() { cancel(); <-over }, timedOut
}
