package autoscale

import "time"

// Recent remembers how many containers were wanted lately. What was wanted a moment ago is likely to be wanted again: containers are given
// up only that were not wanted for a whole window, so that a lull of a moment costs none. It is not safe for concurrent use.
type Recent struct {
	wants []want // in order of time, each of less than the one before; the last one is now's
}

// want is a number that holds from a time until the next want's.
type want struct {
	since time.Time
	n     int
}

// Note says that n containers are wanted from now on, and returns the most that were wanted at any time of the window that ends now, and
// when that number falls if no more are wanted; the zero time if it does not.
func (r *Recent) Note(now time.Time, n int, window time.Duration) (most int, falls time.Time) {
	since := now
	for len(r.wants) > 0 && r.wants[len(r.wants)-1].n <= n {
		if last := r.wants[len(r.wants)-1]; last.n == n {
			since = last.since
		}
		r.wants = r.wants[:len(r.wants)-1]
	}
	r.wants = append(r.wants, want{since, n})
	for len(r.wants) > 1 && !r.wants[1].since.After(now.Add(-window)) {
		r.wants = r.wants[1:]
	}
	if len(r.wants) > 1 {
		falls = r.wants[1].since.Add(window)
	}
	return r.wants[0].n, falls
}
