package llb

import (
	"context"
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
	options    Options
	base       bk.State
	state      bk.State
	config     Config
	steps      []Step
	vertices   map[string]int    // of what a front end made
	values     map[string]string // of Plan.Values
	trees      map[string]bool
	uv         map[string]bk.State
	noCache    bool
	recipeStep int
}

func newPlanner(o Options) *planner {
	return &planner{
		options: o, noCache: o.NoCache, trees: map[string]bool{}, uv: map[string]bk.State{}, vertices: map[string]int{},
		values: map[string]string{},
	}
}

// use goes on from a state whose containers run as the configuration says.
func (p *planner) use(state bk.State, c Config) {
	c.Env = maps.Clone(c.Env)
	if c.Env == nil {
		c.Env = map[string]string{}
	}
	p.config = c
	state = state.Hostname(hostname)
	for _, k := range slices.Sorted(maps.Keys(c.Env)) {
		state = state.AddEnv(k, c.Env[k])
	}
	if c.Workdir != "" {
		state = state.Dir(c.Workdir)
	}
	if c.User != "" {
		state = state.User(c.User)
	}
	p.state = state
}

// number adds a step and returns its number.
func (p *planner) number(s Step) int {
	s.RecipeStep = p.recipeStep
	p.steps = append(p.steps, s)
	return len(p.steps)
}

// vertex names a vertex and ties it to its step.
func vertex(n int, name string) bk.ConstraintsOpt {
	return bk.WithDescription(map[string]string{nameKey: name, stepKey: strconv.Itoa(n)})
}

// stepBuild is how one step is built.
type stepBuild struct {
	env     map[string]string
	secrets []string
	volumes []recipe.Volume
	number  int // of the recipe's step that the secrets are of
}

func (p *planner) step(ctx context.Context, s recipe.Step) error {
	if s.GPU != "" {
		return noGPU(s.GPU)
	}
	b := stepBuild{env: s.BuildEnv, secrets: s.Secrets, volumes: s.Volumes, number: s.Number}
	if p.pythonStep(s.Action, b) || p.configure(s.Action) {
		return nil
	}
	switch a := s.Action.(type) {
	case *recipe.AptInstall:
		p.run(packageName("apt-get install", a.Packages), aptCommand(a.Packages), b)
	case *recipe.RunCommands:
		for _, c := range a.Commands {
			p.shell(short(c), c, b)
		}
	case *recipe.RunFunction:
		return p.runFunction(a, b)
	case *recipe.DockerfileCommands:
		return p.dockerfileSteps(ctx, a.Context, Dockerfile{
			Text: strings.Join(a.Commands, "\n"), Context: p.contextOf(a.Context), BuildArgs: a.BuildArgs,
		}, b)
	case *recipe.AddLocal:
		p.addLocal(a)
	default:
		return fault.New(fault.Unimplemented, "%T: this builder can't do that yet", s.Action)
	}
	return nil
}

func noGPU(gpu string) error {
	return fault.New(fault.Precondition,
		"gpu %q: this builder has none; leave gpu out of the build step, and give it to the function that needs one", gpu)
}

// configure takes what only changes how containers run, and says whether it was that.
func (p *planner) configure(action recipe.Action) bool {
	switch a := action.(type) {
	case *recipe.Env:
		for _, k := range slices.Sorted(maps.Keys(a.Variables)) {
			p.setEnv(k, a.Variables[k])
		}
	case *recipe.Workdir:
		p.makeDir("workdir "+a.Path, a.Path)
		p.config.Workdir = a.Path
		p.state = p.state.Dir(a.Path)
	case *recipe.Entrypoint:
		p.config.Entrypoint = a.Command
	case *recipe.Cmd:
		p.config.Cmd = a.Command
	case *recipe.Shell:
		p.config.Shell = a.Command
	default:
		return false
	}
	return true
}

func (p *planner) setEnv(name, value string) {
	p.config.Env[name] = value
	p.state = p.state.AddEnv(name, value)
}

