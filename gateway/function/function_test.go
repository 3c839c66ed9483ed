package function_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func definition(change func(*function.Definition)) function.Definition {
	d := function.Definition{Name: "f", Module: "m", Qualname: "f", ImageID: ident.New(ident.Image), PythonVersion: "3.11"}
	if change != nil {
		change(&d)
	}
	return d
}

func TestDefaults(t *testing.T) {
	d, err := definition(func(d *function.Definition) {
		d.Timeout, d.Retries, d.Concurrency = time.Minute, &function.Retries{Max: 2}, function.Concurrency{Max: 5}
	}).Checked()
	if err != nil {
		t.Fatal(err)
	}
	if d.StartupTimeout != time.Minute || d.Autoscaler.ScaledownWindow != function.DefaultScaledownWindow || d.Concurrency.Target != 5 {
		t.Errorf("%+v", d)
	}
	if want := (function.Retries{Max: 2, Backoff: 1, MaxDelay: time.Minute}); *d.Retries != want {
		t.Errorf("retries %+v, want %+v", *d.Retries, want)
	}
}

func TestRefusedPolicies(t *testing.T) {
	class := &function.Class{Methods: []function.Method{{Name: "a"}, {Name: "b"}}}
	for says, change := range map[string]func(*function.Definition){
		"max_retries -1":          func(d *function.Definition) { d.Retries = &function.Retries{Max: -1} },
		"initial_delay 1m1s":      func(d *function.Definition) { d.Retries = &function.Retries{InitialDelay: 61 * time.Second} },
		"max_delay 1ms":           func(d *function.Definition) { d.Retries = &function.Retries{MaxDelay: time.Millisecond} },
		"backoff_coefficient 0.5": func(d *function.Definition) { d.Retries = &function.Retries{Backoff: 0.5} },
		"backoff_coefficient NaN": func(d *function.Definition) { d.Retries = &function.Retries{Backoff: math.NaN()} },
		"max_inputs 1001":         func(d *function.Definition) { d.Concurrency.Max = 1001 },
		"target_inputs 3":         func(d *function.Definition) { d.Concurrency = function.Concurrency{Max: 2, Target: 3} },
		"max_batch_size 0":        func(d *function.Definition) { d.Batching = &function.Batching{} },
		"wait_ms 600001": func(d *function.Definition) {
			d.Batching = &function.Batching{Size: 1, Wait: 600_001 * time.Millisecond}
		},
		"scaledown_window 21m":     func(d *function.Definition) { d.Autoscaler.ScaledownWindow = 21 * time.Minute },
		"min_containers 2 is":      func(d *function.Definition) { d.Autoscaler = function.Autoscaler{MinContainers: 2, MaxContainers: 1} },
		"buffer_containers 100001": func(d *function.Definition) { d.Autoscaler.BufferContainers = 100_001 },
		"timeout 500ms":            func(d *function.Definition) { d.Timeout = 500 * time.Millisecond },
		"startup_timeout 25h":      func(d *function.Definition) { d.StartupTimeout = 25 * time.Hour },
		"region or cloud":          func(d *function.Definition) { d.Placement.Regions = []string{"a b"} },
		"at least one second":      func(d *function.Definition) { d.Schedule = &function.Schedule{Period: &function.Period{}} },
		"cron expression or a":     func(d *function.Definition) { d.Schedule = &function.Schedule{} },
		"retries: not for gen":     func(d *function.Definition) { d.Generator, d.Retries = true, &function.Retries{Max: 1} },
		"batching: not for":        func(d *function.Definition) { d.Generator, d.Batching = true, &function.Batching{Size: 1} },
		"batching: a class":        func(d *function.Definition) { d.Class, d.Batching = class, &function.Batching{Size: 1} },
		"schedule: not for cl":     func(d *function.Definition) { d.Class, d.Schedule = class, &function.Schedule{Cron: "* * * * *"} },
		`parameter "p": 65537 bytes`: func(d *function.Definition) {
			large := function.Parameter{Type: function.BytesParameter, Name: "p", Bytes: make([]byte, 64<<10+1)}
			d.Class = &function.Class{Methods: class.Methods, Parameters: []function.ParameterSpec{{Name: "p", Type: large.Type, Default: &large}}}
		},
		"0 remote methods": func(d *function.Definition) { d.Class = &function.Class{} },
	} {
		if _, err := definition(change).Checked(); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func TestDelay(t *testing.T) {
	r := function.Retries{Max: 5, InitialDelay: time.Second, Backoff: 3, MaxDelay: 20 * time.Second}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 3 * time.Second, 3: 9 * time.Second, 4: 20 * time.Second, 1000: 20 * time.Second} {
		if d := r.Delay(n); d != want {
			t.Errorf("retry %d waits %s, want %s", n, d, want)
		}
	}
}

// TestBindings are one for the same parameters, given or by default, in any order.
func TestBindings(t *testing.T) {
	text := func(name, value string) function.Parameter {
		return function.Parameter{Name: name, Type: function.StringParameter, Text: value}
	}
	byDefault := text("b", "x")
	base := definition(func(d *function.Definition) {
		d.Class = &function.Class{
			Methods: []function.Method{{Name: "m"}},
			Parameters: []function.ParameterSpec{
				{Name: "b", Type: function.StringParameter, Default: &byDefault}, {Name: "a", Type: function.StringParameter},
			},
		}
		d.Autoscaler.MinContainers = 3
	})
	var keys []string
	for _, given := range [][]function.Parameter{{text("a", "1")}, {text("a", "1"), text("b", "x")}, {text("b", "x"), text("a", "1")}, {text("a", "2")}} {
		b, err := function.Binding{BaseID: "fu-1", Parameters: given}.Checked(&base)
		if err != nil {
			t.Fatal(err)
		}
		key, err := b.Key()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if keys[0] != keys[1] || keys[1] != keys[2] || keys[2] == keys[3] {
		t.Errorf("keys %v", keys)
	}
	for says, given := range map[string][]function.Parameter{
		"missing required parameter: a":         nil,
		`parameter "a": 65537 bytes, at most`:   {text("a", strings.Repeat("x", 64<<10+1))},
		`parameter "c" was provided but is not`: {text("a", "1"), text("c", "1")},
		`parameter "a": expected str, got int`:  {{Name: "a", Type: function.IntParameter}},
	} {
		if _, err := (function.Binding{BaseID: "fu-1", Parameters: given}).Checked(&base); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

// TestOptionsStack has later options win, fill in the rest from those before, and replace lists.
func TestOptionsStack(t *testing.T) {
	one, two, three := ident.New(ident.Secret), ident.New(ident.Secret), ident.New(ident.Secret)
	first := function.Binding{BaseID: "fu-1", Options: &function.Options{CPUMilli: 500, MemoryMiB: 256, SecretIDs: []string{one, two}, Timeout: time.Minute}}
	got := first.Over(function.Binding{Options: &function.Options{MemoryMiB: 512, SecretIDs: []string{three}, MaxContainers: 4}})
	want := function.Binding{BaseID: "fu-1", Options: &function.Options{
		CPUMilli: 500, MemoryMiB: 512, SecretIDs: []string{three}, Timeout: time.Minute, MaxContainers: 4,
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	d, err := got.Apply(definition(func(d *function.Definition) { d.Autoscaler = function.Autoscaler{MinContainers: 2, MaxContainers: 3} }))
	if err != nil || d.Autoscaler.MinContainers != 0 || d.Autoscaler.MaxContainers != 4 || d.Timeout != time.Minute || d.Resources.CPUMilli != 500 {
		t.Errorf("%+v, %v", d, err)
	}
}
