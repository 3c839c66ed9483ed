package llb

import (
	"strconv"
	"strings"

	bk "github.com/moby/buildkit/client/llb"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// pythonStep adds a step that installs Python packages, and says whether it was one.
func (p *planner) pythonStep(action recipe.Action, b stepBuild) bool {
	switch a := action.(type) {
	case *recipe.PipInstall:
		p.run(packageName("pip install", a.Packages), pipCommand(recipe.QuoteAll(a.Packages), a.Index), b)
	case *recipe.PipRequirements:
		p.run("pip install -r requirements.txt", pipCommand("-r "+filesMount+"/"+LocalFile, a.Index), b, p.files(a.Tree))
	case *recipe.PipPrivateRepos:
		p.run("apt-get install git, where it is missing", "command -v git >/dev/null || { "+aptCommand([]string{"git"})+"; }", stepBuild{env: b.env})
		p.run(packageName("pip install", a.Repositories), privateCommand(a), b)
	case *recipe.UvPipInstall:
		name, extra := packageName("uv pip install", a.Packages), []bk.RunOption{p.uvTool(a.Version)}
		if len(a.Files) > 0 {
			name, extra = packageName("uv pip install -r requirements.txt", a.Packages), append(extra, p.files(a.Tree))
		}
		p.run(name, uvCommand(a), b, extra...)
	case *recipe.UvSync:
		p.run("uv sync", uvSyncCommand(a), b, p.uvTool(a.Version), p.files(a.Tree))
		p.setEnv("PATH", join(":", uvProject+"/.venv/bin", p.path()))
	case *recipe.PoetryInstall:
		if a.Version != "" {
			p.run("pip install poetry", "python -m pip install "+recipe.Quote(poetryPackage(a.Version)), b)
		}
		p.run("poetry install", poetryCommand(a), b, p.files(a.Tree))
	case *recipe.MicromambaInstall:
		var extra []bk.RunOption
		if a.File != "" {
			extra = append(extra, p.files(a.Tree))
		}
		p.run(packageName("micromamba install", a.Packages), micromambaCommand(a), b, extra...)
	default:
		return false
	}
	return true
}

// files lets a step see a tree, which the image never has.
func (p *planner) files(tree string) bk.RunOption {
	return bk.AddMount(filesMount, p.local(tree, "read local files"), bk.Readonly)
}

// path is the PATH of the image.
func (p *planner) path() string {
	if path := p.config.Env["PATH"]; path != "" {
		return path
	}
	return defaultPath
}

// uvTool installs uv from the package index into a folder of its own, which steps see read-only and the image never has.
func (p *planner) uvTool(version string) bk.RunOption {
	if version == "" {
		version = DefaultUv
	}
	tool, ok := p.uv[version]
	if !ok {
		name := "get uv " + version
		command := "python -m pip install --no-deps --target " + uvMount + " uv==" + version
		n := p.number(Step{Name: name, Command: command})
		opts := append(p.runOptions(stepBuild{}), bk.Args([]string{"/bin/sh", "-c", command}), vertex(n, name))
		tool = p.base.Run(opts...).AddMount(uvMount, bk.Scratch())
		p.uv[version] = tool
	}
	return bk.AddMount(uvMount, tool, bk.Readonly)
}

func pipCommand(what string, i recipe.Index) string {
	return join(" ", "python -m pip install", what, indexFlags(i, "--pre"))
}

// privateCommand gives git the token by a helper that reads it from the environment, so that it is in no argument and no URL.
func privateCommand(a *recipe.PipPrivateRepos) string {
	var lines, refs []string
	for _, host := range []struct{ name, variable string }{{"github.com", "GITHUB_TOKEN"}, {"gitlab.com", "GITLAB_TOKEN"}} {
		var found bool
		for _, r := range a.Repositories {
			if strings.HasPrefix(r, host.name+"/") {
				refs, found = append(refs, "git+https://"+r), true
			}
		}
		if !found {
			continue
		}
		n := strconv.Itoa(len(lines) / 2)
		helper := `!f() { echo username=` + a.GitUser + `; echo "password=$` + host.variable + `"; }; f`
		lines = append(lines, `: "${`+host.variable+`:?give a secret that has it}"`,
			"export GIT_CONFIG_KEY_"+n+"=credential.https://"+host.name+".helper GIT_CONFIG_VALUE_"+n+"="+recipe.Quote(helper))
	}
	lines = append(lines, "export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_COUNT="+strconv.Itoa(len(lines)/2),
		pipCommand(recipe.QuoteAll(refs), a.Index))
	return strings.Join(lines, "; ")
}

func uvCommand(a *recipe.UvPipInstall) string {
	var files []string
	for _, f := range a.Files {
		files = append(files, "-r "+recipe.Quote(filesMount+"/"+f))
	}
	return join(" ", uvMount+`/bin/uv pip install --system --python "$(command -v python)" --compile-bytecode`,
		recipe.QuoteAll(a.Packages), strings.Join(files, " "), indexFlags(a.Index, "--prerelease allow"))
}

// uvProject is where a synced project's environment is.
const uvProject = "/.uv"

func uvSyncCommand(a *recipe.UvSync) string {
	flags := []string{
		"mkdir -p " + uvProject + " && cp " + filesMount + "/* " + uvProject + "/ &&",
		uvMount + "/bin/uv sync --project=" + uvProject + " --no-install-workspace --compile-bytecode",
		`--python "$(command -v python || command -v python3)"`,
	}
	for _, g := range a.Groups {
		flags = append(flags, "--group="+recipe.Quote(g))
	}
	for _, e := range a.Extras {
		flags = append(flags, "--extra="+recipe.Quote(e))
	}
	if a.Frozen && a.Locked {
		flags = append(flags, "--frozen")
	}
	return join(" ", append(flags, a.Options)...)
}

func poetryPackage(version string) string {
	if version == "latest" {
		return "poetry"
	}
	return "poetry==" + version
}

// poetryCommand works on a copy: Poetry writes beside pyproject.toml.
func poetryCommand(a *recipe.PoetryInstall) string {
	const dir = "/tmp/skerry-poetry"
	lines := []string{
		"mkdir -p " + dir, "cp " + filesMount + "/* " + dir + "/", "cd " + dir,
		"export POETRY_VIRTUALENVS_CREATE=false POETRY_CACHE_DIR=" + dir + "/.cache",
	}
	if a.OldInstaller {
		lines = append(lines, "export POETRY_EXPERIMENTAL_NEW_INSTALLER=false")
	}
	install := []string{"poetry install --no-root --no-interaction --compile"}
	for _, f := range []struct {
		name   string
		groups []string
	}{{"--with", a.With}, {"--without", a.Without}, {"--only", a.Only}} {
		if len(f.groups) > 0 {
			install = append(install, f.name+" "+recipe.Quote(strings.Join(f.groups, ",")))
		}
	}
	return strings.Join(append(lines, strings.Join(install, " "), "cd /", "rm -rf "+dir), " && ")
}

func micromambaCommand(a *recipe.MicromambaInstall) string {
	words := []string{"micromamba install --yes --name base", recipe.QuoteAll(a.Packages)}
	if a.File != "" {
		words = append(words, "--file "+recipe.Quote(filesMount+"/"+a.File))
	}
	for _, c := range a.Channels {
		words = append(words, "--channel "+recipe.Quote(c))
	}
	return join(" ", words...) + " && micromamba clean --all --yes"
}
