package server_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// TestImagesThatAreThere goes on from an image's content, knowing nothing of how it was made: what it holds and how its steps run is as if they
// had followed at once, and what can't be made again is not made again.
func TestImagesThatAreThere(t *testing.T) {
	s, b := start(t, config(t))
	first, err := s.Build(t.Context(), build.Request{Recipe: slim(
		recipe.Step{Action: &recipe.RunCommands{Commands: []string{
			"date +%s%N > /stamp; ln /stamp /again; chown 7:8 /stamp; chmod 4755 /stamp; ln -s stamp /link",
		}}},
		recipe.Step{Action: &recipe.Env{Variables: map[string]string{"KEPT": "kept"}}},
		recipe.Step{Action: &recipe.Shell{Command: []string{"/bin/bash", "-c"}}},
		recipe.Step{Action: &recipe.Workdir{Path: "/srv"}},
	)}, &recorder{t: t})
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{t: t}
	look := `stat -c '%a %u %g %h' /stamp; readlink /link; [[ $KEPT == kept ]] && pwd; cp /stamp /copy`
	second, err := s.Build(t.Context(), build.Request{Recipe: recipe.Recipe{
		Base: recipe.Base{From: &recipe.Existing{
			File: first.EROFS, Chunked: true, Env: first.Env, Workdir: first.Workdir, Shell: first.Shell, User: first.User,
		}},
		Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: []string{look}}}},
	}}, rec)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"4755 7 8 2", "stamp", "/srv"}, rec.lines); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(first.Env, second.Env); diff != "" {
		t.Error(diff)
	}
	stamp := `print(open("/stamp").read())`
	one, other := boot(t, b.whole(t, first.EROFS), stamp), boot(t, b.whole(t, second.EROFS), stamp)
	if one == "" || one != other {
		t.Errorf("stamps %q and %q", one, other)
	}
}
