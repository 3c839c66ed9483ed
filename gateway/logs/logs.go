// Package logs is the noun of what containers write: entries are stored in order of arrival and read back, or followed as they come.
package logs

import (
	"context"
	"time"
)

// Source says which stream an entry came from; the numbers are those of skerry.v1.LogSource.
type Source uint8

// The sources.
const (
	Stdout Source = 1
	Stderr Source = 2
	System Source = 3
)

// Origin says whose output a container's entries are.
type Origin struct{ AppID, FunctionID, FunctionName string }

// Entry is one piece of output: a line with its end, or a last piece without.
type Entry struct {
	Time   time.Time
	Source Source
	Text   string
	Origin
	ContainerID string
	// CallID and Index name the input that wrote it; empty where that is not known.
	CallID string
	Index  uint32
	// WantsTerminal is the socket in the container that waits for a terminal, or empty.
	WantsTerminal string
}

// Position names a place in an app's entries: one past the entry with this sequence. 0 is the beginning. Positions grow; they have gaps.
type Position uint64

// Mark is how far the frames of a container have come: all before Sequence, and of that one the first Parts, or (Whole) all.
type Mark struct {
	Sequence uint64
	Parts    int
	Whole    bool
}

// Selection says which entries of an app to read.
type Selection struct {
	AppID       string
	FunctionID  string    // empty: all
	ContainerID string    // empty: all
	CallID      string    // empty: all
	Since       time.Time // zero: from the beginning
}

// Stream keeps entries in order of arrival, for a limited time. Implemented by gateway/jetstream.
type Stream interface {
	// Append stores entries of one container. They are stored when it returns.
	Append(ctx context.Context, entries []Entry) error
	// AppendFrame is Append of a frame that may come again after a crash of the gateway, but for what mark says is there already.
	AppendFrame(ctx context.Context, entries []Entry, m Mark) error
	// Stored says how far the frames of a container have come, all of which AppendFrame has stored. The zero Mark: there is none.
	Stored(ctx context.Context, appID, containerID string) (Mark, error)
	// End returns the position after the last entry that is selected (Since included), or 0 if there is none.
	End(ctx context.Context, s Selection) (Position, error)
	// Last returns when the last entry that is selected was stored, or the zero time if there is none.
	Last(ctx context.Context, s Selection) (time.Time, error)
	// Removed returns the time before which entries may be missing because all together were too many; zero: none were.
	Removed(ctx context.Context) (time.Time, error)
	// Read hands the selected entries to f, in order. With follow it waits for more until ctx ends, and returns ctx's error; else it
	// ends after the last entry that was stored when it began. f gets, with each batch, the position after it; an error of f ends Read
	// and is returned.
	Read(ctx context.Context, s Selection, follow bool, f func(entries []Entry, after Position) error) error
}
