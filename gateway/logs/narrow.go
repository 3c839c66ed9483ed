package logs

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// tailWindows are how far back the last entries are looked for, one after the other: a busy app's are found without reading all it has.
var tailWindows = []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}

// narrow keeps a Read from going through entries that it is not about, and says what is missing.
func (r *reader) narrow(ctx context.Context) error {
	if r.q.CallID != "" {
		if functionID, at, known := r.s.d.Calls.Began(ctx, r.q.CallID); known {
			if r.q.FunctionID == "" {
				r.q.FunctionID = functionID
			}
			if at.After(r.q.Since) {
				r.q.Since = at
			}
		}
	}
	if r.q.Tail > 0 && r.q.Since.IsZero() {
		since, err := r.tailSince(ctx)
		if err != nil {
			return err
		}
		r.q.Since = since
	}
	return r.tellRemoved(ctx)
}

// tailSince returns a time since which there are as many entries as are asked for, or the zero time.
func (r *reader) tailSince(ctx context.Context) (time.Time, error) {
	last, err := r.s.d.Stream.Last(ctx, r.q.Selection)
	if err != nil || last.IsZero() {
		return time.Time{}, err
	}
	if !r.q.Until.IsZero() && r.q.Until.Before(last) {
		last = r.q.Until
	}
	for _, window := range tailWindows {
		selection := r.q.Selection
		selection.Since = last.Add(-window)
		found := 0
		err := r.s.d.Stream.Read(ctx, selection, false, func(entries []Entry, _ Position) error {
			chosen, enough := r.choose(entries)
			if found += len(chosen); enough {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return time.Time{}, err
		}
		if found >= r.q.Tail {
			return selection.Since, nil
		}
	}
	return time.Time{}, nil
}

// tellRemoved emits a line of Skerry's own where the time that is asked for begins before what is kept.
func (r *reader) tellRemoved(ctx context.Context) error {
	at, err := r.s.d.Stream.Removed(ctx)
	if err != nil || at.IsZero() || r.q.Since.After(at) || !r.q.Until.IsZero() && r.q.Until.Before(at) || r.q.Source != 0 && r.q.Source != System {
		return err
	}
	return r.emit([]Entry{{
		Time: at, Source: System, Origin: Origin{AppID: r.q.AppID},
		Text: fmt.Sprintf("output from before %s may be missing: the logs of all apps together had reached their limit\n", at.UTC().Format(time.RFC3339)),
	}})
}
