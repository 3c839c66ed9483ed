package recipe_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

func with(a recipe.Action) recipe.Recipe {
	return recipe.Recipe{Base: slim("3.11"), Steps: []recipe.Step{{Action: a}}}
}

func slim(python string) recipe.Base { return recipe.Base{From: &recipe.DebianSlim{Python: python}} }

func from(s recipe.Source) recipe.Recipe { return recipe.Recipe{Base: recipe.Base{From: s}} }

func TestValidate(t *testing.T) {
	tree := "sha256:" + strings.Repeat("0", 64)
	volume, other := "vo-"+strings.Repeat("0", 22), "vo-"+strings.Repeat("1", 22)
	for name, c := range map[string]struct {
		recipe recipe.Recipe
		want   string // part of the error; empty: valid
	}{
		"nothing":            {recipe.Recipe{}, "start from"},
		"full version":       {recipe.Recipe{Base: slim("3.11.2")}, "python version"},
		"plain":              {recipe.Recipe{Base: slim("3.11")}, ""},
		"too many steps":     {recipe.Recipe{Base: slim("3.11"), Steps: make([]recipe.Step, 201)}, "at most 200"},
		"no action":          {recipe.Recipe{Base: slim("3.11"), Steps: make([]recipe.Step, 1)}, "step 1"},
		"pip":                {with(&recipe.PipInstall{Packages: []string{"numpy>=2", "a @ https://x/y.whl ; python_version > '3'"}}), ""},
		"pip option":         {with(&recipe.PipInstall{Packages: []string{"--index-url=x"}}), "extra_options"},
		"pip empty":          {with(&recipe.PipInstall{Packages: []string{" "}}), "is empty"},
		"pip line break":     {with(&recipe.PipInstall{Packages: []string{"a\nb"}}), "line break"},
		"index option":       {with(&recipe.PipInstall{Index: recipe.Index{IndexURL: "-x"}}), "index_url"},
		"options line break": {with(&recipe.PipInstall{Index: recipe.Index{Options: "-x\n"}}), "extra_options"},
		"uv version":         {with(&recipe.UvPipInstall{Version: "1; rm"}), "uv_version"},
		"uv":                 {with(&recipe.UvPipInstall{Packages: []string{"toolz"}, Version: "0.13.9"}), ""},
		"apt":                {with(&recipe.AptInstall{Packages: []string{"git=1:2.39.5-0+deb12u2", "libc6:amd64", "g++"}}), ""},
		"apt shell":          {with(&recipe.AptInstall{Packages: []string{"git; true"}}), "debian package"},
		"apt path":           {with(&recipe.AptInstall{Packages: []string{"./x.deb"}}), "debian package"},
		"command":            {with(&recipe.RunCommands{Commands: []string{"echo 'a' | cat\nls"}}), ""},
		"command empty":      {with(&recipe.RunCommands{Commands: []string{""}}), "is empty"},
		"command long":       {with(&recipe.RunCommands{Commands: []string{strings.Repeat("x", recipe.MaxCommand+1)}}), "at most"},
		"env":                {with(&recipe.Env{Variables: map[string]string{"_a1": "any\nthing"}}), ""},
		"env name":           {with(&recipe.Env{Variables: map[string]string{"a=b": ""}}), "environment variable"},
		"env nul":            {with(&recipe.Env{Variables: map[string]string{"a": "\x00"}}), "NUL"},
		"workdir relative":   {with(&recipe.Workdir{Path: "srv"}), "absolute"},
		"workdir dots":       {with(&recipe.Workdir{Path: "/srv/.."}), "absolute"},
		"add local":          {with(&recipe.AddLocal{TreeDigest: tree, RemotePath: "/srv/a b"}), ""},
		"add local to proc":  {with(&recipe.AddLocal{TreeDigest: tree, RemotePath: "/proc/1"}), "not part of an image"},
		"registry": {from(&recipe.Registry{
			Reference: "host.example:5000/a/b-c:1.2@" + tree, Credentials: recipe.GCP, AddPython: "3.14t", Setup: []string{"RUN true"},
		}), ""},
		"registry short":       {from(&recipe.Registry{Reference: "ubuntu"}), ""},
		"registry space":       {from(&recipe.Registry{Reference: "ubuntu 22"}), "image reference"},
		"registry option":      {from(&recipe.Registry{Reference: "--x"}), "image reference"},
		"registry python":      {from(&recipe.Registry{Reference: "ubuntu", AddPython: "3.12.1"}), "add_python"},
		"registry credentials": {from(&recipe.Registry{Reference: "ubuntu", Credentials: 9}), "credentials"},
		"scratch":              {from(&recipe.Scratch{}), ""},
		"micromamba":           {from(&recipe.Micromamba{Python: "3"}), "python version"},
		"dockerfile":           {from(&recipe.Dockerfile{Text: "FROM scratch", Context: tree, BuildArgs: map[string]string{"A": "b"}}), ""},
		"dockerfile empty":     {from(&recipe.Dockerfile{Text: " \n"}), "is empty"},
		"dockerfile argument":  {from(&recipe.Dockerfile{Text: "FROM scratch", BuildArgs: map[string]string{"a-b": ""}}), "environment variable"},
		"requirements":         {with(&recipe.PipRequirements{Tree: tree}), ""},
		"requirements no tree": {with(&recipe.PipRequirements{}), "digest"},
		"private": {with(&recipe.PipPrivateRepos{
			Repositories: []string{"github.com/o/r@v1.0#subdirectory=x", "gitlab.com/g/s/r"}, GitUser: "me",
		}), ""},
		"private host":     {with(&recipe.PipPrivateRepos{Repositories: []string{"example.com/o/r"}, GitUser: "me"}), "repository"},
		"private shell":    {with(&recipe.PipPrivateRepos{Repositories: []string{"github.com/o/r'x"}, GitUser: "me"}), "repository"},
		"private user":     {with(&recipe.PipPrivateRepos{Repositories: []string{"github.com/o/r"}, GitUser: "a:b"}), "git_user"},
		"uv files":         {with(&recipe.UvPipInstall{Tree: tree, Files: []string{"0.txt"}}), ""},
		"uv files path":    {with(&recipe.UvPipInstall{Tree: tree, Files: []string{"../x"}}), "plain name"},
		"uv files no tree": {with(&recipe.UvPipInstall{Files: []string{"0.txt"}}), "digest"},
		"uv sync":          {with(&recipe.UvSync{Tree: tree, Groups: []string{"dev"}, Extras: []string{"a.b"}}), ""},
		"uv sync group":    {with(&recipe.UvSync{Tree: tree, Groups: []string{"a b"}}), "group"},
		"poetry":           {with(&recipe.PoetryInstall{Tree: tree, Version: "latest"}), ""},
		"poetry version":   {with(&recipe.PoetryInstall{Tree: tree, Version: "$(x)"}), "poetry_version"},
		"mamba":            {with(&recipe.MicromambaInstall{Packages: []string{"a=1"}, Channels: []string{"conda-forge"}, Tree: tree, File: "e.yml"}), ""},
		"mamba channel":    {with(&recipe.MicromambaInstall{Channels: []string{"a b"}}), "channel"},
		"function":         {with(&recipe.RunFunction{Name: "m.f", Definition: tree, Payload: tree, Timeout: 3600}), ""},
		"function timeout": {with(&recipe.RunFunction{Name: "m.f", Definition: tree, Payload: tree}), "timeout"},
		"function name":    {with(&recipe.RunFunction{Name: "a\nb", Definition: tree, Payload: tree, Timeout: 1}), "one line"},
		"instructions":     {with(&recipe.DockerfileCommands{Commands: []string{"RUN true"}, Context: tree}), ""},
		"shell":            {with(&recipe.Shell{}), "no words"},
		"entrypoint none":  {with(&recipe.Entrypoint{}), ""},
		"cmd nul":          {with(&recipe.Cmd{Command: []string{"\x00"}}), "NUL"},
		"secret name":      {recipe.Recipe{Base: slim("3.11"), Steps: []recipe.Step{{Action: &recipe.Cmd{}, Secrets: []string{"A-B"}}}}, "secret variable"},
		"gpu":              {recipe.Recipe{Base: slim("3.11"), Steps: []recipe.Step{{Action: &recipe.Cmd{}, GPU: "H100:2"}}}, ""},
		"gpu name":         {recipe.Recipe{Base: slim("3.11"), Steps: []recipe.Step{{Action: &recipe.Cmd{}, GPU: "a b"}}}, "gpu"},
		"volume":           {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: volume, Path: "/v", SubPath: "a/b"}), ""},
		"volume of pip":    {seeing(&recipe.PipInstall{}, recipe.Volume{ID: volume, Path: "/v"}), "only steps that run"},
		"volume id":        {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: "x", Path: "/v"}), "vo-"},
		"volume at root":   {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: volume, Path: "/"}), "not for volumes"},
		"volume over ours": {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: volume, Path: "/run"}), "something of theirs"},
		"volume in ours":   {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: volume, Path: "/__skerry/x"}), "something of theirs"},
		"volume outside":   {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: volume, Path: "/v", SubPath: "../x"}), "sub_path"},
		"volume twice": {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: volume, Path: "/a"}, recipe.Volume{ID: volume, Path: "/b"}),
			"mount it once"},
		"volume in a volume": {seeing(&recipe.RunCommands{Commands: []string{"x"}}, recipe.Volume{ID: volume, Path: "/a"}, recipe.Volume{ID: other, Path: "/a/b"}),
			"in the other"},
		"add local no digest": {with(&recipe.AddLocal{TreeDigest: "x", RemotePath: "/srv"}), "digest"},
	} {
		t.Run(name, func(t *testing.T) {
			err := recipe.Validate(c.recipe)
			if c.want == "" && err != nil {
				t.Errorf("got %v", err)
			}
			if c.want != "" && (!errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestVolumesAreInNamesOfBeginnings has what steps see of volumes count, and steps without any be named as ever.
func TestVolumesAreInNamesOfBeginnings(t *testing.T) {
	name := func(volumes ...recipe.Volume) string {
		names, err := recipe.Beginnings(recipe.Canonical(seeing(&recipe.RunCommands{Commands: []string{"x"}}, volumes...)), "base")
		if err != nil {
			t.Fatal(err)
		}
		return names[1]
	}
	one := recipe.Volume{ID: "vo-" + strings.Repeat("1", 22), Path: "/a"}
	two := recipe.Volume{ID: "vo-" + strings.Repeat("2", 22), Path: "/b"}
	read := one
	read.ReadOnly = true
	if name(one, two) != name(two, one) {
		t.Error("the order of volumes counts")
	}
	seen := map[string]bool{name(): true, name(one): true, name(two): true, name(read): true, name(one, two): true}
	if len(seen) != 5 {
		t.Errorf("%d names of 5", len(seen))
	}
}

func seeing(a recipe.Action, volumes ...recipe.Volume) recipe.Recipe {
	return recipe.Recipe{Base: slim("3.11"), Steps: []recipe.Step{{Action: a, Volumes: volumes}}}
}

func TestCanonical(t *testing.T) {
	got := recipe.Canonical(recipe.Recipe{Base: slim("3.11"), Steps: []recipe.Step{
		{Action: &recipe.PipInstall{Packages: []string{"b", "a", "b"}}, BuildEnv: map[string]string{}},
		{Action: &recipe.PipInstall{}}, {Action: &recipe.AptInstall{}}, {Action: &recipe.RunCommands{}}, {Action: &recipe.Env{}},
		{Action: &recipe.RunCommands{Commands: []string{"b", "a"}}, Force: true},
	}})
	want := recipe.Recipe{Base: slim("3.11"), Steps: []recipe.Step{
		{Action: &recipe.PipInstall{Packages: []string{"a", "b"}}, Number: 1},
		{Action: &recipe.RunCommands{Commands: []string{"b", "a"}}, Number: 6, Force: true},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain", "it's", "a b", "$(x)", "`", "\n", "é", "--x='y'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			t.Skip("no argument holds NUL")
		}
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf %s "+recipe.Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q became %q, %v", s, out, err)
		}
	})
}
