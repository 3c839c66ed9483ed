package server_test

import (
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// TestEverySeries makes the base of every Python series and installs into it. Each base takes a minute: at the small size it is the one
// that TestBuilds installs more into, and pip alone installs.
func TestEverySeries(t *testing.T) {
	s, b := start(t, config(t))
	series, _ := s.Series()
	if !testbase.Full() {
		series = []string{"3.11"}
	}
	for _, v := range series {
		t.Run(v, func(t *testing.T) {
			steps := []recipe.Step{{Action: &recipe.PipInstall{Packages: []string{"six"}}}}
			imports := "six, sys"
			if testbase.Full() {
				steps = append(steps, recipe.Step{Action: &recipe.UvPipInstall{Packages: []string{"toolz"}}},
					recipe.Step{Action: &recipe.AptInstall{Packages: []string{"hello"}}})
				imports = "six, toolz, sys"
			}
			img, err := s.Build(t.Context(), build.Request{
				Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: v}}, Steps: steps},
			}, &recorder{t: t})
			if err != nil {
				t.Fatal(err)
			}
			path := b.whole(t, img.EROFS)
			if out := boot(t, path, "import "+imports+"; print('%d.%d' % sys.version_info[:2])"); out != v+"\n" {
				t.Errorf("container said %q", out)
			}
		})
	}
}
