package runtime

import (
	"fmt"
	"strings"
	"time"
)

// KilledCode is the exit code of a step that was killed for a limit.
const KilledCode = 137

// Verdict finds in a line of a step's output what the runtime has to say of the step's end, and returns that and what the step itself wrote
// in front of it. The mark is known to the builder alone, so no step can write such a line.
func Verdict(line, mark string) (own, verdict string, ok bool) {
	if mark == "" {
		return line, "", false
	}
	return strings.Cut(line, mark+" ")
}

// again begins verdicts on what is not the step's doing.
const again = "again: "

// Again says whether a verdict is on something that was not the step's doing, which may go well another time, and what that was.
func Again(verdict string) (text string, ok bool) { return strings.CutPrefix(verdict, again) }

// The verdicts.

func overMemory(l Limits, shared bool) string {
	if shared {
		return "the step was killed: the memory that containers and builds of this host have together ran out"
	}
	return "the step went over its memory limit of " + size(l.MemoryBytes) + " (the builder's build_memory)"
}

func overProcesses(l Limits) string {
	return fmt.Sprintf("the step went over its limit of %d processes (the builder's build_processes)", l.Processes)
}

func overTime(l Limits) string {
	return "the step ran longer than " + Duration(l.Time) + " (the builder's build_timeout)"
}

func overDisk(l Limits) string {
	return "the step wrote more than " + size(l.DiskBytes) + " (the builder's build_disk)"
}

const lostVolumes = again + "volumes of the step: the process that served them has died; what was not committed is lost"

const diskFull = "the step was killed: the disk that images are built on is full"

// size writes a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}} {
		if n >= u.bytes {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.bytes)), ".0") + " " + u.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// Duration writes a time for people: it leaves out the zeros at the end of Go's form, 1h, not 1h0m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
