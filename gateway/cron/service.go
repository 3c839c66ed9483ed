package cron

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// Times of a Service.
const (
	// lookAgain bounds how long a wait is: the machine's clock may be set meanwhile.
	lookAgain = 5 * time.Minute
	// retryAfter is how long to wait after a store has failed.
	retryAfter = 5 * time.Second
	// lateAfter is when a call counts as late, and its log says so.
	lateAfter = time.Minute
	// maxCounted is how many due times that were missed are counted; of more the log says only that there were.
	maxCounted = 1000
)

// Deps are the parts a Service works with. All are required.
type Deps struct {
	Store   Store
	Calls   Calls
	Notices Notices
	Clock   task.Clock
	Log     *slog.Logger
}

// Service calls functions when they are due. Safe for concurrent use.
type Service struct {
	d Deps

	turn sync.Mutex // held while schedules are read or called: what is stored of one is about the schedule that is

	mu      sync.Mutex
	entries map[string]*scheduled // by function
	wake    chan struct{}         // holds a token when something is to be looked at
}

type scheduled struct {
	Entry
	expression *Expression // nil: a period
	due        time.Time
}

// New returns a Service that does nothing until Run.
func New(d Deps) *Service {
	return &Service{d: d, entries: map[string]*scheduled{}, wake: make(chan struct{}, 1)}
}

// Check returns a fault.Invalid for a schedule that can't be.
func (*Service) Check(plan *function.Schedule) error {
	if plan == nil || plan.Period != nil {
		return nil
	}
	_, err := Parse(plan.Cron, plan.Timezone)
	return err
}

