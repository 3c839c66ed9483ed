package llb_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bk "github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

var update = flag.Bool("update", false, "write the golden files")

var debian = llb.Base{
	Name: "debian bookworm, python 3.11", Digest: "sha256:" + strings.Repeat("1", 64),
	Config: llb.Config{Env: map[string]string{"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}},
}

func steps(actions ...recipe.Action) recipe.Recipe {
	r := recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}}}
	for _, a := range actions {
		r.Steps = append(r.Steps, recipe.Step{Action: a, Number: len(r.Steps) + 1})
	}
	return r
}

// one1 is a recipe of one step.
func one1(s recipe.Step) recipe.Recipe {
	r := steps(s.Action)
	s.Number = 1
	r.Steps[0] = s
	return r
}

// front notes what it is to read, and makes one command of it.
type front struct {
	t    *testing.T
	read strings.Builder
}

func (f *front) Read(_ context.Context, d llb.Dockerfile) (*llb.Read, error) {
	fmt.Fprintf(&f.read, "dockerfile, arguments %v, context %t, config %+v, hostname %s, cache space %s, no cache %t, proxy %+v:\n%s\n",
		d.BuildArgs, d.Context != nil, d.Config, d.Hostname, d.CacheSpace, d.NoCache, d.Proxy, d.Text)
	state := bk.Scratch()
	if d.Before != nil {
		state = *d.Before
	}
	state = state.Run(bk.Args([]string{"it"}), bk.WithCustomName("[2/2] RUN --mount=type=secret,id=skerry-ca,env=X one")).Root()
	return &llb.Read{State: state, Config: llb.Config{Env: map[string]string{"FROM": "front"}, Workdir: "/w", User: "u", Cmd: []string{"c"}}}, nil
}

