package runtime

import (
	"strings"
	"testing"
	"time"

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

func TestConfigurationsSurviveTheCommandLine(t *testing.T) {
	c := Config{Runc: "/bin/runc", State: "/run/x", Platform: "kvm", Mark: "M", Limits: Limits{
		CPUMilli: 1500, MemoryBytes: 1 << 20, Processes: 5, DiskBytes: 1 << 30, Time: time.Hour, Cgroup: "skerry_x",
	}}
	got, rest, err := parseConfig(append(c.Command(), "run", "--bundle", "/b", "id"))
	if err != nil || got != c {
		t.Fatalf("got %+v, %v", got, err)
	}
	k, err := parseCall(rest)
	if err != nil {
		t.Fatal(err)
	}
	argv, err := got.argv(k)
	if want := "/bin/runc --root=/run/x run --bundle=/b --keep id"; err != nil || strings.Join(argv, " ") != want {
		t.Errorf("got %v, %v", argv, err)
	}
}

func TestVerdict(t *testing.T) {
	for line, want := range map[string][2]string{
		"M the end": {"", "the end"}, "outM the end": {"out", "the end"}, "Mthe end": {"Mthe end", ""}, "x": {"x", ""},
	} {
		own, verdict, ok := Verdict(line, "M")
		if own != want[0] || verdict != want[1] || ok != (verdict != "") {
			t.Errorf("%q: got %q, %q, %v", line, own, verdict, ok)
		}
	}
	if _, _, ok := Verdict(" x", ""); ok {
		t.Error("a verdict without a mark")
	}
}

func TestLimitsInWords(t *testing.T) {
	for want, got := range map[string]string{
		"4 GiB": size(4 << 30), "1.5 GiB": size(3 << 29), "300 MiB": size(300 << 20), "12 bytes": size(12),
		"1h": Duration(time.Hour), "1h5m": Duration(65 * time.Minute), "4s": Duration(4 * time.Second), "1m1s": Duration(61 * time.Second),
		"10m": Duration(10 * time.Minute), "10h": Duration(10 * time.Hour),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
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
