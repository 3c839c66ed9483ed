package server_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/server"
)

// wheel is a Python package with one module, which has its version.
func wheel(t *testing.T, name, version, needs string) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	info := name + "-" + version + ".dist-info/"
	metadata := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	if needs != "" {
		metadata += "Requires-Dist: " + needs + "\n"
	}
	for _, f := range [][2]string{
		{name + ".py", "version = '" + version + "'\n"}, {info + "METADATA", metadata},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n"},
	} {
		file, err := w.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// packages are those of three places: wheels to find, an index and another index. One has a pre-release, and one needs what nobody has.
func packages(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	index := func(dir, name string, wheels ...[2]string) {
		page := ""
		for _, w := range wheels {
			file := name + "-" + w[0] + "-py3-none-any.whl"
			files[dir+"/"+name+"/"+file] = w[1]
			page += `<a href="` + file + `">` + file + "</a>\n"
		}
		files[dir+"/"+name+"/index.html"] = "<!DOCTYPE html><html><body>" + page + "</body></html>"
	}
	files["wheels/skfound-1.0-py3-none-any.whl"] = wheel(t, "skfound", "1.0", "sknowhere")
	index("simple", "skindexed", [2]string{"1.0", wheel(t, "skindexed", "1.0", "")}, [2]string{"2.0rc1", wheel(t, "skindexed", "2.0rc1", "")})
	index("extra", "skextra", [2]string{"1.0", wheel(t, "skextra", "1.0", "")})
	return files
}

// TestEveryOptionOfInstallers has pip and uv install from places that only the options name: without any of them there would be a package less.
func TestEveryOptionOfInstallers(t *testing.T) {
	s, b := start(t, config(t))
	options := recipe.Index{
		FindLinks: "/srv/wheels", IndexURL: "file:///srv/simple", ExtraIndexURL: "file:///srv/extra", Pre: true, Options: "--no-deps --target /srv/got",
	}
	names := []string{"skfound", "skindexed", "skextra"}
	show := &recipe.RunCommands{Commands: []string{
		`cd /srv/got && python -c 'import skextra, skfound, skindexed; print(skextra.version, skfound.version, skindexed.version)' && rm -r /srv/got`,
	}}
	r := build.Request{
		NoCache: true,
		Recipe: slim(
			recipe.Step{Action: &recipe.AddLocal{TreeDigest: digestN(1), RemotePath: "/srv"}},
			recipe.Step{Action: &recipe.PipInstall{Packages: names, Index: options}}, recipe.Step{Action: show},
			recipe.Step{Action: &recipe.PipRequirements{Tree: digestN(2), Index: options}}, recipe.Step{Action: show},
			recipe.Step{Action: &recipe.UvPipInstall{Packages: names[:2], Tree: digestN(3), Files: []string{"0.txt"}, Index: options}}, recipe.Step{Action: show},
			// Without options the same place has no pre-release.
			recipe.Step{Action: &recipe.PipInstall{Packages: []string{"skindexed"}, Index: recipe.Index{IndexURL: "file:///srv/simple"}}},
			recipe.Step{Action: &recipe.RunCommands{Commands: []string{`python -c 'import skindexed; print(skindexed.version)'; exit 3`}}},
		),
		Trees: map[string][]build.File{
			digestN(1): b.treeOf(t, packages(t)), digestN(2): b.treeOf(t, map[string]string{".": strings.Join(names, "\n")}),
			digestN(3): b.treeOf(t, map[string]string{"0.txt": names[2]}),
		},
	}
	rec := &recorder{t: t}
	_, err := s.Build(t.Context(), r, rec)
	if f := new(build.FailedError); !errors.As(err, &f) || f.ExitCode != 3 {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(slices.Clone(rec.lines), func(line string) bool { return !strings.HasPrefix(line, "1.0") })
	if want := []string{"1.0 1.0 2.0rc1", "1.0 1.0 2.0rc1", "1.0 1.0 2.0rc1", "1.0"}; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}

// TestPythonIsAddedToAnImageOfARegistry begins with a registry's image for a Python series, puts an interpreter of this host into Debian as a registry gives it, and has setup commands run first. A
// host without interpreters refuses the series by name.
func TestPythonIsAddedToAnImageOfARegistry(t *testing.T) {
	c := config(t)
	c.Interpreters = base.HostFolders(os.LookupEnv)
	debian := base.NewDebian(base.DebianConfig{Dir: filepath.Join(c.DataDir, "bases")})
	im, err := debian.Prepare(t.Context(), "3.11", func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	path, err := layout.FromPath(im.Dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	host := serveRegistry(t, false)
	push(t, host+"/team/debian:3.11", image)
	c.PlainRegistries, c.Bases, c.PythonImage = []string{host}, []string{server.BasesRegistry}, host+"/team/debian:{python}"
	s, _ := start(t, c)
	checkSlim(t, s, "3.11", host+"/team/debian:3.11")
	for _, series := range []string{"3.12", "3.2"} {
		rec := &recorder{t: t}
		_, err = s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{
			Base: recipe.Base{From: &recipe.Registry{
				Reference: host + "/team/debian:3.11", AddPython: series, Setup: []string{"ENV SETUP=ran", "RUN python --version > /setup"},
			}},
			Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: []string{`cat /setup; python --version; echo "setup $SETUP"; python -m pip --version; exit 3`}}}},
		}}, rec)
		f := new(build.FailedError)
		if !errors.As(err, &f) {
			if !strings.Contains(err.Error(), "add_python") || !strings.Contains(err.Error(), series) {
				t.Errorf("python %s: got %v", series, err)
			}
			continue
		}
		said := strings.Join(rec.lines, "\n")
		if f.ExitCode != 3 || strings.Count(said, "Python "+series+".") != 2 || !strings.Contains(said, "setup ran") || !strings.Contains(said, "/usr/local/lib/python"+series) {
			t.Errorf("python %s: %v, said\n%s", series, err, said)
		}
	}
}