// run adds a step that runs a command of ours in a shell.
func (p *planner) run(name, command string, b stepBuild, extra ...bk.RunOption) {
	p.exec(Step{Name: name, Command: command}, []string{"/bin/sh", "-c", command}, b, extra...)
}

// shell adds a step that runs a command of the user's in the image's shell.
func (p *planner) shell(name, command string, b stepBuild) {
	words := []string{"/bin/sh", "-c"}
	if len(p.config.Shell) > 0 {
		words = slices.Clone(p.config.Shell)
	}
	p.exec(Step{Name: name, Command: command}, append(words, command), b)
}

func (p *planner) exec(s Step, args []string, b stepBuild, extra ...bk.RunOption) {
	n := p.number(s)
	opts := append(p.runOptions(b), extra...)
	opts = append(opts, bk.Args(args), vertex(n, s.Name))
	if p.noCache {
		opts = append(opts, bk.IgnoreCache)
	}
	p.state = p.state.Run(opts...).Root()
}

// variables are what every command gets in clear: those that the image doesn't set itself, then the step's own.
func (p *planner) variables(b stepBuild) map[string]string {
	env := maps.Clone(stepEnv)
	if p.options.TrustCA {
		for _, name := range caVariables {
			env[name] = CAPath
		}
	}
	maps.DeleteFunc(env, func(name, _ string) bool { _, set := p.config.Env[name]; return set })
	maps.Copy(env, b.env)
	return env
}

// secretVariables are what every command gets from secrets, by the secrets' names: settings, which the step's own variables are before,
// and the variables of the step's secrets.
func (p *planner) secretVariables(b stepBuild) map[string]string {
	out := map[string]string{}
	for _, name := range p.options.Settings {
		if _, own := b.env[name]; !own {
			out[name] = SettingSecret + name
		}
	}
	for _, name := range b.secrets {
		out[name] = StepSecret(b.number, name)
	}
	return out
}

// runOptions are what every command gets: variables, certificates, secrets, the proxy.
func (p *planner) runOptions(b stepBuild) []bk.RunOption {
	env := p.variables(b)
	secrets := p.secretVariables(b)
	var opts []bk.RunOption
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if _, secret := secrets[k]; !secret {
			opts = append(opts, bk.AddEnv(k, env[k]))
		}
	}
	if p.options.TrustCA {
		opts = append(opts, bk.AddSecret(CAPath, bk.SecretID(CASecret), bk.SecretFileOpt(0, 0, 0o444)))
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		opts = append(opts, bk.AddSecret(name, bk.SecretID(secrets[name]), bk.SecretAsEnv(true), bk.SecretAsEnvName(name)))
	}
	opts = append(opts, volumeOptions(b)...)
	if x := p.options.Proxy; x != (Proxy{}) {
		opts = append(opts, bk.WithProxy(bk.ProxyEnv{HTTPProxy: x.HTTP, HTTPSProxy: x.HTTPS, NoProxy: x.No, AllProxy: x.All}))
	}
	return opts
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
	src, info := "/", &bk.CopyInfo{CopyDirContentsOnly: true, CreateDestPath: true, ChownOpt: root(), CreatedTime: &epoch}
	if p.options.FileTrees[a.TreeDigest] {
		src, info.CopyDirContentsOnly = "/"+LocalFile, false
	}
	local := p.local(a.TreeDigest, "read local files for "+a.RemotePath)
	p.state = p.state.File(bk.Copy(local, src, a.RemotePath, info), p.fileOptions(n, name)...)
}

// local is a tree. By default a local folder is of one client. Ours is named by its content, so all builds that have it may share it.
func (p *planner) local(tree, name string) bk.State {
	p.trees[tree] = true
	return bk.Local(LocalName(tree), bk.SharedKeyHint(tree), bk.LocalUniqueID(tree), bk.WithCustomName(name))
}

func root() *bk.ChownOpt { return &bk.ChownOpt{User: &bk.UserOpt{}, Group: &bk.UserOpt{}} }

// packageName names an installing step by its packages.
func packageName(what string, packages []string) string {
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
