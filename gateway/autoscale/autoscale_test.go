package autoscale_test

import (
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/autoscale"
)

func TestWanted(t *testing.T) {
	const ms = time.Millisecond
	type load = autoscale.Load
	type limits = autoscale.Limits
	for name, c := range map[string]struct {
		load    load
		limits  limits
		want    int
		recheck time.Duration
	}{
		"nothing":                {load{}, limits{}, 0, 0},
		"nothing, min":           {load{}, limits{Min: 2}, 2, 0},
		"nothing, buffer":        {load{}, limits{Buffer: 3}, 0, 0},
		"one":                    {load{Backlog: 1}, limits{}, 1, 0},
		"one, buffer":            {load{Backlog: 1}, limits{Buffer: 3}, 4, 0},
		"many, unknown":          {load{Backlog: 100}, limits{}, autoscale.Probe, 0},
		"many, short":            {load{Backlog: 1000, Running: 10, Elapsed: 100 * time.Microsecond}, limits{}, 1, autoscale.Recheck},
		"many, some ms":          {load{Backlog: 1000, Elapsed: 5 * ms}, limits{}, 10, 0},
		"many, long":             {load{Backlog: 100, Running: 2, Elapsed: 10 * time.Second}, limits{}, 102, 0},
		"many, long, max":        {load{Backlog: 100, Running: 2, Elapsed: 10 * time.Second}, limits{Max: 7}, 7, 0},
		"none yet, a moment":     {load{Backlog: 98, Running: 2, Ready: 2, Oldest: 20 * ms}, limits{}, 4, autoscale.Recheck},
		"none yet, for a while":  {load{Backlog: 98, Running: 2, Ready: 2, Oldest: 100 * ms}, limits{}, 8, autoscale.Recheck},
		"none yet, longer":       {load{Backlog: 80, Running: 20, Ready: 20, Oldest: 600 * ms}, limits{}, 80, autoscale.Recheck},
		"none yet, to the end":   {load{Backlog: 20, Running: 80, Ready: 80, Oldest: 600 * ms}, limits{}, 100, 0},
		"short, but one":         {load{Backlog: 900, Running: 64, Ready: 2, Elapsed: ms / 10, Oldest: 400 * ms}, limits{}, 1, autoscale.Recheck},
		"short, but one at last": {load{Backlog: 900, Running: 64, Ready: 2, Elapsed: ms / 10, Oldest: 600 * ms}, limits{}, 8, autoscale.Recheck},
		"at max, no use to look": {load{Backlog: 98, Running: 2, Ready: 2, Oldest: 100 * ms}, limits{Max: 2}, 2, 0},
		"min over max":           {load{}, limits{Min: 5, Max: 3}, 3, 0},
		"all in one, over the target": {
			load{Running: 100, Ready: 1, Oldest: 600 * ms, Per: 10}, limits{}, 4, autoscale.Recheck},
		"all in one, at the target": {load{Running: 10, Ready: 1, Oldest: 600 * ms, Per: 10}, limits{}, 1, 0},
		"shared, long":              {load{Backlog: 50, Running: 50, Ready: 5, Elapsed: time.Minute, Per: 10}, limits{}, 10, 0},
		"single use":                {load{Backlog: 7, Single: true}, limits{Buffer: 1}, 8, 0},
		"single use, max":           {load{Backlog: 7, Single: true}, limits{Max: 3}, 3, 0},
		"just begun":                {load{Backlog: 98, Running: 2, Ready: 2}, limits{}, 2, autoscale.Recheck},
	} {
		t.Run(name, func(t *testing.T) {
			n, recheck := autoscale.Wanted(c.load, c.limits)
			if n != c.want || recheck != c.recheck {
				t.Errorf("%d containers, asked again after %s; want %d, %s", n, recheck, c.want, c.recheck)
			}
		})
	}
}

func TestAhead(t *testing.T) {
	for elapsed, want := range map[time.Duration]int{
		0: 0, time.Microsecond: 32, 2 * time.Millisecond: 4, 9 * time.Millisecond: 4, 10 * time.Millisecond: 0, time.Hour: 0,
	} {
		if n := autoscale.Ahead(elapsed); n != want {
			t.Errorf("%s: %d ahead, want %d", elapsed, n, want)
		}
	}
}

func TestLearn(t *testing.T) {
	e := autoscale.Learn(0, 0)
	if e == 0 {
		t.Error("an input that took no time is unknown")
	}
	e = autoscale.Learn(0, time.Second)
	if e != time.Second {
		t.Errorf("the first input tells %s", e)
	}
	for range 40 {
		e = autoscale.Learn(e, time.Millisecond)
	}
	if e > 2*time.Millisecond {
		t.Errorf("after 40 short inputs: %s", e)
	}
}
