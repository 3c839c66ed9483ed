package base

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Tools that install Pythons on a host.
const (
	UV    = "uv"
	Pyenv = "pyenv"
)

// Interpreter is a Python as an OCI layout whose one layer is what belongs to /usr/local.
type Interpreter struct {
	// Name is for people, such as "python 3.12.1 of pyenv".
	Name string
	// Series is such as "3.12", or "3.14t" without the global lock.
	Series string
	// Dir is the folder of its OCI layout, Digest that of its manifest.
	Dir, Digest string
	// Release is the Debian release that it needs the libraries of; empty: any.
	Release string
}

// installed is a Python that a tool has installed on this host.
type installed struct {
	tool, series, version string
	dir                   string
	micro                 int
}

// Interpreters are the Pythons of this host that images may get. It is safe for concurrent use.
type Interpreters struct {
	shelf   *shelf
	folders map[string]string
	release string
}

// NewInterpreters returns those in the folders of tools, by tool; layouts are kept in dir. What is in the folders is looked up when it is
// asked for.
func NewInterpreters(dir string, folders map[string]string) *Interpreters {
	return &Interpreters{shelf: newShelf(dir), folders: folders, release: hostRelease()}
}

// HostFolders are the folders in which the tools keep Pythons of the user that this process runs as. Lookup is os.LookupEnv but for tests.
func HostFolders(lookup func(string) (string, bool)) map[string]string {
	first := func(fallback string, variables ...string) string {
		for _, v := range variables {
			if name, rest, _ := strings.Cut(v, "/"); true {
				if value, ok := lookup(name); ok && filepath.IsAbs(value) {
					return filepath.Join(value, rest)
				}
			}
		}
		return fallback
	}
	home, _ := lookup("HOME")
	return map[string]string{
		UV:    first(filepath.Join(home, ".local/share/uv/python"), "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME/uv/python"),
		Pyenv: first(filepath.Join(home, ".pyenv/versions"), "PYENV_ROOT/versions"),
	}
}

var folderName = regexp.MustCompile(`^(?:cpython-)?(3\.[0-9]{1,2})\.([0-9]+)(\+freethreaded|t)?(?:-linux-([a-z0-9_]+)-gnu)?$`)

// machines are the tools' words for architectures.
var machines = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// list returns the newest Python of each series.
func (p *Interpreters) list() (map[string]installed, error) {
	found := map[string]installed{}
	for _, tool := range []string{UV, Pyenv} {
		entries, err := os.ReadDir(p.folders[tool])
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("pythons of %s: %w", tool, err)
		}
		for _, e := range entries {
			m := folderName.FindStringSubmatch(e.Name())
			if m == nil || m[4] != "" && m[4] != machines[runtime.GOARCH] {
				continue
			}
			i := installed{tool: tool, series: m[1], version: m[1] + "." + m[2], dir: filepath.Join(p.folders[tool], e.Name())}
			i.micro, _ = strconv.Atoi(m[2]) // digits
			if m[3] != "" {
				i.series, i.version = i.series+"t", i.version+"t"
			}
			if _, err := os.Stat(filepath.Join(i.dir, "bin", "python"+i.series)); err != nil {
				continue // half removed, or for another system
			}
			if best, ok := found[i.series]; !ok || best.tool == i.tool && i.micro > best.micro {
				found[i.series] = i
			}
		}
	}
	return found, nil
}

// Series are those that Prepare knows.
func (p *Interpreters) Series() ([]string, error) {
	found, err := p.list()
	series := make([]string, 0, len(found))
	for s := range found {
		series = append(series, s)
	}
	slices.SortFunc(series, compareSeries)
	return series, err
}

// interpreterRevision changes with what makes a layout.
const interpreterRevision = "1"

// Prepare returns a series' interpreter, made first where it is missing; see Provider. Errors: fault.Precondition for a series that the
// host does not have.
func (p *Interpreters) Prepare(ctx context.Context, series string, progress func(string)) (*Interpreter, error) {
	found, err := p.list()
	if err != nil {
		return nil, err
	}
	i, ok := found[series]
	if !ok {
		have, err := p.Series()
		if err != nil {
			return nil, err
		}
		return nil, fault.New(fault.Precondition, "python %q: this host has no such interpreter for images, only: %s; the operator installs one with "+
			"`uv python install %s` or `pyenv install %s`", series, cmp.Or(strings.Join(have, ", "), "none"), series, series)
	}
	sum := sha256.Sum256([]byte(i.dir))
	name := fmt.Sprintf("python%s-%s-%s-r%s", i.version, i.tool, hex.EncodeToString(sum[:4]), interpreterRevision)
	img, err := p.shelf.prepare(ctx, name, progress, func(ctx context.Context, l layoutWriter) (record, error) {
		progress("copying python " + i.version + " of " + i.tool)
		layer, err := i.layer(ctx, l)
		if err != nil {
			return record{}, err
		}
		digest, err := l.finish(layer, nil)
		return record{Name: "python " + i.version + " of " + i.tool, Digest: digest}, err
	})
	if err != nil {
		return nil, err
	}
	out := &Interpreter{Name: img.Name, Series: series, Dir: img.Dir, Digest: img.Digest}
	if i.tool == Pyenv {
		out.Release = p.release // it was built with the host's libraries
	}
	return out, nil
}

// hostRelease is the code name of this host's Debian; empty where it is another system.
func hostRelease() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`)
		}
	}
	return ""
}
