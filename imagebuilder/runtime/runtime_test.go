package runtime

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCalls(t *testing.T) {
	c := Config{Runsc: "/bin/runsc", State: "/run/x"}
	const first = "/bin/runsc --root=/run/x --platform=systrap --network=sandbox --overlay2=none --ignore-cgroups "
	for call, want := range map[string]string{
		"--log /l --log-format json run --bundle /b --keep id": "run --bundle=/b id",
		"--log=/l --log-format=json delete id":                 "delete --force id",
		"--root /other kill id 9":                              "kill id 9",
		"exec --process /p --pid-file /f --detach id":          "exec --process=/p --pid-file=/f --detach id",
	} {
		got, rest, err := parseConfig(append(c.Command(), strings.Fields(call)...))
		if err != nil {
			t.Fatal(err)
		}
		k, err := parseCall(rest)
		if err != nil {
			t.Fatal(err)
		}
		argv, err := got.argv(k)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first+want, strings.Join(argv, " ")); diff != "" {
			t.Errorf("%s:\n%s", call, diff)
		}
	}
}

func TestLimitsKeepControlGroups(t *testing.T) {
	c := Config{Runsc: "/bin/runsc", State: "/run/x", Limits: Limits{MemoryBytes: 1 << 20, Cgroup: "/skerry_x/build"}}
	got, _, err := parseConfig(append(c.Command(), "run"))
	if err != nil || got.Limits != c.Limits {
		t.Fatalf("got %+v, %v", got, err)
	}
	argv, err := got.argv(call{command: "run", bundle: "/b"})
	if err != nil || strings.Contains(strings.Join(argv, " "), "ignore-cgroups") {
		t.Errorf("got %v, %v", argv, err)
	}
}

func TestUnknownCallsAreRefused(t *testing.T) {
	if _, err := parseCall([]string{"run", "--new-option", "x"}); err == nil {
		t.Error("unknown option taken")
	}
	if _, err := parseCall([]string{"run", "--bundle"}); err == nil {
		t.Error("option without its value taken")
	}
	if _, err := (Config{}).argv(call{command: "checkpoint"}); err == nil {
		t.Error("unknown command taken")
	}
	if code := Main([]string{"--runsc=relative", "--", "run"}); code != failed {
		t.Errorf("exit code %d", code)
	}
}
