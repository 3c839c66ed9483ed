package server_test

import (
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// TestEverySeries makes the base of every Python series and installs into it.
func TestEverySeries(t *testing.T) {
	if !testbase.Full() {
		t.Skip("each base takes a minute; `make test-full` makes them all")
	}
	s, b := start(t, config(t))
	series, _ := s.Series()
	for _, v := range series {
		t.Run(v, func(t *testing.T) {
			img, err := s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{Base: recipe.Base{Python: v}, Steps: []recipe.Step{
				{Action: &recipe.PipInstall{Packages: []string{"six"}}}, {Action: &recipe.UvPipInstall{Packages: []string{"toolz"}}},
				{Action: &recipe.AptInstall{Packages: []string{"hello"}}},
			}}}, &recorder{t: t})
			if err != nil {
				t.Fatal(err)
			}
			path, _ := b.LocalPath(img.EROFS.Digest)
			if out := boot(t, path, "import six, toolz, sys; print('%d.%d' % sys.version_info[:2])"); out != v+"\n" {
				t.Errorf("container said %q", out)
			}
		})
	}
}
