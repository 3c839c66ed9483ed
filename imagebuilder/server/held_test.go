package server_test

import (
	"errors"
	"fmt"
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

// TestStagesDoNotAllRunAtOnce has a Dockerfile of many stages, none of which needs another: each step may use what one step may, so not all may
// run at a time.
func TestStagesDoNotAllRunAtOnce(t *testing.T) {
	const stages, most = 6, 4
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text", "sleep", "date"))
	c := config(t)
	c.PlainRegistries, c.Builds = []string{host}, 1
	s, _ := start(t, c)
	text, copies := "", ""
	for i := range stages {
		text += fmt.Sprintf("FROM %s/team/app:1 AS s%d\nRUN from=$(date +%%s%%N); sleep 2; echo \"ran $from $(date +%%s%%N)\" > /%d; cat /%d\n", host, i, i, i)
		copies += fmt.Sprintf("COPY --from=s%d /%d /%d\n", i, i, i)
	}
	rec := &recorder{t: t}
	_, err := s.Build(t.Context(), build.Request{NoCache: true, Recipe: recipe.Recipe{
		Base: recipe.Base{From: &recipe.Dockerfile{Text: text + "FROM " + host + "/team/app:1\n" + copies + "RUN exit 3\n"}},
	}}, rec)
	if f := new(build.FailedError); !errors.As(err, &f) || f.ExitCode != 3 {
		t.Fatal(err)
	}
	var from, to []int64
	for _, line := range rec.lines {
		var a, b int64
		if _, err := fmt.Sscanf(line, "ran %d %d", &a, &b); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		from, to = append(from, a), append(to, b)
	}
	if len(from) != stages {
		t.Fatalf("%d stages ran", len(from))
	}
	for _, moment := range from {
		n := 0
		for i := range from {
			if from[i] <= moment && moment < to[i] {
				n++
			}
		}
		if n > most {
			t.Errorf("%d steps ran at a time, want %d at most", n, most)
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
