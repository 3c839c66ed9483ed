package cron_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestNext(t *testing.T) {
	for name, c := range map[string]struct {
		expression, zone, after string
		want                    []string
	}{
		"every minute":            {"* * * * *", "", "2026-01-01T00:00:30Z", []string{"2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"}},
		"on the minute is past":   {"5 * * * *", "", "2026-01-01T00:05:00Z", []string{"2026-01-01T01:05:00Z"}},
		"steps":                   {"*/20 8-9 * * *", "", "2026-01-01T08:30:00Z", []string{"2026-01-01T08:40:00Z", "2026-01-01T09:00:00Z", "2026-01-01T09:20:00Z", "2026-01-01T09:40:00Z", "2026-01-02T08:00:00Z"}},
		"names":                   {"0 9 * jan,MAR mon-wed", "", "2026-01-28T10:00:00Z", []string{"2026-03-02T09:00:00Z", "2026-03-03T09:00:00Z", "2026-03-04T09:00:00Z", "2026-03-09T09:00:00Z"}},
		"day of month or of week": {"0 0 13 * fri", "", "2026-02-01T00:00:00Z", []string{"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"}},
		"sunday is 0 and 7":       {"0 0 * * 7", "", "2026-01-01T00:00:00Z", []string{"2026-01-04T00:00:00Z"}},
		"leap day":                {"0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		"in a zone":               {"30 9 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", []string{"2026-01-01T04:00:00Z"}},
		// The clocks of Berlin skip from 2 to 3 on 29 March 2026, and show 2 to 3 twice on 25 October.
		"skipped time is due when it is skipped":   {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"time that comes twice is due once":        {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"every half hour over the skipped hour":    {"*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", []string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
		"every half hour over the doubled hour":    {"*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"}},
		"the day's end over the change":            {"0 0 * * *", "Europe/Berlin", "2026-03-28T22:30:00Z", []string{"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}},
		"new york, forward":                        {"15 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", []string{"2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"}},
		"new york, back":                           {"15 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", []string{"2026-11-01T05:15:00Z", "2026-11-02T06:15:00Z"}},
		"half an hour's change (Lord Howe)":        {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		"from within the second showing of a time": {"45 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:45:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := cron.Parse(c.expression, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range c.want {
				next, ok := e.Next(at)
				if got := next.UTC().Format(time.RFC3339); !ok || got != want {
					t.Fatalf("due time %d is %s, want %s", i, got, want)
				}
				at = next
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"* * * *": "4 fields", "60 * * * *": "minute", "* 24 * * *": "hour", "* * 0 * *": "day of month", "* * * 13 *": "month",
		"* * * * 8": "day of week", "5-1 * * * *": "ends before", "*/0 * * * *": "step", "a * * * *": "minute", "0 0 30 2 *": "no such day",
		"@daily": "1 fields", "": "0 fields",
	} {
		if _, err := cron.Parse(text, ""); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want one that says %q", text, err, says)
		}
	}
	for _, zone := range []string{"Mars/Olympus", "Local", "../etc/passwd"} {
		if _, err := cron.Parse("* * * * *", zone); !errors.Is(err, fault.Invalid) {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
}