// Run calls functions when they are due until ctx ends. Due times that have passed meanwhile are called for at once, one of each function.
func (s *Service) Run(ctx context.Context) error {
	if err := s.load(ctx, ""); err != nil {
		return err
	}
	for {
		wait := s.fire(ctx)
		timer := s.d.Clock.AfterFunc(wait, s.look)
		select {
		case <-s.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

func (s *Service) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Published says that an app has new functions. A period begins anew, a cron expression goes on.
func (s *Service) Published(ctx context.Context, appID string) error {
	err := s.load(ctx, appID)
	s.look()
	return err
}

// Stopped says that an app has stopped: its functions are no longer called.
func (s *Service) Stopped(_ context.Context, appID string) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if e.Function.AppID == appID {
			delete(s.entries, id)
		}
	}
	return nil
}

// load takes the schedules of an app, or at the start (appID empty) of all.
func (s *Service) load(ctx context.Context, appID string) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	list, err := s.d.Store.Scheduled(ctx, appID)
	if err != nil {
		return fmt.Errorf("schedules: %w", err)
	}
	fresh := map[string]*scheduled{}
	for _, e := range list {
		one, err := s.schedule(ctx, e, appID != "")
		if err != nil {
			return err
		}
		fresh[e.Function.ID] = one
	}
	if appID != "" {
		if err := s.d.Store.DropSchedules(ctx, appID); err != nil {
			return fmt.Errorf("schedules of app %q: %w", appID, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.entries {
		if appID == "" || old.Function.AppID == appID {
			delete(s.entries, id)
		}
	}
	for id, one := range fresh {
		s.entries[id] = one
	}
	return nil
}

// schedule finds out when a function is due next, and stores what is new of its schedule.
func (s *Service) schedule(ctx context.Context, e Entry, published bool) (*scheduled, error) {
	spec, err := json.Marshal(e.Function.Definition.Schedule)
	if err != nil {
		return nil, fmt.Errorf("schedule of function %q: %w", e.Function.ID, err)
	}
	plan := e.Function.Definition.Schedule
	one := &scheduled{Entry: e}
	if plan.Period == nil {
		if one.expression, err = Parse(plan.Cron, plan.Timezone); err != nil {
			return nil, fmt.Errorf("schedule of function %q: %w", e.Function.ID, err)
		}
	}
	if e.State.Spec != string(spec) || published && plan.Period != nil {
		now := s.d.Clock.Now().Truncate(time.Millisecond)
		one.State = State{
			FunctionID: e.Function.ID, Spec: string(spec), Anchor: now, Done: now, LastDue: e.State.LastDue, LastCall: e.State.LastCall,
		}
		if err := s.d.Store.SaveSchedule(ctx, one.State); err != nil {
			return nil, fmt.Errorf("schedule of function %q: %w", e.Function.ID, err)
		}
	}
	one.due = one.next(one.State.Done)
	return one, nil
}

// next returns the first due time after a moment; zero if there is none.
func (e *scheduled) next(after time.Time) time.Time {
	if e.expression != nil {
		t, _ := e.expression.Next(after)
		return t
	}
	return nextPeriod(e.Function.Definition.Schedule.Period, e.State.Anchor, after)
}

// fire calls all functions that are due, and returns how long to wait.
func (s *Service) fire(ctx context.Context) time.Duration {
	s.turn.Lock()
	defer s.turn.Unlock()
	now := s.d.Clock.Now()
	wait := lookAgain
	s.mu.Lock()
	var due []*scheduled
	for _, e := range s.entries {
		switch left := e.due.Sub(now); {
		case e.due.IsZero():
		case left <= 0:
			due = append(due, e)
		default:
			wait = min(wait, left)
		}
	}
	s.mu.Unlock()
	for _, e := range due {
		if err := s.call(ctx, e, now); err != nil && ctx.Err() == nil {
			s.d.Log.Error("scheduled call not made yet", "function", e.Function.ID, "due", e.due, "error", err)
			wait = min(wait, retryAfter)
		} else {
			wait = min(wait, max(0, e.due.Sub(now)))
		}
	}
	return wait
}

// call makes the call for the last due time that has passed.
func (s *Service) call(ctx context.Context, e *scheduled, now time.Time) error {
	due, skipped, more := e.passed(now)
	id := callID(e.Function.ID, due)
	err := s.d.Calls.Start(ctx, id, e.Function.ID)
	if errors.Is(err, fault.NotFound) {
		s.d.Log.Warn("scheduled function is gone", "function", e.Function.ID, "due", due)
	} else if err != nil {
		return err
	}
	state := e.State
	state.Done, state.LastDue, state.LastCall = due, due, id
	if err := s.d.Store.SaveSchedule(ctx, state); err != nil {
		return err
	}
	if late := now.Sub(due); late > lateAfter || skipped > 0 {
		s.d.Log.Warn("scheduled call is late", "function", e.Function.ID, "due", due, "late", late, "skipped", skipped, "more", more)
		bound := ""
		if more {
			bound = "more than "
		}
		s.d.Notices.Notice(e.Function, "", fmt.Sprintf("called for %s, %s late; %s%d due times before it were skipped: the server was away\n",
			due.UTC().Format(time.RFC3339), late.Round(time.Second), bound, skipped))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.State, e.due = state, e.next(due)
	return nil
}

// passed returns the last due time that has passed, and how many due times before it have not been called for, or that there are more.
func (e *scheduled) passed(now time.Time) (due time.Time, skipped int, more bool) {
	if e.expression == nil {
		p, anchor := e.Function.Definition.Schedule.Period, e.State.Anchor
		last := periods(p, anchor, now)
		return add(anchor, p, last), last - periods(p, anchor, e.due), false
	}
	// A gateway may have been away for years: the last one is searched for, and not all on the way to it are gone through.
	due = e.expression.last(e.due, now)
	for at := e.due; at.Before(due); skipped++ {
		if skipped == maxCounted {
			return due, skipped, true
		}
		at = e.next(at)
	}
	return due, skipped, false
}

// callID is the id of the call for a due time: "fc-" and 22 characters made of both.
func callID(functionID string, due time.Time) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s %d", functionID, due.UnixMilli())))
	n, base, rest := new(big.Int).SetBytes(sum[:]), big.NewInt(int64(len(digits))), new(big.Int)
	var id strings.Builder
	for range 22 {
		n.DivMod(n, base, rest)
		id.WriteByte(digits[rest.Int64()])
	}
	return "fc-" + id.String()
}

// List returns the schedules of an app, or (appID empty) of all, by app and function.
func (s *Service) List(appID string) []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Info
	for _, e := range s.entries {
		if appID == "" || e.Function.AppID == appID {
			list = append(list, Info{Entry: e.Entry, NextDue: e.due})
		}
	}
	sortInfos(list)
	return list
}

// CallNow calls a scheduled function by hand and returns the call's id; its due times stay. Errors: fault.NotFound, fault.Precondition (it
// has no schedule).
func (s *Service) CallNow(ctx context.Context, appID, functionName string) (string, error) {
	s.mu.Lock()
	var fn *function.Function
	for _, e := range s.entries {
		if e.Function.AppID == appID && e.Function.Definition.Name == functionName {
			fn = e.Function
		}
	}
	s.mu.Unlock()
	if fn == nil {
		return "", fault.New(fault.Precondition, "function %q: has no schedule, or its app is not deployed; skerry schedule list shows those that have", functionName)
	}
	id := ident.New(ident.Call)
	return id, s.d.Calls.Start(ctx, id, fn.ID)
}
