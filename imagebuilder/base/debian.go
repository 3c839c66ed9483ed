package base

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/skerry-dev/skerry/internal/fault"
)

// suites are the Debian releases by the Python series that they have.
var suites = map[string]string{"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}

// baseEnv is the environment of containers made from a base.
var baseEnv = map[string]string{
	"PATH":             "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG":             "C.UTF-8",
	"PYTHONUNBUFFERED": "1",
}

// DebianConfig describes a Debian.
type DebianConfig struct {
	// Dir is the folder of bases, made if missing. Several processes may share it.
	Dir string
	// Mirror is the package archive; empty: Debian's own, as mmdebstrap knows them.
	Mirror string
	// SecurityMirror is the archive of security updates that goes with Mirror; empty: Mirror with "-security" behind it.
	SecurityMirror string
	// CABundle is the file of certificates to trust for https mirrors; empty: apt's own configuration on the host says.
	CABundle string
}

// Debian makes bases with mmdebstrap from Debian's packages. It needs root and mmdebstrap. It is safe for concurrent use.
type Debian struct {
	config DebianConfig

	mu      sync.Mutex
	flights map[string]*flight
}

var _ Provider = (*Debian)(nil)

// flight is a base being made, for all who wait for it; when the last of them leaves it is given up.
type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	img     *Image
	err     error
}

// NewDebian returns a provider; nothing is made yet.
func NewDebian(c DebianConfig) *Debian {
	if c.SecurityMirror == "" && c.Mirror != "" {
		c.SecurityMirror = strings.TrimSuffix(c.Mirror, "/") + "-security"
	}
	return &Debian{config: c, flights: map[string]*flight{}}
}

// Series are those of Debian's releases, the oldest first.
func (d *Debian) Series() (series []string, hint string) {
	return slices.SortedFunc(maps.Keys(suites), func(a, b string) int {
			// As text, 3.9 would come after 3.11.
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
		}), "bases come from Debian releases, one Python series each: run the client with one of these, " +
			"or name one with python_version"
}

// Prepare returns the base of a series; see Provider. The lines of a base that several wait for go to the first of them.
func (d *Debian) Prepare(ctx context.Context, series string, progress func(string)) (*Image, error) {
	suite, ok := suites[series]
	if !ok {
		known, hint := d.Series()
		return nil, fault.New(fault.Precondition, "python %q: no base has it, those with %s can be had; %s",
			series, strings.Join(known, ", "), hint)
	}
	dir := filepath.Join(d.config.Dir, suite+"-python"+series+"-r"+revision)
	if img, err := load(dir); err != nil || img != nil {
		return img, err
	}
	f := d.join(ctx, maker{config: d.config, suite: suite, series: series, dir: dir, progress: progress})
	defer d.leave(dir, f)
	select {
	case <-f.done:
		return f.img, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("base %q: %w", suite, context.Cause(ctx))
	}
}

// join waits for the base with others, or begins it.
func (d *Debian) join(ctx context.Context, m maker) *flight {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.flights[m.dir]
	if f == nil {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{})}
		d.flights[m.dir] = f
		go func() {
			defer close(f.done)
			f.img, f.err = m.make(ctx)
		}()
	}
	f.waiting++
	return f
}

func (d *Debian) leave(dir string, f *flight) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		// The next one makes it anew; its lock keeps it off the files until this one has ended.
		delete(d.flights, dir)
	}
}

// maker makes one base.
type maker struct {
	config             DebianConfig
	suite, series, dir string
	progress           func(string)
}

// make makes the base in a folder beside its own and renames that when all is there. The lock file keeps other makers out; the kernel
// drops it with its holder, and what a killed one left is removed.
func (m maker) make(ctx context.Context) (img *Image, err error) {
	if err := os.MkdirAll(m.config.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("base %q: %w", m.suite, err)
	}
	unlock, err := lock(m.dir+".lock", m.progress)
	if err != nil {
		return nil, fmt.Errorf("base %q: %w", m.suite, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if img, err := load(m.dir); err != nil || img != nil {
		return img, err
	}
	l := layoutWriter{m.dir + ".new"}
	if err := errors.Join(os.RemoveAll(l.dir), os.RemoveAll(m.dir), os.Mkdir(l.dir, 0o755)); err != nil {
		return nil, fmt.Errorf("base %q: %w", m.suite, err)
	}
	layer, err := m.bootstrap(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("base %q: %w", m.suite, err)
	}
	var env []string
	for _, k := range slices.Sorted(maps.Keys(baseEnv)) {
		env = append(env, k+"="+baseEnv[k])
	}
	digest, err := l.finish(layer, env)
	if err != nil {
		return nil, fmt.Errorf("base %q: %w", m.suite, err)
	}
	r := record{Name: "debian " + m.suite + ", python " + m.series, Digest: digest, Env: baseEnv}
	if err := l.file(recordName, r); err != nil {
		return nil, fmt.Errorf("base %q: %w", m.suite, err)
	}
	if err := os.Rename(l.dir, m.dir); err != nil {
		return nil, fmt.Errorf("base %q: %w", m.suite, err)
	}
	return load(m.dir)
}

// lock takes a lock that other processes see.
func lock(path string, progress func(string)) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // bases hold nothing secret
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		progress("another process makes this base, waiting for it")
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
