package cron_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/task"
)

// world is a store, what makes calls, and users' logs, in a bubble whose clock jumps to whatever is waited for.
type world struct {
	mu        sync.Mutex
	functions []*function.Function
	states    map[string]cron.State
	calls     []string // ids, in order; one made again is not there twice
	at        map[string]time.Time
	notices   []string
	broken    int // saves that fail
}

func newWorld(functions ...*function.Function) *world {
	return &world{functions: functions, states: map[string]cron.State{}, at: map[string]time.Time{}}
}

func (w *world) Scheduled(_ context.Context, appID string) ([]cron.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []cron.Entry
	for _, f := range w.functions {
		if appID == "" || f.AppID == appID {
			s := w.states[f.ID]
			s.FunctionID = f.ID
			list = append(list, cron.Entry{Function: f, State: s})
		}
	}
	return list, nil
}

func (w *world) SaveSchedule(_ context.Context, s cron.State) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken > 0 && !s.LastDue.IsZero() {
		w.broken--
		return errors.New("disk full")
	}
	w.states[s.FunctionID] = s
	return nil
}

func (w *world) DropSchedules(context.Context, string) error { return nil }

func (w *world) Start(_ context.Context, callID, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, made := w.at[callID]; !made {
		w.calls = append(w.calls, callID)
		w.at[callID] = time.Now()
	}
	return nil
}

func (w *world) Notice(_ *function.Function, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = append(w.notices, text)
}

// pass waits while the bubble's clock goes on.
func pass(d time.Duration) { <-time.After(d) }

// run runs a service for a time, as a gateway that is started and killed.
func (w *world) run(t *testing.T, d time.Duration) {
	t.Helper()
	s := w.service()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	pass(d)
	synctest.Wait()
	cancel()
	<-ended
}

func (w *world) service() *cron.Service {
	return cron.New(cron.Deps{Store: w, Calls: w, Notices: w, Clock: task.SystemClock, Log: slog.New(slog.DiscardHandler)})
}

// times returns when calls were made, since the bubble began.
func (w *world) times(began time.Time) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Duration
	for _, id := range w.calls {
		all = append(all, w.at[id].Sub(began))
	}
	return all
}

func scheduled(id string, s function.Schedule) *function.Function {
	return &function.Function{ID: id, AppID: "ap-1", AppName: "a", Definition: function.Definition{Name: id, Schedule: &s}}
}

func every(hours int) function.Schedule {
	return function.Schedule{Period: &function.Period{Hours: hours}}
}

func TestEachDueTimeIsCalledForOnceOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(scheduled("fu-1", every(1)))
		w.run(t, 90*time.Minute) // 1 h
		w.run(t, 60*time.Minute) // 2 h
		w.run(t, 60*time.Minute) // 3 h
		if got, want := w.times(began), []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour}; !slices.Equal(got, want) {
			t.Errorf("calls at %v, want %v", got, want)
		}
		if len(w.notices) > 0 {
			t.Errorf("notices %q", w.notices)
		}
	})
}

func TestOfMissedDueTimesTheLastIsCalledForLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(scheduled("fu-1", every(1)))
		w.run(t, 90*time.Minute)
		pass(5 * time.Hour) // no gateway runs
		w.run(t, 10*time.Minute)
		if got, want := w.times(began), []time.Duration{time.Hour, 390 * time.Minute}; !slices.Equal(got, want) {
			t.Errorf("calls at %v, want %v", got, want)
		}
		if len(w.notices) != 1 || !strings.Contains(w.notices[0], "30m0s late; 4 due times before it were skipped") {
			t.Errorf("notices %q", w.notices)
		}
	})
}

// TestMissedSecondsOfAYear are not gone through one by one.
func TestMissedSecondsOfAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(scheduled("fu-1", function.Schedule{Period: &function.Period{Seconds: 1}}))
		w.run(t, 10*time.Second)
		pass(10 * 365 * 24 * time.Hour)
		w.run(t, 1500*time.Millisecond)
		if len(w.calls) != 12 {
			t.Errorf("%d calls, want 10, one that is late, and one more", len(w.calls))
		}
		if len(w.notices) != 1 || !strings.Contains(w.notices[0], "315359999 due times before it were skipped") {
			t.Errorf("notices %q", w.notices)
		}
	})
}

// TestMissedMinutesOfAYear are not gone through one by one, and neither are they all counted.
func TestMissedMinutesOfAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(scheduled("fu-1", function.Schedule{Cron: "* * * * *"}))
		w.run(t, 90*time.Second)
		pass(10 * 365 * 24 * time.Hour)
		late := time.Since(began)
		w.run(t, 40*time.Second)
		want := []time.Duration{time.Minute, late, late.Truncate(time.Minute) + time.Minute}
		if got := w.times(began); !slices.Equal(got, want) {
			t.Errorf("calls at %v, want %v", got, want)
		}
		if len(w.notices) != 1 || !strings.Contains(w.notices[0], "30s late; more than 1000 due times before it were skipped") {
			t.Errorf("notices %q", w.notices)
		}
	})
}

// TestMissedDays are counted one by one, and the last of them is called for, over a change of the clocks as well.
func TestMissedDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(scheduled("fu-1", function.Schedule{Cron: "30 2 * * 1-5", Timezone: "Europe/Berlin"}))
		w.run(t, time.Hour)
		pass(300*24*time.Hour - time.Hour)
		w.run(t, time.Hour)
		// The bubble begins on Saturday, 1 January 2000. 300 days later it is Friday, 27 October, 02:00 in Berlin: half an hour before the next.
		if len(w.notices) != 1 || !strings.HasPrefix(w.notices[0], "called for 2000-10-26T00:30:00Z, 23h30m0s late; 213 due times before") {
			t.Errorf("notices %q", w.notices)
		}
	})
}

