package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// TestFetchesStayOutside has recipes name places of the host, which buildkitd, in the host's network, would fetch from.
func TestFetchesStayOutside(t *testing.T) {
	var asked atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte("metadata")) // the client may have gone
	}))
	defer inside.Close()
	place := strings.TrimPrefix(inside.URL, "http://")
	res, err := http.Get(inside.URL)
	if err != nil || asked.Swap(0) != 1 {
		t.Fatalf("the test's own listener: %v", err)
	}
	_ = res.Body.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusFound))
	defer redirecting.Close()
	c := config(t)
	c.PlainRegistries = []string{strings.TrimPrefix(redirecting.URL, "http://")}
	s, _ := start(t, c)
	add := func(source string) build.Request {
		return build.Request{NoCache: true, Recipe: recipe.Recipe{
			Base:  recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}},
			Steps: []recipe.Step{{Action: &recipe.DockerfileCommands{Commands: []string{"ADD " + source + " /got"}}}},
		}}
	}
	for what, r := range map[string]build.Request{
		"URL":         add(inside.URL + "/latest/meta-data"),
		"redirection": add(redirecting.URL + "/x"),
		"registry":    fromRegistry(place+"/team/app:1", nil),
		"COPY --from": {Recipe: recipe.Recipe{
			Base:  recipe.Base{From: &recipe.DebianSlim{Python: "3.11"}},
			Steps: []recipe.Step{{Action: &recipe.DockerfileCommands{Commands: []string{"COPY --from=" + place + "/team/app:1 / /got"}}}},
		}},
	} {
		_, err := s.Build(t.Context(), r, &recorder{t: t})
		f := new(build.FailedError)
		if err == nil {
			t.Errorf("%s: was fetched", what)
		} else if !errors.As(err, &f) {
			t.Errorf("%s: got %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the host was asked %d times", n)
	}
}
