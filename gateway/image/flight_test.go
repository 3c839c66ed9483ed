package image

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestFlightsAreBounded has a step write more than is kept for late listeners, in few long lines: the newest stay, steps do, and memory does
// not grow with what was said.
func TestFlightsAreBounded(t *testing.T) {
	f := newFlight("im-1", false)
	f.add(Event{Step: &Step{Number: 1, Total: 1, State: StepRunning}})
	line := strings.Repeat("x", 64<<10)
	for range 10 * maxKeptBytes / len(line) {
		f.add(Event{Log: &Log{Step: 1, Lines: []string{line}}})
		kept := 0
		for _, e := range f.events {
			if e.Log != nil {
				kept += len(e.Log.Lines[0])
			}
		}
		if kept > 2*maxKeptBytes {
			t.Fatalf("%d bytes are kept", kept)
		}
	}
	broken := errors.New("broken off")
	f.finish(Event{}, broken)
	steps, lines := 0, 0
	err := f.follow(context.Background(), func(e Event) error {
		if e.Step != nil {
			steps++
		} else {
			lines++
		}
		return nil
	})
	if !errors.Is(err, broken) || steps != 1 || lines < maxKeptBytes/len(line) {
		t.Errorf("%v, %d steps, %d lines", err, steps, lines)
	}
}
