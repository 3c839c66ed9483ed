package llb

import (
	"maps"
	"slices"
	"strings"

	bk "github.com/moby/buildkit/client/llb"
)

// defaultPath is where programs are in images that don't say.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// localBin is where an interpreter's programs are.
const localBin = "/usr/local/bin"

// start begins with the base.
func (p *planner) start(b Base) {
	name := "base " + b.Name
	n := p.number(Step{Name: name})
	switch {
	case b.Reference != "":
		p.state = bk.Image(b.Reference, vertex(n, name))
	case b.Digest != "":
		p.state = bk.OCILayout("skerry.local/base@"+b.Digest, bk.OCIStore("", BaseStore), vertex(n, name))
	default:
		p.state = bk.Scratch()
	}
	p.state = p.state.Hostname(hostname)
	if p.env["PATH"] == "" && b.Reference != "" {
		p.env["PATH"] = defaultPath
	}
	if b.Interpreter != nil && !slices.Contains(strings.Split(p.env["PATH"], ":"), localBin) {
		p.env["PATH"] = localBin + ":" + p.env["PATH"]
	}
	for _, k := range slices.Sorted(maps.Keys(p.env)) {
		p.state = p.state.AddEnv(k, p.env[k])
	}
	if b.Workdir != "" {
		p.workdir = b.Workdir
		p.state = p.state.Dir(b.Workdir)
	}
	if b.Interpreter != nil {
		p.addInterpreter(b.Interpreter)
	}
	p.base = p.state
}

// addInterpreter copies a Python and has it run once, so that an image that it doesn't fit says so here, and install its own pip.
func (p *planner) addInterpreter(i *Interpreter) {
	name := "add " + i.Name
	n := p.number(Step{Name: name})
	from := bk.OCILayout("skerry.local/python@"+i.Digest, bk.OCIStore("", BaseStore), bk.WithCustomName("read "+i.Name))
	p.state = p.state.File(bk.Copy(from, "/usr/local", "/usr/local", &bk.CopyInfo{CopyDirContentsOnly: true, CreateDestPath: true}),
		p.fileOptions(n, name)...)
	python := localBin + "/python" + i.Series
	p.run("set up "+i.Name, "if command -v ldconfig >/dev/null; then ldconfig; fi; "+
		python+" -c 'import ctypes, hashlib, ssl, zlib' && "+python+" -m ensurepip --default-pip", nil)
}
