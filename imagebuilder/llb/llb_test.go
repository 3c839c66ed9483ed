package llb_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

var update = flag.Bool("update", false, "write the golden files")

var debian = llb.Base{
	Name: "debian bookworm, python 3.11", Digest: "sha256:" + strings.Repeat("1", 64),
	Env: map[string]string{"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
}

func steps(actions ...recipe.Action) recipe.Recipe {
	r := recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}}}
	for _, a := range actions {
		r.Steps = append(r.Steps, recipe.Step{Action: a})
	}
	return r
}

// text is a plan as people can compare it.
func text(t *testing.T, p *llb.Plan) string {
	t.Helper()
	var b strings.Builder
	for i, s := range p.Steps {
		fmt.Fprintf(&b, "step %d: %s\n", i+1, s.Name)
	}
	fmt.Fprintf(&b, "env %v, workdir %q, trees %v\n", p.Env, p.Workdir, p.Trees)
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
	for name, c := range map[string]struct {
		recipe  recipe.Recipe
		options llb.Options
	}{
		"base": {steps(), llb.Options{}},
		"pip": {steps(&recipe.PipInstall{
			Packages: []string{"numpy>=2", "six"},
			Index:    recipe.Index{FindLinks: "/w", IndexURL: "https://i/x?a&b", ExtraIndexURL: "https://e", Pre: true, Options: "--no-deps"},
		}), llb.Options{}},
		"uv": {steps(
			&recipe.UvPipInstall{Packages: []string{"toolz"}, Index: recipe.Index{Pre: true}},
			&recipe.UvPipInstall{Packages: []string{"numpy"}},
		), full},
		"apt":      {steps(&recipe.AptInstall{Packages: []string{"git", "hello=1.0"}}), full},
		"commands": {steps(&recipe.RunCommands{Commands: []string{"echo 'a'\n  echo b", "true"}}), llb.Options{}},
		"env": {steps(
			&recipe.Env{Variables: map[string]string{"B": "2", "A": "it's", "PIP_CERT": "/mine"}}, &recipe.Workdir{Path: "/srv/app"},
			&recipe.RunCommands{Commands: []string{"env"}},
		), full},
		"local": {steps(
			&recipe.AddLocal{TreeDigest: tree, RemotePath: "/srv/data"}, &recipe.AddLocal{TreeDigest: one, RemotePath: "/srv/one.txt"},
		), full},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := llb.New(c.recipe, debian, c.options)
			if err != nil {
				t.Fatal(err)
			}
			got, path := text(t, p), filepath.Join("testdata", name+".golden")
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
	p, err := llb.New(r, debian, llb.Options{})
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

// TestForce checks that a forced step and all after it are done again, and none before.
func TestForce(t *testing.T) {
	r := steps(&recipe.RunCommands{Commands: []string{"one"}}, &recipe.RunCommands{Commands: []string{"two"}}, &recipe.Workdir{Path: "/x"})
	r.Steps[1].Force = true
	for _, noCache := range []bool{false, true} {
		p, err := llb.New(r, debian, llb.Options{NoCache: noCache})
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
		p, err := llb.New(r, debian, llb.Options{TrustCA: true, Settings: []string{"B", "A"}})
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
