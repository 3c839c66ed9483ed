package llb

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	bk "github.com/moby/buildkit/client/llb"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

// planner holds a plan while its steps are added.
type planner struct {
	options Options
	base    bk.State
	state   bk.State
	env     map[string]string
	workdir string
	steps   []Step
	trees   map[string]bool
	uv      map[string]bk.State
	noCache bool
}

func newPlanner(b Base, o Options) *planner {
	p := &planner{options: o, env: maps.Clone(b.Env), trees: map[string]bool{}, uv: map[string]bk.State{}, noCache: o.NoCache}
	if p.env == nil {
		p.env = map[string]string{}
	}
	p.start(b)
	return p
}

// number adds a step and returns its number.
func (p *planner) number(s Step) int {
	p.steps = append(p.steps, s)
	return len(p.steps)
}

// vertex names a vertex and ties it to its step.
func vertex(n int, name string) bk.ConstraintsOpt {
	return bk.WithDescription(map[string]string{nameKey: name, stepKey: strconv.Itoa(n)})
}

func (p *planner) step(s recipe.Step) error {
	switch a := s.Action.(type) {
	case *recipe.PipInstall:
		p.run(pipName("pip install", a.Packages), pipCommand(a), s.BuildEnv)
	case *recipe.UvPipInstall:
		p.uvPipInstall(a, s.BuildEnv)
	case *recipe.AptInstall:
		p.run(pipName("apt-get install", a.Packages), aptCommand(a), s.BuildEnv)
	case *recipe.RunCommands:
		for _, c := range a.Commands {
			p.run(short(c), c, s.BuildEnv)
		}
	case *recipe.Env:
		for _, k := range slices.Sorted(maps.Keys(a.Variables)) {
			p.env[k] = a.Variables[k]
			p.state = p.state.AddEnv(k, a.Variables[k])
		}
	case *recipe.Workdir:
		p.makeDir("workdir "+a.Path, a.Path)
		p.workdir = a.Path
		p.state = p.state.Dir(a.Path)
	case *recipe.AddLocal:
		p.addLocal(a)
	default:
		return fault.New(fault.Unimplemented, "%T: this builder can't do that yet", s.Action)
	}
	return nil
}

// run adds a step that runs a command in a shell.
func (p *planner) run(name, command string, buildEnv map[string]string, extra ...bk.RunOption) {
	n := p.number(Step{Name: name, Command: command})
	opts := append(p.runOptions(buildEnv), extra...)
	opts = append(opts, shell(command), vertex(n, name))
	if p.noCache {
		opts = append(opts, bk.IgnoreCache)
	}
	p.state = p.state.Run(opts...).Root()
}

func shell(command string) bk.RunOption { return bk.Args([]string{"/bin/sh", "-c", command}) }

// runOptions are what every command gets: variables that the image doesn't set itself, then the step's own; certificates; settings.
func (p *planner) runOptions(buildEnv map[string]string) []bk.RunOption {
	env := maps.Clone(stepEnv)
	if p.options.TrustCA {
		for _, name := range caVariables {
			env[name] = caPath
		}
	}
	maps.DeleteFunc(env, func(name, _ string) bool { _, set := p.env[name]; return set })
	maps.Copy(env, buildEnv)
	var opts []bk.RunOption
	for _, k := range slices.Sorted(maps.Keys(env)) {
		opts = append(opts, bk.AddEnv(k, env[k]))
	}
	if p.options.TrustCA {
		opts = append(opts, bk.AddSecret(caPath, bk.SecretID(CASecret), bk.SecretFileOpt(0, 0, 0o444)))
	}
	for _, name := range slices.Sorted(slices.Values(p.options.Settings)) {
		if _, own := buildEnv[name]; own {
			continue
		}
		opts = append(opts, bk.AddSecret(name, bk.SecretID(SettingSecret+name), bk.SecretAsEnv(true), bk.SecretAsEnvName(name)))
	}
	if x := p.options.Proxy; x != (Proxy{}) {
		opts = append(opts, bk.WithProxy(bk.ProxyEnv{HTTPProxy: x.HTTP, HTTPSProxy: x.HTTPS, NoProxy: x.No, AllProxy: x.All}))
	}
	return opts
}

// uvPipInstall installs uv from the package index into a folder of its own, which the step sees read-only and the image never has.
func (p *planner) uvPipInstall(a *recipe.UvPipInstall, buildEnv map[string]string) {
	version := a.Version
	if version == "" {
		version = DefaultUv
	}
	tool, ok := p.uv[version]
	if !ok {
		name := "get uv " + version
		command := "python -m pip install --no-deps --target " + uvMount + " uv==" + version
		n := p.number(Step{Name: name, Command: command})
		opts := append(p.runOptions(nil), shell(command), vertex(n, name))
		tool = p.base.Run(opts...).AddMount(uvMount, bk.Scratch())
		p.uv[version] = tool
	}
	p.run(pipName("uv pip install", a.Packages), uvCommand(a), buildEnv, bk.AddMount(uvMount, tool, bk.Readonly))
}

// epoch is the time of files and folders that we make, so that the same tree gives the same layer.
var epoch = time.Unix(0, 0).UTC()

func (p *planner) fileOptions(n int, name string) []bk.ConstraintsOpt {
	opts := []bk.ConstraintsOpt{vertex(n, name)}
	if p.noCache {
		opts = append(opts, bk.IgnoreCache)
	}
	return opts
}

func (p *planner) makeDir(name, dir string) {
	if dir == "/" {
		return
	}
	n := p.number(Step{Name: name})
	p.state = p.state.File(bk.Mkdir(dir, 0o755, bk.WithParents(true), bk.WithCreatedTime(epoch)), p.fileOptions(n, name)...)
}

func (p *planner) addLocal(a *recipe.AddLocal) {
	name := "add local files at " + a.RemotePath
	if p.options.EmptyTrees[a.TreeDigest] {
		p.makeDir(name, a.RemotePath)
		return
	}
	n := p.number(Step{Name: name})
	p.trees[a.TreeDigest] = true
	// By default a local folder is of one client. Ours is named by its content, so all builds that have it may share it.
	local := bk.Local(LocalName(a.TreeDigest), bk.SharedKeyHint(a.TreeDigest), bk.LocalUniqueID(a.TreeDigest),
		bk.WithCustomName("read local files for "+a.RemotePath))
	src, info := "/", &bk.CopyInfo{CopyDirContentsOnly: true, CreateDestPath: true, ChownOpt: root(), CreatedTime: &epoch}
	if p.options.FileTrees[a.TreeDigest] {
		src, info.CopyDirContentsOnly = "/"+LocalFile, false
	}
	p.state = p.state.File(bk.Copy(local, src, a.RemotePath, info), p.fileOptions(n, name)...)
}

func root() *bk.ChownOpt { return &bk.ChownOpt{User: &bk.UserOpt{}, Group: &bk.UserOpt{}} }

// pipName names an installing step by its packages.
func pipName(what string, packages []string) string {
	return short(what + " " + strings.Join(packages, " "))
}

// short is a name of one line and a length that fits a terminal.
func short(s string) string {
	const limit = 120
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-3], "") + "..."
}