// text is a plan as people can compare it.
func text(t *testing.T, p *llb.Plan) string {
	t.Helper()
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "step %d of %d: %s\n", i+1, s.RecipeStep, s.Name)
	}
	fmt.Fprintf(&b, "%+v, trees %v, values %v\n", p.Config, p.Trees, p.Values)
	for _, dt := range p.Definition.Def {
		var op pb.Op
		if err := op.UnmarshalVT(dt); err != nil {
			t.Fatal(err)
		}
		raw, err := protojson.Marshal(&op)
		if err != nil {
			t.Fatal(err)
		}
		var v any // protojson changes its spaces from run to run
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		if raw, err = json.MarshalIndent(v, "", "  "); err != nil {
			t.Fatal(err)
		}
		if p.Definition.Metadata[digest.FromBytes(dt)].IgnoreCache {
			b.WriteString("whatever the cache has:\n")
		}
		fmt.Fprintf(&b, "%s\n", raw)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	tree, one := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	full := llb.Options{
		TrustCA: true, Settings: []string{"PIP_INDEX_URL"}, Proxy: llb.Proxy{HTTPS: "http://proxy:3128", No: "localhost"},
		FileTrees: map[string]bool{one: true},
	}
	function := "sha256:" + strings.Repeat("c", 64)
	withFront := func(f *front) llb.Options { o := full; o.FrontEnd = f; return o }
	for name, c := range map[string]struct {
		recipe  recipe.Recipe
		options llb.Options
		base    *llb.Base // nil: debian
	}{
		"registry": {
			recipe.Recipe{
				Base:  recipe.Base{From: &recipe.Registry{Reference: "host/team/app:1"}, Force: true},
				Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: []string{"true"}}, Number: 1}},
			},
			full, &llb.Base{Name: "host/team/app:1", Reference: "host/team/app@sha256:" + strings.Repeat("2", 64), Config: llb.Config{
				Env: map[string]string{"A": "b"}, Workdir: "/work", Entrypoint: []string{"/e"}, Cmd: []string{"c"}, User: "nobody",
			}},
		},
		"add-python": {
			recipe.Recipe{
				Base: recipe.Base{From: &recipe.Registry{Reference: "host/team/app:1", AddPython: "3.12"}},
				// As the builder puts Registry.Setup before the recipe's steps.
				Steps: []recipe.Step{{Action: &recipe.DockerfileCommands{Commands: []string{"RUN setup"}}}},
			},
			withFront(&front{t: t}), &llb.Base{
				Name: "host/team/app:1", Reference: "host/team/app@sha256:" + strings.Repeat("2", 64), Config: llb.Config{Env: map[string]string{"PATH": "/bin"}},
				Interpreter: &llb.Interpreter{Name: "python 3.12.1 of uv", Series: "3.12", Digest: "sha256:" + strings.Repeat("3", 64)},
			},
		},
		"dockerfile-add-python": {
			recipe.Recipe{Base: recipe.Base{From: &recipe.Dockerfile{Text: "FROM debian\n", AddPython: "3.12"}}},
			withFront(&front{t: t}), &llb.Base{
				Interpreter: &llb.Interpreter{Name: "python 3.12.1 of uv", Series: "3.12", Digest: "sha256:" + strings.Repeat("3", 64)},
			},
		},
		"force": {recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}}, Steps: []recipe.Step{
			{Action: &recipe.RunCommands{Commands: []string{"before"}}, Number: 1},
			{Action: &recipe.PipInstall{Packages: []string{"six"}}, Number: 2, Force: true},
			{Action: &recipe.AddLocal{TreeDigest: tree, RemotePath: "/srv"}, Number: 3},
		}}, llb.Options{}, nil},
		"step-env": {one1(recipe.Step{
			Action: &recipe.PipInstall{Packages: []string{"six"}}, BuildEnv: map[string]string{"PIP_INDEX_URL": "https://mine", "HOME": "/h", "B": "it's $B"},
		}), full, nil},
		"scratch": {recipe.Recipe{Base: recipe.Base{From: &recipe.Scratch{}}, Steps: []recipe.Step{
			{Action: &recipe.AddLocal{TreeDigest: tree, RemotePath: "/srv"}, Number: 1},
		}}, llb.Options{}, nil},
		"requirements": {steps(&recipe.PipRequirements{Tree: one, Index: recipe.Index{Pre: true}}), full, nil},
		"private": {one1(recipe.Step{
			Action: &recipe.PipPrivateRepos{
				Repositories: []string{"github.com/o/r@main", "github.com/o/s", "gitlab.com/g/p#subdirectory=x"}, GitUser: "me",
			},
			Secrets: []string{"GITHUB_TOKEN", "GITLAB_TOKEN"},
		}), llb.Options{}, nil},
		"uv-files": {steps(&recipe.UvPipInstall{Packages: []string{"six"}, Tree: tree, Files: []string{"0.txt", "1.txt"}, Version: "0.8.0"}), full, nil},
		"uv-sync": {steps(&recipe.UvSync{
			Tree: tree, Locked: true, Groups: []string{"dev"}, Extras: []string{"gpu"}, Frozen: true, Options: "--no-dev",
		}, &recipe.RunCommands{Commands: []string{"true"}}), full, nil},
		"poetry": {steps(
			&recipe.PoetryInstall{Tree: tree, With: []string{"a", "b"}, Only: []string{"main"}, Version: "latest", OldInstaller: true},
			&recipe.PoetryInstall{Tree: tree, Without: []string{"dev"}},
		), llb.Options{}, nil},
		"micromamba": {steps(&recipe.MicromambaInstall{
			Packages: []string{"curl", "numpy=2"}, Channels: []string{"conda-forge"}, Tree: tree, File: "spec.yml",
		}), llb.Options{}, nil},
		"function": {one1(recipe.Step{
			Action:   &recipe.RunFunction{Name: "m.f", Definition: function, Payload: one, Timeout: 60},
			BuildEnv: map[string]string{"A": "1"}, Secrets: []string{"TOKEN"},
		}), llb.Options{RuntimeID: "1", Parts: map[string]int{one: 2}}, nil},
		"secrets": {one1(recipe.Step{
			Action: &recipe.RunCommands{Commands: []string{"true"}}, Secrets: []string{"A", "PIP_INDEX_URL"}, BuildEnv: map[string]string{"A": "1"},
		}), full, nil},
		"volumes": {one1(recipe.Step{
			Action: &recipe.RunCommands{Commands: []string{"true"}},
			Volumes: []recipe.Volume{
				{ID: "vo-" + strings.Repeat("1", 22), Path: "/data", SubPath: "a"}, {ID: "vo-" + strings.Repeat("2", 22), Path: "/models", ReadOnly: true},
			},
		}), llb.Options{}, nil},
		"configuration": {steps(
			&recipe.Entrypoint{Command: []string{"/e"}}, &recipe.Shell{Command: []string{"/bin/bash", "-c"}}, &recipe.Cmd{Command: []string{"c"}},
			&recipe.RunCommands{Commands: []string{"true"}},
		), llb.Options{}, nil},
		"dockerfile": {recipe.Recipe{Base: recipe.Base{From: &recipe.Dockerfile{
			Text: "FROM debian AS a\nRUN one\nFROM a\nrun  two \\\n  three\nONBUILD RUN four\n", Context: tree,
			BuildArgs: map[string]string{"X": "y"}, BuildEnv: map[string]string{"E": "$f"}, Secrets: []string{"S"},
		}}}, withFront(&front{t: t}), nil},
		"dockerfile-commands": {steps(
			&recipe.Env{Variables: map[string]string{"A": "b"}},
			&recipe.DockerfileCommands{Commands: []string{"RUN one", "COPY x /y"}, Context: tree},
			&recipe.RunCommands{Commands: []string{"after"}},
		), withFront(&front{t: t}), nil},
		"base": {steps(), llb.Options{}, nil},
		"pip": {steps(&recipe.PipInstall{
			Packages: []string{"numpy>=2", "six"},
			Index:    recipe.Index{FindLinks: "/w", IndexURL: "https://i/x?a&b", ExtraIndexURL: "https://e", Pre: true, Options: "--no-deps"},
		}), llb.Options{}, nil},
		"uv": {steps(
			&recipe.UvPipInstall{Packages: []string{"toolz"}, Index: recipe.Index{Pre: true}},
			&recipe.UvPipInstall{Packages: []string{"numpy"}},
		), full, nil},
		"apt":      {steps(&recipe.AptInstall{Packages: []string{"git", "hello=1.0"}}), full, nil},
		"commands": {steps(&recipe.RunCommands{Commands: []string{"echo 'a'\n  echo b", "true"}}), llb.Options{}, nil},
		"env": {steps(
			&recipe.Env{Variables: map[string]string{"B": "2", "A": "it's", "PIP_CERT": "/mine"}}, &recipe.Workdir{Path: "/srv/app"},
			&recipe.RunCommands{Commands: []string{"env"}},
		), full, nil},
		"local": {steps(
			&recipe.AddLocal{TreeDigest: tree, RemotePath: "/srv/data"}, &recipe.AddLocal{TreeDigest: one, RemotePath: "/srv/one.txt"},
		), full, nil},
	} {
		t.Run(name, func(t *testing.T) {
			from := debian
			if c.base != nil {
				from = *c.base
			}
			p, err := llb.New(t.Context(), c.recipe, from, c.options)
			if err != nil {
				t.Fatal(err)
			}
			got := text(t, p)
			if f, ok := c.options.FrontEnd.(*front); ok {
				got = f.read.String() + got
			}
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run with -update if this is meant:\n%s", diff)
			}
		})
	}
}

