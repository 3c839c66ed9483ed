package server_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// treeOf stores files by name; one named "." is a tree that is one file.
func (b blobs) treeOf(t *testing.T, files map[string]string) []build.File {
	t.Helper()
	var out []build.File
	for name, content := range files {
		out = append(out, build.File{Path: name, Blob: b.put(t, content), Mode: 0o644})
	}
	return out
}

func digestN(n int) string { return fmt.Sprintf("sha256:%064d", n) }

func slim(steps ...recipe.Step) recipe.Recipe {
	return recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}}, Steps: steps}
}

// TestInstallers has the Python installers install something real; Poetry a project without dependencies: it asks the package index by an
// interface that not every mirror has.
func TestInstallers(t *testing.T) {
	s, b := start(t, config(t))
	r := build.Request{
		ImageID: "im-installers",
		Recipe: slim(
			recipe.Step{Action: &recipe.PipRequirements{Tree: digestN(1)}},
			recipe.Step{Action: &recipe.UvPipInstall{Tree: digestN(2), Files: []string{"0.txt"}}},
			recipe.Step{Action: &recipe.PoetryInstall{Tree: digestN(3), Version: "1.8.5"}},
			recipe.Step{Action: &recipe.UvSync{Tree: digestN(4), Groups: []string{"more"}}},
		),
		Trees: map[string][]build.File{
			digestN(1): b.treeOf(t, map[string]string{".": "six\n"}),
			digestN(2): b.treeOf(t, map[string]string{"0.txt": "toolz\n"}),
			digestN(3): b.treeOf(t, map[string]string{"pyproject.toml": `[tool.poetry]
name = "x"
version = "0.1.0"
description = ""
authors = []
[tool.poetry.dependencies]
python = "^3.11"
[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
`}),
			digestN(4): b.treeOf(t, map[string]string{
				"pyproject.toml": "[project]\nname = \"x\"\nversion = \"0.1\"\nrequires-python = \">=3.11\"\ndependencies = [\"attrs\"]\n" +
					"[dependency-groups]\nmore = [\"iniconfig\"]\n",
			}),
		},
	}
	img, err := s.Build(t.Context(), r, &recorder{t: t})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(img.Env["PATH"], "/.uv/.venv/bin:") {
		t.Errorf("PATH %q", img.Env["PATH"])
	}
	path := b.whole(t, img.EROFS)
	out := boot(t, path, `
import os, subprocess, sys
import six, toolz
print(subprocess.check_output(["/.uv/.venv/bin/python", "-c", "import attr, iniconfig; print('synced')"]).decode().strip())
print(os.path.exists("/run/skerry"), os.path.exists("/tmp/skerry-poetry"))`)
	if out != "synced\nFalse False\n" {
		t.Errorf("container said\n%s", out)
	}
}

