package placement_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/gateway/placement"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestChoose(t *testing.T) {
	type needs = placement.Needs
	worker := func(cpu, mem, usedCPU, usedMem uint32) placement.Worker {
		return placement.Worker{Capacity: needs{cpu, mem}, Reserved: needs{usedCPU, usedMem}}
	}
	for name, c := range map[string]struct {
		needs   needs
		workers []placement.Worker
		want    int
		why     string // of the error, where none has room
	}{
		"no workers":    {needs{100, 128}, nil, -1, "no worker is connected"},
		"only one":      {needs{100, 128}, []placement.Worker{worker(1000, 1000, 0, 0)}, 0, ""},
		"exactly fits":  {needs{100, 128}, []placement.Worker{worker(1000, 1000, 900, 872)}, 0, ""},
		"least full":    {needs{100, 128}, []placement.Worker{worker(1000, 1000, 500, 0), worker(1000, 1000, 300, 0)}, 1, ""},
		"memory counts": {needs{100, 100}, []placement.Worker{worker(1000, 1000, 0, 800), worker(1000, 1000, 500, 0)}, 1, ""},
		"larger is emptier": {
			needs{100, 100}, []placement.Worker{worker(1000, 10000, 0, 0), worker(4000, 10000, 0, 0)}, 1, "",
		},
		"tie goes to the first": {needs{1, 1}, []placement.Worker{worker(10, 10, 0, 0), worker(10, 10, 0, 0)}, 0, ""},
		"full": {
			needs{100, 128}, []placement.Worker{worker(1000, 1000, 950, 0), worker(1000, 1000, 0, 900)}, -1,
			"1 of 2 workers short of cpu, 1 of 2 workers short of memory",
		},
		"too large": {needs{5000, 128}, []placement.Worker{worker(1000, 1000, 0, 0)}, -1, "no worker is that large"},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := placement.Choose(&placement.Demand{Needs: c.needs}, c.workers)
			if i != c.want {
				t.Errorf("chose %d, want %d", i, c.want)
			}
			if c.why == "" && err == nil {
				return
			}
			if !errors.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("error %v, want %q", err, c.why)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	workers := []placement.Worker{
		{ID: "wk-a", Capacity: placement.Needs{CPUMilli: 1000, MemoryMiB: 1000}, Labels: map[string]string{"region": "us-east", "cloud": "aws", "preemptible": "true"}},
		{ID: "wk-b", Capacity: placement.Needs{CPUMilli: 1000, MemoryMiB: 1000}, Labels: map[string]string{"region": "eu-west", "cloud": "gcp"}},
		{ID: "wk-c", Capacity: placement.Needs{CPUMilli: 1000, MemoryMiB: 1000}},
	}
	for name, c := range map[string]struct {
		where placement.Where
		want  int
		why   string
	}{
		"anywhere":             {placement.Where{}, 0, ""},
		"region":               {placement.Where{Regions: []string{"eu-west"}}, 1, ""},
		"wider region":         {placement.Where{Regions: []string{"us"}}, 0, ""},
		"no part of a word":    {placement.Where{Regions: []string{"e", "us-e"}}, -1, "in region e or us-e; there are: wk-a (region=us-east"},
		"one of several":       {placement.Where{Regions: []string{"ap", "eu"}}, 1, ""},
		"cloud":                {placement.Where{Clouds: []string{"gcp"}}, 1, ""},
		"not preemptible":      {placement.Where{NonPreemptible: true}, 1, ""},
		"nothing fits at once": {placement.Where{Regions: []string{"us"}, NonPreemptible: true}, -1, "not preemptible"},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := placement.Choose(&placement.Demand{Needs: placement.Needs{CPUMilli: 1, MemoryMiB: 1}, Where: c.where}, workers)
			if i != c.want || (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
				t.Errorf("chose %d, %v; want %d, %q", i, err, c.want, c.why)
			}
		})
	}
}

func TestEvict(t *testing.T) {
	n := func(cpu, memory uint32) placement.Needs { return placement.Needs{CPUMilli: cpu, MemoryMiB: memory} }
	workers := []placement.Worker{
		{ID: "a", Capacity: n(1000, 1000), Reserved: n(1000, 300)},
		{ID: "b", Capacity: n(1000, 1000), Reserved: n(800, 900), Labels: map[string]string{"region": "eu"}},
	}
	held := []placement.Held{
		{"a", n(100, 100)}, {"a", n(500, 100)}, {"b", n(100, 500)}, {"a", n(100, 100)}, {"gone", n(1000, 1000)},
	}
	for name, c := range map[string]struct {
		demand placement.Demand
		want   []int
	}{
		"one on either":          {placement.Demand{Needs: n(300, 100)}, []int{1}},
		"the first is not spare": {placement.Demand{Needs: n(600, 100)}, []int{0, 1}},
		"the first is spare":     {placement.Demand{Needs: n(500, 100)}, []int{1}},
		"place":                  {placement.Demand{Needs: n(100, 500), Where: placement.Where{Regions: []string{"eu"}}}, []int{2}},
		"too large":              {placement.Demand{Needs: n(900, 100)}, nil},
	} {
		if got := placement.Evict(&c.demand, workers, held); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if workers[0].Reserved != n(1000, 300) {
		t.Error("the caller's workers have changed")
	}
}
