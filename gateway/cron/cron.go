// Package cron is the noun of schedules: functions of deployed apps that are called by themselves. When a function is due is pure
// arithmetic (Expression, Period); the Service keeps the due times, and makes the calls.
//
// A due time is called for exactly once, whatever crashes: the call's id is made of the function's and the due time, so that making it again
// makes nothing; only then the due time is stored as done. Of due times that passed while no gateway ran, the last one is called for, late,
// and the function's log says so.
package cron

import (
	"context"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
)

// Entry is a scheduled function.
type Entry struct {
	Function *function.Function
	State    State
}

// State is what is kept of a schedule.
type State struct {
	FunctionID string
	Spec       string    // of the schedule it is about
	Anchor     time.Time // periods are counted from here
	Done       time.Time // due times up to this one have been called for, or were before the schedule
	LastDue    time.Time // the one that was last called for; zero: none
	LastCall   string    // its call
}

// Store keeps schedules. Implemented by gateway/sqlstore.
type Store interface {
	// Scheduled returns the functions with a schedule of deployed apps, of one or (appID empty) of all, with their states, which are zero
	// where there are none.
	Scheduled(ctx context.Context, appID string) ([]Entry, error)
	// SaveSchedule keeps a state.
	SaveSchedule(ctx context.Context, s State) error
	// DropSchedules forgets the states of an app's functions that have no schedule any more.
	DropSchedules(ctx context.Context, appID string) error
}

// Calls makes calls. Implemented by gateway/call through gateway/server.
type Calls interface {
	// Start records a call with one input without arguments; one that is recorded already stays as it is. Errors: fault.NotFound for a
	// function that is gone.
	Start(ctx context.Context, callID, functionID string) error
}

// Notices tells users, through a function's log.
type Notices interface {
	// Notice appends a line of Skerry's own to a function's log.
	Notice(fn *function.Function, containerID, text string)
}

// Info is a schedule as people see it.
type Info struct {
	Entry
	NextDue time.Time
}
