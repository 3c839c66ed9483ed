package server_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/runtime"
)

// cancelable is a context that ends with the test at the latest.
func cancelable(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

// TestOneLayerOfFive changes each layer of five in turn: it and those after it are run, and those before it are not.
func TestOneLayerOfFive(t *testing.T) {
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text"))
	c := config(t)
	c.PlainRegistries = []string{host}
	s, _ := start(t, c)
	unique := rand.Text()
	// A layer says what no other run of it would.
	layer := func(n int, version string) recipe.Step {
		return recipe.Step{Action: &recipe.RunCommands{Commands: []string{
			fmt.Sprintf(`: layer %d %s %s; read x < /proc/sys/kernel/random/uuid; echo "$x" > /%d; cat /[1-5]`, n, version, unique, n),
		}}}
	}
	five := func(changed int) build.Request {
		r := onTiny(host)
		for n := 1; n <= 5; n++ {
			version := "as it was"
			if n == changed {
				version = "changed"
			}
			r.Recipe.Steps = append(r.Recipe.Steps, layer(n, version))
		}
		return r
	}
	states := func(changed int) (out string, said int) {
		rec := &recorder{t: t}
		if _, err := s.Build(t.Context(), five(changed), rec); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 5; n++ {
			out += map[build.State]string{build.Done: "run ", build.Cached: "cached "}[rec.last(fmt.Sprintf(": layer %d ", n))]
		}
		return strings.TrimSpace(out), len(rec.lines)
	}
	if got, said := states(0); got != "run run run run run" || said != 15 {
		t.Errorf("at first: %s, %d lines", got, said)
	}
	if got, said := states(0); got != "cached cached cached cached cached" || said != 0 {
		t.Errorf("again: %s, %d lines", got, said)
	}
	for changed, want := range map[int]string{1: "run run run run run", 3: "cached cached run run run", 5: "cached cached cached cached run"} {
		lines := 0
		for n := changed; n <= 5; n++ {
			lines += n
		}
		if got, said := states(changed); got != want || said != lines {
			t.Errorf("layer %d changed: %s, %d lines; want %s, %d", changed, got, said, want, lines)
		}
	}
}

// TestStepsHaveTheirShareOfTheCPU finds the kernel's own bound on what a running step may take.
func TestStepsHaveTheirShareOfTheCPU(t *testing.T) {
	for _, under := range []string{"gVisor", "runc"} {
		t.Run(under, func(t *testing.T) {
			host := serveRegistry(t, false)
			push(t, host+"/team/app:1", tinyImage(t, "text"))
			c := config(t)
			c.PlainRegistries, c.Step = []string{host}, runtime.Limits{CPUMilli: 300}
			if under == "runc" {
				c.Runc = runc(t)
			}
			s, _ := start(t, c)
			ctx, cancel := cancelable(t)
			r := onTiny(host, recipe.Step{Action: &recipe.RunCommands{Commands: []string{"echo spinning; while :; do :; done"}}})
			r.NoCache = true
			_, ended := begin(ctx, t, s, r)
			bounds := quotas(t, "skerry_"+c.Instance+"/"+runtime.GroupFolder)
			cancel()
			<-ended
			if len(bounds) == 0 || !slices.Contains(bounds, 0.3) {
				t.Errorf("the step's processes are held to %v cores, want 0.3", bounds)
			}
		})
	}
}

// quotas are the bounds in cores that the kernel holds the processes below a control group to.
func quotas(t *testing.T, group string) (cores []float64) {
	t.Helper()
	lists, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		data, _ := os.ReadFile(list) // the process may have ended
		for line := range strings.Lines(string(data)) {
			_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
			controllers, path, _ := strings.Cut(rest, ":")
			if !strings.Contains(path, group) {
				continue
			}
			for dir := path; strings.Contains(dir, group+"/"); dir = filepath.Dir(dir) {
				switch {
				case slices.Contains(strings.Split(controllers, ","), "cpu"):
					at := filepath.Join("/sys/fs/cgroup/cpu", dir)
					cores = append(cores, ratio(t, read(at, "cpu.cfs_quota_us")+" "+read(at, "cpu.cfs_period_us"))...)
				case controllers == "":
					cores = append(cores, ratio(t, read("/sys/fs/cgroup", dir, "cpu.max"))...)
				}
			}
		}
	}
	return cores
}

// read is what a file holds; nothing where there is none: a controller may not be there, and a process may have ended.
func read(path ...string) string {
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// ratio divides two numbers; nothing where there is no bound.
func ratio(t *testing.T, text string) []float64 {
	t.Helper()
	words := strings.Fields(text)
	if len(words) != 2 || words[0] == "max" || words[0] == "-1" {
		return nil
	}
	var n [2]float64
	for i, w := range words {
		var err error
		if n[i], err = strconv.ParseFloat(w, 64); err != nil {
			t.Fatal(err)
		}
	}
	return []float64{n[0] / n[1]}
}
