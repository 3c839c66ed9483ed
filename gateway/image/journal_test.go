package image

import (
	"strings"
	"testing"
	"time"
)

// TestJournalIsBounded has many steps say more than is kept of them: the newest lines stay, and memory does not grow with what was said.
func TestJournalIsBounded(t *testing.T) {
	j := &journal{now: time.Now}
	line := strings.Repeat("x", 2*maxLineBytes)
	const steps = 40
	for step := uint32(1); step <= steps; step++ {
		for range maxStepLines {
			j.add(Event{Log: &Log{Step: step, Lines: []string{line}}})
		}
		if j.bytes > 2*maxLoggedBytes+2*maxLineBytes {
			t.Fatalf("step %d: %d bytes are kept", step, j.bytes)
		}
	}
	log := j.log()
	if len(log) != steps || len(log[0].Lines) != 0 {
		t.Errorf("%d steps, the first with %d lines", len(log), len(log[0].Lines))
	}
	last := log[steps-1].Lines
	if n := len(last); n < 200 || len(last[n-1].Text) != maxLineBytes+len("...") {
		t.Errorf("of the last step there are %d lines", n)
	}
}
