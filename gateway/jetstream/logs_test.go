package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/logs"
)

func entry(app, fn, container string, at time.Time, text string) logs.Entry {
	return logs.Entry{
		Time: at.UTC(), Source: logs.Stdout, Text: text, ContainerID: container,
		Origin: logs.Origin{AppID: app, FunctionID: fn, FunctionName: "name of " + fn},
	}
}

func read(t *testing.T, l *jetstream.Logs, s logs.Selection) (all []logs.Entry) {
	t.Helper()
	last := logs.Position(0)
	err := l.Read(t.Context(), s, false, func(entries []logs.Entry, after logs.Position) error {
		if after <= last {
			t.Errorf("position %d after %d", after, last)
		}
		last = after
		all = append(all, entries...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLogs(t *testing.T) {
	l := open(t, flowtest.Config(t, t.TempDir())).Logs()
	old, now := time.Now().Add(-time.Hour), time.Now()
	a := []logs.Entry{entry("ap-1", "fu-1", "ta-1", old, "one\n"), entry("ap-1", "fu-1", "ta-1", now, "two")}
	b := []logs.Entry{entry("ap-1", "fu-2", "ta-2", now, "three\n")}
	system := []logs.Entry{{Time: now.UTC(), Source: logs.System, Text: "four\n", Origin: logs.Origin{AppID: "ap-1"}}}
	other := []logs.Entry{entry("ap-2", "fu-3", "ta-3", now, "five\n")}
	for _, entries := range [][]logs.Entry{a, b, system, other} {
		if err := l.Append(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
	}
	join := func(lists ...[]logs.Entry) (all []logs.Entry) {
		for _, list := range lists {
			all = append(all, list...)
		}
		return all
	}
	for name, c := range map[string]struct {
		selection logs.Selection
		want      []logs.Entry
	}{
		"app":       {logs.Selection{AppID: "ap-1"}, join(a, b, system)},
		"function":  {logs.Selection{AppID: "ap-1", FunctionID: "fu-2"}, b},
		"container": {logs.Selection{AppID: "ap-1", ContainerID: "ta-1"}, a},
		"since":     {logs.Selection{AppID: "ap-1", Since: now.Add(-time.Minute)}, join(a[1:], b, system)},
		"nothing":   {logs.Selection{AppID: "ap-3"}, nil},
		"future":    {logs.Selection{AppID: "ap-1", Since: now.Add(time.Hour)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, read(t, l, c.selection)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLogsFollow(t *testing.T) {
	l := open(t, flowtest.Config(t, t.TempDir())).Logs()
	write := func(text string) {
		t.Helper()
		if err := l.Append(t.Context(), []logs.Entry{entry("ap-1", "fu-1", "ta-1", time.Now(), text)}); err != nil {
			t.Fatal(err)
		}
	}
	write("before")
	ctx, cancel := context.WithCancel(t.Context())
	got, ended := make(chan string, 10), make(chan error, 1)
	go func() {
		ended <- l.Read(ctx, logs.Selection{AppID: "ap-1"}, true, func(entries []logs.Entry, _ logs.Position) error {
			for _, e := range entries {
				got <- e.Text
			}
			return nil
		})
	}()
	for _, text := range []string{"before", "after", "and after"} {
		if text != "before" {
			write(text)
		}
		if g := <-got; g != text {
			t.Errorf("got %q, want %q", g, text)
		}
	}
	end, err := l.End(t.Context(), logs.Selection{AppID: "ap-1"})
	if err != nil || end == 0 {
		t.Errorf("end %d, error %v", end, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}

// TestLogsLimit drops the oldest entries, and says from when on all are there.
func TestLogsLimit(t *testing.T) {
	cfg := flowtest.Config(t, t.TempDir())
	cfg.LogsMaxBytes = 4 << 20
	l := open(t, cfg).Logs()
	write := func(n int) {
		t.Helper()
		for range n {
			if err := l.Append(t.Context(), []logs.Entry{entry("ap-1", "fu-1", "ta-1", time.Now(), strings.Repeat("x", 100_000))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(10)
	if at, err := l.Removed(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("removed before %s, %v", at, err)
	}
	write(50)
	at, err := l.Removed(t.Context())
	if err != nil || at.IsZero() {
		t.Fatalf("removed before %s, %v", at, err)
	}
	kept := read(t, l, logs.Selection{AppID: "ap-1"})
	if len(kept) < 30 || len(kept) > 41 || kept[0].Time.After(at) {
		t.Errorf("%d entries are kept, the first of %s; said %s", len(kept), kept[0].Time, at)
	}
	if last, err := l.Last(t.Context(), logs.Selection{AppID: "ap-1"}); err != nil || last.Before(kept[len(kept)-1].Time) {
		t.Errorf("last %s, %v", last, err)
	}
}

// TestLogsLarge appends more than one message takes.
func TestLogsLarge(t *testing.T) {
	dir := t.TempDir()
	e := open(t, flowtest.Config(t, dir))
	var want []logs.Entry
	for i := range 100 {
		want = append(want, entry("ap-1", "fu-1", fmt.Sprintf("ta-%d", i/50), time.Now(), strings.Repeat("x", 20_000)))
	}
	if err := e.Logs().Append(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	shut(t, e)
	if d := cmp.Diff(want, read(t, open(t, flowtest.Config(t, dir)).Logs(), logs.Selection{AppID: "ap-1"})); d != "" {
		t.Error(d)
	}
}