// TestDockerfiles has BuildKit's front end read Dockerfiles: one to begin with, of several stages, and commands on what is there.
func TestDockerfiles(t *testing.T) {
	s, b := start(t, config(t))
	r := build.Request{
		ImageID: "im-dockerfile",
		Recipe: slim(
			recipe.Step{Action: &recipe.Env{Variables: map[string]string{"FIRST": "1"}}},
			recipe.Step{
				Action: &recipe.DockerfileCommands{
					Commands: []string{
						"# syntax=example.invalid/front:end", "ARG WHO", "ENV SECOND=2", "COPY in.txt /srv/", "WORKDIR /srv",
						"RUN test \"$TOKEN\" = hidden && test \"$ONLY\" = here && echo \"$FIRST $SECOND $WHO $(cat in.txt)\" > out.txt",
						`ENTRYPOINT ["/bin/echo"]`,
					},
					Context: digestN(1), BuildArgs: map[string]string{"WHO": "me"},
				},
				BuildEnv: map[string]string{"ONLY": "here"},
			},
			recipe.Step{Action: &recipe.Shell{Command: []string{"/bin/bash", "-c"}}},
			recipe.Step{Action: &recipe.RunCommands{Commands: []string{`[[ $PWD == /srv && -z "${TOKEN+x}" ]] && echo "$SECOND" >> out.txt`}}},
			recipe.Step{Action: &recipe.Cmd{Command: []string{"sleep", "1"}}},
		),
		Trees:   map[string][]build.File{digestN(1): b.treeOf(t, map[string]string{"in.txt": "content"})},
		Secrets: map[int]map[string]string{2: {"TOKEN": "hidden"}},
	}
	r.Recipe.Steps[1].Secrets = []string{"TOKEN"}
	img, err := s.Build(t.Context(), r, &recorder{t: t})
	if err != nil {
		t.Fatal(err)
	}
	if img.Workdir != "/srv" || img.Env["SECOND"] != "2" || strings.Join(img.Entrypoint, " ") != "/bin/echo" || strings.Join(img.Cmd, " ") != "sleep 1" {
		t.Errorf("got %+v", img)
	}
	path := b.whole(t, img.EROFS)
	if out := boot(t, path, `print(open("/srv/out.txt").read())`); out != "1 2 me content\n2\n\n" {
		t.Errorf("container said %q", out)
	}

	stages := build.Request{Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.Dockerfile{
		Text:    "FROM scratch AS one\nCOPY a.txt /x/\nFROM scratch\nCOPY --from=one /x /y\nENV A=b\n",
		Context: digestN(2),
	}}}, Trees: map[string][]build.File{digestN(2): b.treeOf(t, map[string]string{"a.txt": "a"})}}
	if img, err = s.Build(t.Context(), stages, &recorder{t: t}); err != nil || img.Env["A"] != "b" {
		t.Errorf("got %+v, %v", img, err)
	}

	for name, c := range map[string]struct{ text, want string }{
		"no instruction": {"FROM scratch\nNONSENSE x\n", "line 2"},
		"fetches":        {"FROM scratch\nADD http://169.254.169.254/x /x\n", "ADD http://169.254.169.254/x"},
		"nothing before": {"FROM skerry-before\nRUN true\n", "skerry-before"},
	} {
		bad := build.Request{Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.Dockerfile{Text: c.text}}}}
		_, err := s.Build(t.Context(), bad, &recorder{t: t})
		var f *build.FailedError
		if !errors.As(err, &f) || !strings.Contains(f.Message, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestFailuresNameTheRecipesStep checks that steps and failures say which step of the recipe they belong to, whatever comes before.
func TestFailuresNameTheRecipesStep(t *testing.T) {
	s, _ := start(t, config(t))
	for name, step := range map[string]recipe.Action{
		"command":    &recipe.RunCommands{Commands: []string{"true", "exit 3"}},
		"dockerfile": &recipe.DockerfileCommands{Commands: []string{"RUN true", "RUN exit 3"}},
	} {
		rec := &recorder{t: t}
		_, err := s.Build(t.Context(), build.Request{Recipe: slim(
			recipe.Step{Action: &recipe.PipInstall{}}, // does nothing, and counts
			recipe.Step{Action: &recipe.Env{Variables: map[string]string{"A": "b"}}},
			recipe.Step{Action: step},
		)}, rec)
		var f *build.FailedError
		if !errors.As(err, &f) || f.RecipeStep != 3 || f.ExitCode != 3 || !strings.Contains(f.Command, "exit 3") {
			t.Errorf("%s: got %+v, %v", name, f, err)
			continue
		}
		if last := rec.steps[len(rec.steps)-1]; last.RecipeStep != 3 || last.State != build.Failed {
			t.Errorf("%s: last step %+v", name, last)
		}
	}
}

// TestSecretsStayInTheirStep gives one step a secret: it is in no later step, no file and no image, and another value builds nothing anew.
func TestSecretsStayInTheirStep(t *testing.T) {
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text", "date", "env"))
	c := config(t)
	c.PlainRegistries = []string{host}
	s, b := start(t, c)
	request := func(value string) build.Request {
		return build.Request{
			Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.Registry{Reference: host + "/team/app:1"}}, Steps: []recipe.Step{
				{Action: &recipe.RunCommands{Commands: []string{`test -n "$TOKEN" && date +%N > /made`}}, Secrets: []string{"TOKEN"}},
				{Action: &recipe.RunCommands{Commands: []string{`test -z "${TOKEN+x}" && env > /env`}}},
			}},
			Secrets: map[int]map[string]string{1: {"TOKEN": value}},
		}
	}
	rec := &recorder{t: t}
	img, err := s.Build(t.Context(), request("s3cr3t-one"), rec)
	if err != nil {
		t.Fatal(err)
	}
	path := b.whole(t, img.EROFS)
	if !contains(t, path, "GREETING=hi") {
		t.Error("the second step's environment is not in the image")
	}
	if contains(t, path, "TOKEN=") || contains(t, path, "s3cr3t") || strings.Contains(strings.Join(rec.lines, "\n"), "s3cr3t") {
		t.Error("the secret is in the image or the log")
	}
	again, err := s.Build(t.Context(), request("s3cr3t-two"), &recorder{t: t})
	if err != nil {
		t.Fatal(err)
	}
	if again.EROFS != img.EROFS {
		t.Error("another value of a secret made another image")
	}
}

// TestBuildFunction runs a function in a build.
func TestBuildFunction(t *testing.T) {
	c := config(t)
	c.GuestDir = filepath.Join(filepath.Dir(testbase.Tool(t, "skerry-init")), "guest", "py")
	s, b := start(t, c)
	payload := functionArchive(t, "import os, time\ndef f(name):\n    open('/made', 'w').write(name + os.environ['TOKEN'])\n    print('made it')\n", "x")
	r := build.Request{
		Recipe: slim(recipe.Step{
			Action:  &recipe.RunFunction{Name: "m.f", Definition: digestN(9), Payload: digestN(1), Timeout: 60},
			Secrets: []string{"TOKEN"},
		}),
		Trees:   map[string][]build.File{digestN(1): b.treeOf(t, map[string]string{".": payload})},
		Secrets: map[int]map[string]string{1: {"TOKEN": "!"}},
	}
	rec := &recorder{t: t}
	img, err := s.Build(t.Context(), r, rec)
	if err != nil {
		t.Fatal(err)
	}
	path := b.whole(t, img.EROFS)
	if out := boot(t, path, `import os; print(open("/made").read(), os.path.exists("/__skerry/skerry"))`); out != "x! False\n" {
		t.Errorf("container said %q", out)
	}
	// What is packed is no part of what says whether to run again.
	r.Trees[digestN(1)] = b.treeOf(t, map[string]string{".": functionArchive(t, "def f(name):\n    raise ValueError(name)\n", "no")})
	r.Recipe.Steps = append(r.Recipe.Steps, recipe.Step{Action: &recipe.RunCommands{Commands: []string{"exit 3"}}}) // so that no image is stored
	_, err = s.Build(t.Context(), r, rec)
	var f *build.FailedError
	if !errors.As(err, &f) || f.ExitCode != 3 || rec.last("run function") != build.Cached {
		t.Errorf("got %v, state %d", err, rec.last("run function"))
	}
	r.Recipe.Steps[0].Action = &recipe.RunFunction{Name: "m.f", Definition: digestN(8), Payload: digestN(1), Timeout: 60}
	_, err = s.Build(t.Context(), r, rec)
	if !errors.As(err, &f) || f.ExitCode != 1 || !strings.Contains(strings.Join(f.LastLines, "\n"), "ValueError: no") {
		t.Errorf("got %v", err)
	}
}
