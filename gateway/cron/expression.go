package cron

import (
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // not every host has the zones

	"github.com/skerry-dev/skerry/internal/fault"
)

// Expression is a cron expression in a time zone: minute, hour, day of month, month, day of week.
//
// A time of day that the clocks skip is due at the moment they skip it; one that they show twice is due the first time. Expressions whose
// hour is "*" or "*/n" go by the hours that pass, so that nothing of them is left out or doubled when the clocks change.
type Expression struct {
	minute, hour, day, month, weekday uint64 // bit n: n is among them
	anyDay, anyWeekday                bool   // written "*": the other one alone decides
	anyHour                           bool   // written "*" or "*/n"
	zone                              *time.Location
}

type field struct {
	name     string
	min, max int
	names    []string // of min and those that follow
}

var fields = []field{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// searchYears is how far ahead a due time is looked for: 29 February may be eight years off.
const searchYears = 9

// Parse reads an expression such as "*/5 8-18 * * mon-fri". An empty zone is UTC. Errors: fault.Invalid, which says what is wrong.
func Parse(text, zone string) (*Expression, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, fault.New(fault.Invalid, "time zone %.64q: unknown; use an IANA name such as Europe/Berlin", zone)
	}
	parts := strings.Fields(text)
	if len(parts) != len(fields) {
		return nil, fault.New(fault.Invalid, "cron %.80q: %d fields, want 5: minute, hour, day of month, month, day of week", text, len(parts))
	}
	e := &Expression{zone: loc}
	for i, set := range []*uint64{&e.minute, &e.hour, &e.day, &e.month, &e.weekday} {
		if *set, err = fields[i].parse(strings.ToLower(parts[i])); err != nil {
			return nil, fault.New(fault.Invalid, "cron %.80q: %w", text, err)
		}
	}
	if e.weekday&(1<<7) != 0 {
		e.weekday |= 1 // both 0 and 7 are Sunday
	}
	e.anyHour = strings.HasPrefix(parts[1], "*")
	e.anyDay, e.anyWeekday = strings.HasPrefix(parts[2], "*"), strings.HasPrefix(parts[4], "*")
	if _, ok := e.Next(time.Now()); !ok {
		return nil, fault.New(fault.Invalid, "cron %.80q: there is no such day", text)
	}
	return e, nil
}

func (f *field) parse(text string) (set uint64, err error) {
	for _, item := range strings.Split(text, ",") {
		span, step, hasStep := strings.Cut(item, "/")
		low, high, err := f.span(span)
		if err != nil {
			return 0, err
		}
		every := 1
		if hasStep {
			if every, err = strconv.Atoi(step); err != nil || every < 1 {
				return 0, fault.New(fault.Invalid, "%s %.40q: want a step of 1 or more behind the /", f.name, item)
			}
			if !strings.ContainsAny(span, "*-") {
				high = f.max // "5/10": from 5 on
			}
		}
		for n := low; n <= high; n += every {
			set |= 1 << n
		}
	}
	return set, nil
}

func (f *field) span(text string) (low, high int, err error) {
	if text == "*" {
		if f.name == "day of week" {
			return 0, 6, nil
		}
		return f.min, f.max, nil
	}
	from, to, isRange := strings.Cut(text, "-")
	if low, err = f.number(from); err != nil {
		return 0, 0, err
	}
	if high = low; isRange {
		if high, err = f.number(to); err != nil {
			return 0, 0, err
		}
	}
	if low > high {
		return 0, 0, fault.New(fault.Invalid, "%s %.40q: the range ends before it begins", f.name, text)
	}
	return low, high, nil
}

func (f *field) number(text string) (int, error) {
	for i, name := range f.names {
		if text == name {
			return f.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.min || n > f.max {
		return 0, fault.New(fault.Invalid, "%s %.40q: want %d to %d", f.name, text, f.min, f.max)
	}
	return n, nil
}

// Next returns the first due time after a moment; false if there is none within some years.
func (e *Expression) Next(after time.Time) (time.Time, bool) {
	if e.anyHour {
		return e.nextPassing(after)
	}
	for wall := civil(after.In(e.zone)).Truncate(time.Minute).Add(time.Minute); ; wall = wall.Add(time.Minute) {
		var ok bool
		if wall, ok = e.nextWall(wall); !ok {
			return time.Time{}, false
		}
		// The first of two moments that the clocks show may have passed already.
		if t := e.moment(wall); t.After(after) {
			return t, true
		}
	}
}

// last returns the last due time that is not after a moment, given one that is not.
func (e *Expression) last(due, at time.Time) time.Time {
	// What follows a moment is later the later the moment is, so the last due time is found by halves.
	for end := at; ; {
		middle := due.Add(end.Sub(due) / 2)
		switch next, ok := e.Next(middle); {
		case ok && !next.After(at):
			due = next
		case middle.After(due):
			end = middle
		default:
			return due
		}
	}
}

// nextPassing goes by the minutes that pass, whatever the clocks do.
func (e *Expression) nextPassing(after time.Time) (time.Time, bool) {
	t := after.Truncate(time.Minute).Add(time.Minute)
	for end := after.AddDate(searchYears, 0, 0); t.Before(end); {
		wall := civil(t.In(e.zone))
		switch {
		case !e.onDay(wall):
			next := wall.AddDate(0, 0, 1).Truncate(24 * time.Hour)
			t = e.moment(next)
		case !has(e.hour, wall.Hour()):
			t = t.Add(time.Duration(60-wall.Minute()) * time.Minute)
		case !has(e.minute, wall.Minute()):
			t = t.Add(time.Minute)
		default:
			return t, true
		}
	}
	return time.Time{}, false
}

// nextWall returns the first time of the clocks, from one on, that the expression names.
func (e *Expression) nextWall(wall time.Time) (time.Time, bool) {
	for end := wall.AddDate(searchYears, 0, 0); wall.Before(end); {
		switch {
		case !e.onDay(wall):
			wall = wall.AddDate(0, 0, 1).Truncate(24 * time.Hour)
		case !has(e.hour, wall.Hour()):
			wall = wall.Truncate(time.Hour).Add(time.Hour)
		case !has(e.minute, wall.Minute()):
			wall = wall.Add(time.Minute)
		default:
			return wall, true
		}
	}
	return time.Time{}, false
}

func (e *Expression) onDay(wall time.Time) bool {
	if !has(e.month, int(wall.Month())) {
		return false
	}
	day, weekday := has(e.day, wall.Day()), has(e.weekday, int(wall.Weekday()))
	if e.anyDay || e.anyWeekday {
		return day && weekday
	}
	return day || weekday
}

func has(set uint64, n int) bool { return set&(1<<n) != 0 }

// civil is what the clocks show, as a time in UTC: a calendar without gaps.
func civil(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is the first moment at which the clocks show a time or, where they skip it, a later one.
func (e *Expression) moment(wall time.Time) time.Time {
	// No zone is further from UTC than 15 hours, and no change of the clocks longer than a day.
	low, high := wall.Add(-40*time.Hour).Unix(), wall.Add(40*time.Hour).Unix()
	for low < high {
		middle := low + (high-low)/2
		if civil(time.Unix(middle, 0).In(e.zone)).Before(wall) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	first := time.Unix(low, 0).In(e.zone)
	// Where the clocks go back the search may have found the second moment.
	for _, back := range []time.Duration{time.Hour, 30 * time.Minute, 2 * time.Hour} {
		if earlier := first.Add(-back); civil(earlier).Equal(wall) {
			return earlier
		}
	}
	return first
}
