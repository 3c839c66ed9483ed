package server_test

import (
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// TestEverySeries makes the base of every Python series and installs into it. Each base takes a minute: at the small size it is the one
// that other tests need as well.
func TestEverySeries(t *testing.T) {
	s, b := start(t, config(t))
	series, _ := s.Series()
	if !testbase.Full() {
		series = []string{"3.11"}
	}
	for _, v := range series {
		t.Run(v, func(t *testing.T) {
			img, err := s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.DebianSlim{Python: v}}, Steps: []recipe.Step{
				{Action: &recipe.PipInstall{Packages: []string{"six"}}}, {Action: &recipe.UvPipInstall{Packages: []string{"toolz"}}},
				{Action: &recipe.AptInstall{Packages: []string{"hello"}}},
			}}}, &recorder{t: t})
			if err != nil {
				t.Fatal(err)
			}
			path := b.whole(t, img.EROFS)
			if out := boot(t, path, "import six, toolz, sys; print('%d.%d' % sys.version_info[:2])"); out != v+"\n" {
				t.Errorf("container said %q", out)
			}
		})
	}
}