func TestEveryStepHasAVertex(t *testing.T) {
	r := steps(&recipe.PipInstall{Packages: []string{"six"}}, &recipe.UvPipInstall{Packages: []string{"toolz"}}, &recipe.Workdir{Path: "/x"})
	p, err := llb.New(t.Context(), r, debian, llb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	have := map[int]bool{}
	for _, n := range p.Vertices {
		have[n] = true
	}
	if len(have) != len(p.Steps) || len(p.Steps) != 5 {
		t.Errorf("steps %v, vertices of %v", p.Steps, have)
	}
}

func TestWhatCanNotBePlanned(t *testing.T) {
	tree := "sha256:" + strings.Repeat("a", 64)
	gpu := one1(recipe.Step{Action: &recipe.Cmd{}, GPU: "T4"})
	for name, c := range map[string]struct {
		recipe recipe.Recipe
		kind   error
	}{
		"gpu":        {gpu, fault.Precondition},
		"function":   {steps(&recipe.RunFunction{Name: "f", Payload: tree, Timeout: 1}), fault.Precondition},
		"dockerfile": {steps(&recipe.DockerfileCommands{Commands: []string{"RUN true"}}), fault.Unimplemented},
	} {
		if _, err := llb.New(t.Context(), c.recipe, debian, llb.Options{}); !errors.Is(err, c.kind) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestSecretsAreNowhere checks that nothing of a plan has what is in secrets, whose names alone it knows.
func TestSecretsAreNowhere(t *testing.T) {
	r := one1(recipe.Step{Action: &recipe.RunCommands{Commands: []string{"true"}}, Secrets: []string{"TOKEN"}})
	p, err := llb.New(t.Context(), r, debian, llb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := text(t, p)
	if !strings.Contains(got, `"ID": "skerry-secret-1-TOKEN"`) || strings.Contains(got, "TOKEN=") {
		t.Error(got)
	}
}

// TestForce checks that a forced step and all after it are done again, and none before.
func TestForce(t *testing.T) {
	r := steps(&recipe.RunCommands{Commands: []string{"one"}}, &recipe.RunCommands{Commands: []string{"two"}}, &recipe.Workdir{Path: "/x"})
	r.Steps[1].Force = true
	for _, noCache := range []bool{false, true} {
		p, err := llb.New(t.Context(), r, debian, llb.Options{NoCache: noCache})
		if err != nil {
			t.Fatal(err)
		}
		for dgst, meta := range p.Definition.Metadata {
			n := p.Vertices[string(dgst)]
			if n == 0 || n == 1 {
				continue
			}
			if want := noCache || n > 2; meta.IgnoreCache != want {
				t.Errorf("step %d (no cache: %t): ignores the cache %t, want %t", n, noCache, meta.IgnoreCache, want)
			}
		}
	}
}

// TestSameBytes checks that cache keys don't change from run to run.
func TestSameBytes(t *testing.T) {
	r := steps(
		&recipe.Env{Variables: map[string]string{"A": "1", "B": "2", "C": "3", "D": "4"}}, &recipe.RunCommands{Commands: []string{"env"}})
	r.Steps[1].BuildEnv = map[string]string{"X": "1", "Y": "2", "Z": "3"}
	var first string
	for range 20 {
		p, err := llb.New(t.Context(), r, debian, llb.Options{TrustCA: true, Settings: []string{"B", "A"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, p); first == "" {
			first = got
		} else if got != first {
			t.Fatal(cmp.Diff(first, got))
		}
	}
}