// TestCrashBetweenCallAndRecord makes the call again, which is the same call.
func TestCrashBetweenCallAndRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(scheduled("fu-1", every(1)))
		w.broken = 1
		w.run(t, time.Hour)
		w.run(t, time.Minute)
		w.run(t, time.Hour)
		if len(w.calls) != 2 {
			t.Errorf("%d calls, want 2", len(w.calls))
		}
	})
}

func TestDaysOverAChangeOfTheClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The bubble begins on 1 January 2000; Berlin's clocks went forward on 26 March and back on 29 October of that year.
		w := newWorld(scheduled("fu-1", function.Schedule{Cron: "30 2 * * *", Timezone: "Europe/Berlin"}))
		for range 40 {
			w.run(t, 8*24*time.Hour)
		}
		if len(w.calls) != 320 {
			t.Errorf("%d calls in 320 days", len(w.calls))
		}
	})
}

// TestLocalTimesOverAChangeOfTheClocks goes through spring and autumn hour by hour, with a gateway that is killed every few hours, also within
// the hour that is skipped and the one that comes twice.
func TestLocalTimesOverAChangeOfTheClocks(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cron  string
		from  time.Time
		hours int
		want  []string // in UTC
	}{
		"spring, skipped": {"30 2 * * *", time.Date(2000, 3, 25, 0, 0, 0, 0, time.UTC), 60,
			[]string{"03-25T01:30", "03-26T01:00", "03-27T00:30"}},
		"autumn, twice": {"30 2 * * *", time.Date(2000, 10, 28, 0, 0, 0, 0, time.UTC), 60,
			[]string{"10-28T00:30", "10-29T00:30", "10-30T01:30"}},
		"spring, hours that pass": {"0 */2 * * *", time.Date(2000, 3, 25, 23, 30, 0, 0, time.UTC), 5,
			[]string{"03-26T02:00", "03-26T04:00"}},
		"autumn, hours that pass": {"0 * * * *", time.Date(2000, 10, 28, 23, 30, 0, 0, time.UTC), 4,
			[]string{"10-29T00:00", "10-29T01:00", "10-29T02:00", "10-29T03:00"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now().UTC()
				pass(time.Until(c.from))
				w := newWorld(scheduled("fu-1", function.Schedule{Cron: c.cron, Timezone: berlin.String()}))
				for left := time.Duration(c.hours) * time.Hour; left > 0; left -= 35 * time.Minute {
					w.run(t, min(left, 35*time.Minute))
				}
				var got []string
				for _, d := range w.times(began) {
					got = append(got, began.Add(d).Format("01-02T15:04"))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("called at %v, want %v", got, c.want)
				}
				if len(w.notices) > 0 {
					t.Errorf("notices %q", w.notices)
				}
			})
		})
	}
}

// TestPeriodsGoByTheCalendarOfUTC are as long in spring as in winter.
func TestPeriodsGoByTheCalendarOfUTC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(scheduled("fu-1", function.Schedule{Period: &function.Period{Days: 1, Hours: 1}}))
		for range 100 {
			w.run(t, 25*time.Hour)
		}
		for i, d := range w.times(began) {
			if want := time.Duration(i+1) * 25 * time.Hour; d != want {
				t.Fatalf("call %d after %s, want %s", i, d, want)
			}
		}
		if len(w.calls) != 100 {
			t.Errorf("%d calls in 100 periods", len(w.calls))
		}
	})
}

func TestRedeploymentRestartsAPeriodAndNotACron(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := newWorld(scheduled("fu-1", every(2)), scheduled("fu-2", function.Schedule{Cron: "0 */2 * * *"}))
		s := w.service()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		pass(time.Hour)
		if err := s.Published(ctx, "ap-1"); err != nil {
			t.Fatal(err)
		}
		pass(150 * time.Minute)
		if got, want := w.times(began), []time.Duration{2 * time.Hour, 3 * time.Hour}; !slices.Equal(got, want) {
			t.Errorf("calls at %v, want %v", got, want)
		}
		if err := s.Stopped(ctx, "ap-1"); err != nil {
			t.Fatal(err)
		}
		pass(24 * time.Hour)
		if len(w.calls) != 2 || len(s.List("")) != 0 {
			t.Errorf("a stopped app was called: %d calls", len(w.calls))
		}
		cancel()
		<-ended
	})
}

func TestMonthsEndWithTheMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now() // 1 January 2000
		pass(30 * 24 * time.Hour)
		w := newWorld(scheduled("fu-1", function.Schedule{Period: &function.Period{Months: 1}}))
		w.run(t, 100*24*time.Hour)
		day := 24 * time.Hour
		if got, want := w.times(began), []time.Duration{59 * day, 90 * day, 120 * day}; !slices.Equal(got, want) {
			t.Errorf("calls at %v, want 29 February, 31 March and 30 April", got)
		}
	})
}

func TestHundredsDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for i := range 500 {
			w.functions = append(w.functions, scheduled("fu-"+string(rune('a'+i%26))+strings.Repeat("x", i/26), every(1)))
		}
		w.run(t, time.Hour)
		if len(w.calls) != 500 {
			t.Errorf("%d calls, want 500", len(w.calls))
		}
	})
}
