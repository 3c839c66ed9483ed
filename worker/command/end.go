// Package command is the noun of what a sandbox, or a further container in it, has been made for: its own command, what that writes, and how it
// ends.
package command

import (
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/worker/container"
)

// State is where a sandbox or a sidecar is in its life; the numbers are those of skerry.v1.SandboxState.
type State uint8

// The states.
const (
	Starting State = 1
	Running  State = 2
	Paused   State = 3
	Ended    State = 4
)

// Reason says why one ended; the numbers are those of skerry.v1.SandboxEndReason.
type Reason uint8

// The reasons.
const (
	Exited      Reason = 1
	TimedOut    Reason = 2
	IdleTimeout Reason = 3
	Terminated  Reason = 4
	OutOfMemory Reason = 5
	StartFailed Reason = 6
	Lost        Reason = 7
)

// Return codes of ends that are not an exit.
const (
	codeTimeout = 124
	codeKilled  = 137
	codeFailed  = 1
	signalBase  = 128
)

// End is how a sandbox or a sidecar ended.
type End struct {
	Reason  Reason
	Code    int
	Message string
	At      time.Time
}

// NewEnd returns the end for a reason other than Exited, now.
func NewEnd(r Reason, message string) *End {
	e := &End{Reason: r, Code: codeKilled, Message: message, At: time.Now()}
	switch r {
	case TimedOut, IdleTimeout:
		e.Code = codeTimeout
	case StartFailed:
		e.Code = codeFailed
	case Exited, Terminated, OutOfMemory, Lost:
	}
	return e
}

// EndOf is the end of what a command was made for when the command has ended.
func EndOf(end container.ProcessEnd) *End {
	if end.Signal == 0 {
		e := NewEnd(Exited, fmt.Sprintf("its command exited with code %d", end.ExitCode))
		e.Code = end.ExitCode
		return e
	}
	e := NewEnd(Exited, fmt.Sprintf("its command died of signal %d (%s)", int(end.Signal), end.Signal))
	e.Code = signalBase + int(end.Signal)
	return e
}
