package server_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/base"
	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// TestInterpreterOfTheHost puts a Python that no Debian release has into one: the newest that this host's uv or pyenv has. A host without
// any offers no series beyond Debian's.
func TestInterpreterOfTheHost(t *testing.T) {
	c := config(t)
	debian, _ := base.NewDebian(base.DebianConfig{}).Series()
	c.Interpreters = base.HostFolders(os.LookupEnv)
	s, b := start(t, c)
	all, _ := s.Series()
	more := slices.DeleteFunc(slices.Clone(all), func(series string) bool { return slices.Contains(debian, series) || strings.HasSuffix(series, "t") })
	if len(more) == 0 {
		if !slices.Equal(all, debian) {
			t.Errorf("series %v", all)
		}
		return
	}
	series := more[len(more)-1]
	rec := &recorder{t: t}
	img, err := s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: series}}, Steps: []recipe.Step{
		{Action: &recipe.PipInstall{Packages: []string{"six"}}},
	}}}, rec)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rec.steps, func(s build.Step) bool {
		return strings.HasPrefix(s.Name, "base debian ") && strings.Contains(s.Name, "python "+series+".") && strings.Contains(s.Name, " of ")
	}) {
		t.Errorf("no step says which base it is: %v", rec.steps)
	}
	path := b.whole(t, img.EROFS)
	out := boot(t, path, "import six, ssl, sqlite3, sys, sysconfig; print('%d.%d' % sys.version_info[:2], sys.prefix, sysconfig.get_config_var('prefix'))")
	if want := fmt.Sprintf("%s /usr/local /usr/local\n", series); out != want {
		t.Errorf("container said %q, want %q", out, want)
	}
}
