package llb

import (
	"context"
	"slices"
	"strings"

	bk "github.com/moby/buildkit/client/llb"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// defaultPath is where programs are in images that don't say.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// localBin is where an interpreter's programs are.
const localBin = "/usr/local/bin"

// start begins with what a recipe starts from.
func (p *planner) start(ctx context.Context, from recipe.Source, b Base) error {
	if d, ok := from.(*recipe.Dockerfile); ok {
		if err := p.dockerfileBase(ctx, d); err != nil {
			return err
		}
	} else {
		p.begin(b)
	}
	if b.Interpreter != nil {
		if path := p.path(); !slices.Contains(strings.Split(path, ":"), localBin) {
			p.setEnv("PATH", localBin+":"+path)
		}
		p.addInterpreter(b.Interpreter)
	}
	p.base = p.state
	return nil
}

// begin begins with an image that is there.
func (p *planner) begin(b Base) {
	name := "base " + b.Name
	n := p.number(Step{Name: name})
	state := bk.Scratch()
	switch {
	case b.Reference != "":
		state = bk.Image(b.Reference, vertex(n, name))
	case b.Digest != "":
		state = bk.OCILayout("skerry.local/base@"+b.Digest, bk.OCIStore("", BaseStore), vertex(n, name))
	}
	p.use(state, b.Config)
	if p.config.Env["PATH"] == "" && b.Reference != "" {
		p.setEnv("PATH", defaultPath)
	}
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
		python+" -c 'import ctypes, hashlib, ssl, zlib' && "+python+" -m ensurepip --default-pip", stepBuild{})
}
