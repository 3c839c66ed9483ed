package recipe

import (
	"slices"
	"testing"
)

func TestBeginnings(t *testing.T) {
	short := Recipe{Base: Base{From: &DebianSlim{Python: "3.11"}}}
	for i := range 5 {
		short.Steps = append(short.Steps, Step{Action: &RunCommands{Commands: []string{string(rune('a' + i))}}, Number: i + 1})
	}
	names := func(r Recipe, base string) []string {
		t.Helper()
		n, err := Beginnings(r, base)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := names(short, "base")
	if len(all) != 6 {
		t.Fatalf("got %v", all)
	}
	changed := Recipe{Base: short.Base, Steps: slices.Clone(short.Steps)}
	changed.Steps[3] = Step{Action: &RunCommands{Commands: []string{"other"}}, Number: 7, Force: true}
	for i, n := range names(changed, "base") {
		if (n == all[i]) != (i <= 3) {
			t.Errorf("beginning %d: %s and %s", i, n, all[i])
		}
	}
	if other := names(short, "another base"); other[0] == all[0] {
		t.Error("bases don't count")
	}
	long := short
	for range 100 {
		long.Steps = append(long.Steps, Step{Action: &Workdir{Path: "/w"}})
	}
	if got := names(long, "base"); len(got) != maxBeginnings || got[5] != all[5] || len(slices.Compact(slices.Clone(got))) != maxBeginnings {
		t.Errorf("got %v", got)
	}
}
