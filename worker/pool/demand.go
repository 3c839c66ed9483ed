package pool

import "time"

const (
	// span is the time over which starts are counted that come one behind the other.
	span = 10 * time.Second
	// kept is how long what was the most counts, and after how long without a start one box is enough.
	kept = 5 * time.Minute
	// forgotten is after how long without a start there is none.
	forgotten = 30 * time.Minute
	// quiet is how long after a start others come first: only a shelf that is less than half full is filled, with one box at a time.
	quiet = time.Second
	// few is how many wait for the first start after another.
	few = 2
)

// demand is how boxes of a class are asked for. Now is always an argument.
type demand struct {
	starts []time.Time // within span before the last
	peak   int         // most starts within a span
	peakAt time.Time
}

// note counts a start.
func (d *demand) note(now time.Time) {
	old := 0
	for old < len(d.starts) && now.Sub(d.starts[old]) > span {
		old++
	}
	d.starts = append(d.starts[old:], now)
	if len(d.starts) >= d.peak || now.Sub(d.peakAt) > kept {
		d.peak, d.peakAt = len(d.starts), now
	}
}

func (d *demand) last() time.Time {
	if len(d.starts) == 0 {
		return time.Time{}
	}
	return d.starts[len(d.starts)-1]
}

// wanted is how many boxes are to wait: as many as were taken in the busiest time of the last minutes, and a fourth more. Next is when that
// changes if there is no further start; zero: not at all.
func (d *demand) wanted(now time.Time) (n int, next time.Time) {
	last := d.last()
	switch idle := now.Sub(last); {
	case idle > forgotten:
		return 0, time.Time{}
	case idle > kept:
		return 1, last.Add(forgotten)
	}
	if now.Sub(d.peakAt) > kept {
		return max(few, len(d.starts)), last.Add(kept)
	}
	return max(few, d.peak+d.peak/4), d.peakAt.Add(kept)
}
