package image

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of what is kept of a build's output: lines of one step, bytes of one line, bytes of all.
const (
	maxStepLines   = 1000
	maxLineBytes   = 4 << 10
	maxLoggedBytes = 1 << 20
)

// StepLog is what a step of a build said: its last lines.
type StepLog struct {
	Step  Step
	Lines []LogLine
}

// LogLine is a line of output.
type LogLine struct {
	At   time.Time
	Text string
}

// journal keeps what a build says, within bounds: the newest lines stay.
type journal struct {
	mu    sync.Mutex
	steps []StepLog
	bytes int // of all lines
	now   func() time.Time
}

// add takes an event of the build.
func (j *journal) add(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case e.Step != nil && e.Step.Number > 0:
		j.step(e.Step.Number).Step = *e.Step
	case e.Log != nil && e.Log.Step > 0:
		s, at := j.step(e.Log.Step), j.now()
		for _, text := range e.Log.Lines {
			if len(text) > maxLineBytes {
				text = strings.ToValidUTF8(text[:maxLineBytes], "") + "..."
			}
			s.Lines = append(s.Lines, LogLine{At: at, Text: text})
			j.bytes += len(text) + 1
		}
		// Not with every line, for it costs as much as there is.
		if j.bytes > 2*maxLoggedBytes || len(s.Lines) > 2*maxStepLines {
			j.steps, j.bytes = newest(j.steps)
		}
	}
}

// step returns a step's entry, of which there are as many as the highest number.
func (j *journal) step(number uint32) *StepLog {
	const most = 10_000
	number = min(number, most)
	for uint32(len(j.steps)) < number {
		j.steps = append(j.steps, StepLog{Step: Step{Number: uint32(len(j.steps)) + 1}})
	}
	return &j.steps[number-1]
}

// log returns what there is to keep.
func (j *journal) log() []StepLog {
	j.mu.Lock()
	defer j.mu.Unlock()
	out, _ := newest(j.steps)
	return out
}

// newest returns steps with what is within the bounds, from the last step back, and how many bytes that is.
func newest(steps []StepLog) (kept []StepLog, size int) {
	kept = make([]StepLog, len(steps))
	for i := len(steps) - 1; i >= 0; i-- {
		s := steps[i]
		first := len(s.Lines)
		for first > max(0, len(s.Lines)-maxStepLines) && size+len(s.Lines[first-1].Text) < maxLoggedBytes {
			first--
			size += len(s.Lines[first].Text) + 1
		}
		kept[i] = StepLog{Step: s.Step, Lines: slices.Clone(s.Lines[first:])}
	}
	return kept, size
}
