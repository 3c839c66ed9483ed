// Package autoscale decides how many containers a function is to have. It is pure: counts and times go in, a number comes out.
package autoscale

import "time"

// What the decisions aim at.
const (
	// DrainTarget is how long the inputs that are there may take to be worked off before another container is worth its start.
	DrainTarget = 500 * time.Millisecond
	// Probe is how many containers are started for many inputs while it is not known how long one takes.
	Probe = 2
	// Recheck is how often it is looked again at inputs that run on and on while others wait.
	Recheck = 100 * time.Millisecond
	// Growth is by how much the containers may multiply at a time where the evidence is an input that has not ended: all might be as
	// long, or one, or the machine was busy for a moment.
	Growth = 4
)

// Load is a moment of a function's work.
type Load struct {
	Backlog int           // inputs that wait
	Running int           // inputs in containers
	Ready   int           // containers that take inputs
	Elapsed time.Duration // how long an input takes; 0: not known
	Oldest  time.Duration // how long the input that has run longest has run; 0: none runs
	Per     int           // inputs that one container is to have at a time; 0: 1
	Single  bool          // a container ends after the inputs it is given; those that have some are not counted in Running
}

// Limits are the user's. Max 0 is none.
type Limits struct{ Min, Max, Buffer int }

// Wanted returns how many containers there are to be, and after how long to ask again if nothing happens before (0: not at all).
//
// One container per input is right for inputs that take long and wrong for short ones, of which a container works off thousands in the
// time that another takes to start. So as many are wanted as work off all inputs within DrainTarget. How long an input takes is what the
// past says. Where there is no past, or it is contradicted by an input that does not end, the number grows step by step.
func Wanted(l Load, m Limits) (n int, recheck time.Duration) {
	work := shares(l.Backlog+l.Running, l.Per)
	switch {
	case l.Single:
		n = shares(l.Backlog, l.Per)
		if l.Backlog+l.Running > 0 {
			n += m.Buffer
		}
	case work > 0:
		n = enough(work, l.Elapsed)
		if (l.Backlog > 0 || l.crowded()) && l.Running > 0 && n < work {
			n = max(n, grown(&l, work))
			if n < work {
				recheck = Recheck
			}
		}
		n += m.Buffer
	}
	n = max(n, m.Min)
	if m.Max > 0 && n >= m.Max {
		return m.Max, 0 // to look again would be of no use
	}
	return n, recheck
}

// crowded says whether containers have more inputs than they are to have: they may, while others start.
func (l *Load) crowded() bool { return l.Per > 1 && l.Running > l.Per*l.Ready }

// shares returns how many containers the inputs are shared among.
func shares(inputs, per int) int {
	if per <= 1 {
		return inputs
	}
	return (inputs + per - 1) / per
}

// grown returns how many containers the input that has run longest is evidence for.
func grown(l *Load, work int) int {
	if l.Oldest == 0 || (l.Elapsed > 0 && l.Oldest < DrainTarget) {
		return 0
	}
	return min(enough(work, l.Oldest), Growth*l.Ready)
}

// enough returns how many containers work off the inputs in time.
func enough(work int, each time.Duration) int {
	if each == 0 {
		return min(work, Probe)
	}
	if each >= DrainTarget {
		return work
	}
	n := (int64(work)*int64(each) + int64(DrainTarget) - 1) / int64(DrainTarget)
	return min(work, max(1, int(n)))
}

// How many inputs may wait in a container behind the running one, so that it needs not wait for the next: while inputs are so short that
// the way to the container and back is what takes time.
const (
	shortInput  = 2 * time.Millisecond
	middleInput = 10 * time.Millisecond
	shortAhead  = 32
	middleAhead = 4
)

// Ahead returns how many inputs may wait in a container. Elapsed 0 is not known.
func Ahead(elapsed time.Duration) int {
	switch {
	case elapsed <= 0 || elapsed >= middleInput:
		return 0
	case elapsed < shortInput:
		return shortAhead
	default:
		return middleAhead
	}
}

// weight is how much the last input says about how long the next takes.
const weight = 0.25

// Learn returns the new estimate of how long an input takes, given the old (0: none) and an input that took elapsed.
func Learn(old, elapsed time.Duration) time.Duration {
	elapsed = max(elapsed, time.Microsecond) // 0 means unknown
	if old == 0 {
		return elapsed
	}
	return max(time.Microsecond, old+time.Duration(weight*float64(elapsed-old)))
}
