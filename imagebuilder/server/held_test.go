package server_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// onTiny is a request of steps on a small image of a registry.
func onTiny(host string, steps ...recipe.Step) build.Request {
	return build.Request{Recipe: recipe.Recipe{Base: recipe.Base{From: &recipe.Registry{Reference: host + "/team/app:1"}}, Steps: steps}}
}

// dockerfileStep is a step of Dockerfile commands.
func dockerfileStep(commands ...string) recipe.Step {
	return recipe.Step{Action: &recipe.DockerfileCommands{Commands: commands}}
}

// TestDockerfilesAreHeldToTheirStep has commands ask for the host, for secrets that others were given, and for what others have kept.
func TestDockerfilesAreHeldToTheirStep(t *testing.T) {
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text"))
	c := config(t)
	c.PlainRegistries = []string{host}
	s, _ := start(t, c)
	secret := recipe.Step{Action: &recipe.RunCommands{Commands: []string{`test -n "$TOKEN"`}}, Secrets: []string{"TOKEN"}}
	for what, want := range map[string]string{
		"RUN --network=host true":                                                                                                "--network=host: build steps don't get",
		"RUN --security=insecure true":                                                                                           "--security=insecure: build steps don't get",
		"RUN --device=example.com/class=any true":                                                                                "--device",
		"RUN --mount=type=secret,id=skerry-secret-1-TOKEN,target=/t cat /t":                                                      "is not this step's",
		"RUN --mount=type=secret,id=skerry-secret-1-TOKEN,env=STOLEN echo $STOLEN":                                               "is not this step's",
		"RUN --mount=type=secret,id=skerry-secret-0-REGISTRY_PASSWORD,env=X echo $X":                                             "is not this step's",
		"ARG N=skerry-secret-1-TOKEN\nRUN --mount=type=secret,id=$N,env=STOLEN echo $STOLEN":                                     "is not this step's",
		"FROM scratch AS x\nRUN --mount=type=secret,id=skerry-secret-1-TOKEN,env=X true\nFROM skerry-before\nCOPY --from=x / /x": "is not this step's",
	} {
		r := onTiny(host, secret, dockerfileStep(what))
		r.Secrets = map[int]map[string]string{1: {"TOKEN": "hidden"}}
		rec := &recorder{t: t}
		_, err := s.Build(t.Context(), r, rec)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
		if slices.Contains(rec.lines, "hidden") {
			t.Errorf("%s: said the secret", what)
		}
	}

	// A Dockerfile's own secrets, and those of steps before it, are no reason to refuse it.
	own := dockerfileStep(`RUN test "$TOKEN" = hidden && test "$A" = b`)
	own.Secrets, own.BuildEnv = []string{"TOKEN"}, map[string]string{"A": "b"}
	r := onTiny(host, secret, own)
	r.Secrets = map[int]map[string]string{1: {"TOKEN": "hidden"}, 2: {"TOKEN": "hidden"}}
	if _, err := s.Build(t.Context(), r, &recorder{t: t}); err != nil {
		t.Error(err)
	}
}

// TestCacheMountsAreNotShared has a Dockerfile look for what another has kept under the same name.
func TestCacheMountsAreNotShared(t *testing.T) {
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text"))
	c := another(t, config(t))
	c.PlainRegistries = []string{host}
	s, _ := start(t, c)
	const show = `RUN --mount=type=cache,id=pip,target=/c if test -e /c/kept; then cat /c/kept; else echo none; fi; `
	for _, x := range []struct {
		command, want string
		arguments     map[string]string
	}{
		{show + `echo mine > /c/kept; exit 3`, "none", nil},
		{show + `echo mine > /c/kept; exit 3`, "mine", nil}, // the same again
		{show + `exit 3`, "none", nil},                      // another's
		{show + `exit 3`, "none", map[string]string{"BUILDKIT_CACHE_MOUNT_NS": "", "BUILDKIT_SANDBOX_HOSTNAME": "buildkitsandbox"}},
	} {
		step := recipe.Step{Action: &recipe.DockerfileCommands{Commands: []string{x.command}, BuildArgs: x.arguments}}
		// What fails is run again, and no image of it is stored.
		rec := &recorder{t: t}
		_, err := s.Build(t.Context(), onTiny(host, step), rec)
		if f := new(build.FailedError); !errors.As(err, &f) || f.ExitCode != 3 {
			t.Fatal(err)
		}
		if !slices.Equal(rec.lines, []string{x.want}) {
			t.Errorf("%s, arguments %v: said %q, want %q", x.command, x.arguments, rec.lines, x.want)
		}
	}
}

// TestBuildsEnd has builds go on without end while no step of them is over its own limit.
func TestBuildsEnd(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text", "sleep"))
	c := config(t)
	c.PlainRegistries, c.Time = []string{host, silent.Addr().String()}, 5*time.Second
	s, _ := start(t, c)
	for what, r := range map[string]build.Request{
		"a registry that says nothing": fromRegistry(silent.Addr().String()+"/team/app:1", nil),
		"many steps":                   {NoCache: true, Recipe: onTiny(host, recipe.Step{Action: &recipe.RunCommands{Commands: slices.Repeat([]string{"sleep 2"}, 200)}}).Recipe},
	} {
		_, err := s.Build(t.Context(), r, &recorder{t: t})
		f := new(build.FailedError)
		if !errors.As(err, &f) || f.Message != "the build took longer than 5s (the builder's build_total_timeout)" {
			t.Errorf("%s: got %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
}
