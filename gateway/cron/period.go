package cron

import (
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
)

// add returns a moment some periods after another, by the calendar of UTC: a day that the month lacks becomes its last.
func add(from time.Time, p *function.Period, times int) time.Time {
	from = from.UTC()
	months := (p.Years*12 + p.Months) * times
	first := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC).AddDate(0, months, 0)
	day := min(from.Day(), first.AddDate(0, 1, -1).Day())
	t := time.Date(first.Year(), first.Month(), day, from.Hour(), from.Minute(), from.Second(), from.Nanosecond(), time.UTC)
	t = t.AddDate(0, 0, (p.Weeks*7+p.Days)*times)
	short := time.Duration(p.Hours)*time.Hour + time.Duration(p.Minutes)*time.Minute + time.Duration(p.Seconds*float64(time.Second))
	return t.Add(short * time.Duration(times))
}

// longest is more than any period of these units takes.
func longest(p *function.Period) time.Duration {
	days := p.Years*366 + p.Months*31 + p.Weeks*7 + p.Days
	return time.Duration(days)*24*time.Hour + time.Duration(p.Hours)*time.Hour + time.Duration(p.Minutes)*time.Minute +
		time.Duration(p.Seconds*float64(time.Second))
}

// nextPeriod returns the first due time after a moment, counted in whole periods from the anchor.
func nextPeriod(p *function.Period, anchor, after time.Time) time.Time {
	return add(anchor, p, periods(p, anchor, after)+1)
}

// periods is how many whole periods from the anchor have passed at a time.
func periods(p *function.Period, anchor, at time.Time) int {
	n := 0
	if length := longest(p); length > 0 && at.After(anchor) {
		n = max(0, int(at.Sub(anchor)/length)-1) // not too many, whatever the calendar
	}
	for !add(anchor, p, n+1).After(at) {
		n++
	}
	return n
}