// checkSlim has a builder begin with the image of a registry that has a Python series.
func checkSlim(t *testing.T, s *server.Server, series, name string) {
	t.Helper()
	rec := &recorder{t: t}
	_, err := s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{
		Base: recipe.Base{From: &recipe.DebianSlim{Python: series}}, Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: []string{"python --version; exit 3"}}}},
	}}, rec)
	if f := new(build.FailedError); !errors.As(err, &f) || f.ExitCode != 3 || !strings.HasPrefix(strings.Join(rec.lines, "\n"), "Python "+series+".") {
		t.Errorf("python %s: %v, said %q", series, err, rec.lines)
	}
	if len(rec.steps) == 0 || rec.steps[0].Name != "base "+name {
		t.Errorf("no step says that the base is %s: %v", name, rec.steps)
	}
}

// TestDockerfilesOfEveryShape begins with Dockerfiles of several stages, with arguments, what is copied, variables and secrets.
func TestDockerfilesOfEveryShape(t *testing.T) {
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text"))
	c := config(t)
	c.PlainRegistries = []string{host}
	s, b := start(t, c)
	r := build.Request{
		NoCache: true,
		Recipe: recipe.Recipe{
			Base: recipe.Base{From: &recipe.Dockerfile{
				Text: "# syntax=example.invalid/front:end\nARG FROM=nowhere\nFROM ${FROM} AS one\nARG WHO\nCOPY sub /ctx\nRUN read x < /ctx/a.txt; \\\n" +
					"  echo \"$WHO $x $ONLY ${#TOKEN}\" > /made\nRUN <<END\nread x < /made; echo \"$x here\" > /made\nEND\n" +
					"FROM one AS unused\nRUN exit 9\nFROM ${FROM}\nCOPY --from=one /made /got\nENV A=b\nWORKDIR /srv\nENTRYPOINT [\"/bin/cat\"]\n",
				Context: digestN(1), BuildArgs: map[string]string{"FROM": host + "/team/app:1", "WHO": "me"},
				BuildEnv: map[string]string{"ONLY": "only"}, Secrets: []string{"TOKEN"},
			}},
			Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: []string{`cat /got; echo "$A $PWD ${TOKEN-none} ${ONLY-none}"`}}}},
		},
		Trees:   map[string][]build.File{digestN(1): b.treeOf(t, map[string]string{"sub/a.txt": "copied\n"})},
		Secrets: map[int]map[string]string{0: {"TOKEN": "four"}},
	}
	rec := &recorder{t: t}
	img, err := s.Build(t.Context(), r, rec)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"me copied only 4 here", "b /srv none none"}; !slices.Equal(rec.lines, want) {
		t.Errorf("said %q, want %q", rec.lines, want)
	}
	if img.Workdir != "/srv" || !slices.Equal(img.Entrypoint, []string{"/bin/cat"}) || img.Env["A"] != "b" {
		t.Errorf("got %+v", img)
	}
	// An image of nothing but what is copied into it.
	r = build.Request{
		Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.Scratch{}}, Steps: []recipe.Step{
			{Action: &recipe.AddLocal{TreeDigest: digestN(1), RemotePath: "/"}}, {Action: &recipe.Env{Variables: map[string]string{"A": "b"}}},
			{Action: &recipe.Cmd{Command: []string{"/x"}}},
		}}, Trees: r.Trees,
	}
	if img, err = s.Build(t.Context(), r, &recorder{t: t}); err != nil || img.Env["A"] != "b" || !contains(t, b.whole(t, img.EROFS), "copied\n") {
		t.Errorf("got %+v, %v", img, err)
	}
}
