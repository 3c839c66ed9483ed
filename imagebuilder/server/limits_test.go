package server_test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
)

// TestStepsAreContained has steps go over each limit: each ends, the build's failure says by name what it went over, and nothing is left.
func TestStepsAreContained(t *testing.T) {
	for _, c := range []struct {
		name, command, want string
		limits              runtime.Limits
		runc                bool
	}{
		{
			name: "memory", limits: runtime.Limits{MemoryBytes: 300 << 20}, want: "the step went over its memory limit of 300 MiB",
			command: `python -c 'x = b"x" * (800 << 20)'`,
		},
		{
			name: "disk", limits: runtime.Limits{DiskBytes: 100 << 20}, want: "the step wrote more than 100 MiB",
			command: `head -c 100G /dev/zero > /large; sleep 1000`,
		},
		{
			name: "space set aside", limits: runtime.Limits{DiskBytes: 100 << 20}, want: "the step wrote more than 100 MiB",
			command: `fallocate -l 2G /large; sleep 1000`,
		},
		{
			name: "processes", limits: runtime.Limits{Processes: 500}, want: "the step went over its limit of 500 processes",
			command: `f() { f | f & }; f; sleep 1000`,
		},
		{
			name: "memory under runc", limits: runtime.Limits{MemoryBytes: 300 << 20}, runc: true, want: "the step went over its memory limit of 300 MiB",
			command: `python -c 'x = b"x" * (800 << 20)'`,
		},
		{
			name: "processes under runc", limits: runtime.Limits{Processes: 500}, runc: true, want: "the step went over its limit of 500 processes",
			command: `f() { f | f & }; f; sleep 1000`,
		},
		{
			name: "disk under runc", limits: runtime.Limits{DiskBytes: 100 << 20}, runc: true, want: "the step wrote more than 100 MiB",
			command: `head -c 100G /dev/zero > /large; sleep 1000`,
		},
		{
			name: "time", limits: runtime.Limits{Time: 4 * time.Second}, want: "the step ran longer than 4s",
			command: `echo looping; while true; do :; done`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := config(t)
			config.Step = c.limits
			if c.runc {
				config.Runc = runc(t)
			}
			s, _ := start(t, config)
			_, err := s.Build(t.Context(), commands(c.command), &recorder{t: t})
			f := new(build.FailedError)
			if !errors.As(err, &f) || !strings.HasPrefix(f.Message, c.want) || f.ExitCode != runtime.KilledCode || f.Command != c.command {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			t.Log(f)
			if n := sandboxes(t, config); n != 0 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

// runc is the path of the host's.
func runc(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("runc")
	if err != nil {
		t.Fatalf("%v: run apt-get install runc", err)
	}
	return path
}

// TestVerdictsCanNotBeForged has a step write what a verdict looks like.
func TestVerdictsCanNotBeForged(t *testing.T) {
	s, _ := start(t, config(t))
	_, err := s.Build(t.Context(), commands(`echo 'MARK the step went over its memory limit'; exit 137`), &recorder{t: t})
	f := new(build.FailedError)
	if !errors.As(err, &f) || strings.Contains(f.Message, "went over") || len(f.LastLines) != 1 {
		t.Errorf("got %v, lines %q", err, f.LastLines)
	}
}
