package logs_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/gateway/logs"
	"github.com/skerry-dev/skerry/internal/fault"
)

// memory is a Stream in memory.
type memory struct {
	mu      sync.Mutex
	entries []logs.Entry
	more    chan struct{}
	read    int       // entries that were handed out
	removed time.Time // before which some are missing
	mark    logs.Mark // of the last frame
}

func (m *memory) Append(_ context.Context, entries []logs.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = append(m.entries, entries...)
	close(m.more)
	m.more = make(chan struct{})
	return nil
}

func (m *memory) AppendFrame(ctx context.Context, entries []logs.Entry, mark logs.Mark) error {
	m.mu.Lock()
	m.mark = logs.Mark{Sequence: mark.Sequence, Whole: true}
	m.mu.Unlock()
	return m.Append(ctx, entries[min(mark.Parts, len(entries)):])
}

func (m *memory) Stored(context.Context, string, string) (logs.Mark, error) { return m.mark, nil }

func (m *memory) matches(e logs.Entry, s logs.Selection) bool {
	return e.AppID == s.AppID && (s.ContainerID == "" || s.ContainerID == e.ContainerID) && !e.Time.Before(s.Since)
}

func (m *memory) End(_ context.Context, s logs.Selection) (end logs.Position, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range m.entries {
		if m.matches(e, s) {
			end = logs.Position(i + 1)
		}
	}
	return end, nil
}

func (m *memory) Last(_ context.Context, s logs.Selection) (last time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if m.matches(e, s) {
			last = e.Time
		}
	}
	return last, nil
}

func (m *memory) Removed(context.Context) (time.Time, error) { return m.removed, nil }

func (m *memory) Read(ctx context.Context, s logs.Selection, follow bool, f func([]logs.Entry, logs.Position) error) error {
	for next := 0; ; {
		m.mu.Lock()
		batch, more := m.entries[next:], m.more
		m.mu.Unlock()
		for i, e := range batch {
			if m.matches(e, s) {
				m.count()
				if err := f([]logs.Entry{e}, logs.Position(next+i+1)); err != nil {
					return err
				}
			}
		}
		next += len(batch)
		if !follow {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type world struct{ done chan struct{} }

func (w world) Origin(id string) (logs.Origin, bool) {
	return logs.Origin{AppID: "ap-1", FunctionName: "f"}, strings.HasPrefix(id, "ta-") || strings.HasPrefix(id, "sb-")
}

func (w world) Done(context.Context, string) (<-chan struct{}, error) { return w.done, nil }

func newService(t *testing.T) (*logs.Service, world) {
	t.Helper()
	w := world{make(chan struct{})}
	return logs.New(logs.Deps{Stream: &memory{more: make(chan struct{})}, Containers: w, Apps: w, Calls: w, Log: slog.New(slog.DiscardHandler)}), w
}

func frame(id string, sequence uint64, eof bool, lines ...string) logs.Frame {
	f := logs.Frame{ContainerID: id, Sequence: sequence, EOF: eof}
	for _, l := range lines {
		f.Entries = append(f.Entries, logs.Entry{Time: time.Now(), Source: logs.Stdout, Text: l})
	}
	return f
}

func push(t *testing.T, s *logs.Service, frames ...logs.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := s.Push(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
}

// reading runs a Read in the background; seen gets each entry's text, and is closed at its end.
func reading(t *testing.T, s *logs.Service, q logs.Query) (seen chan string, err chan error) {
	t.Helper()
	q.AppID = "ap-1"
	seen, err = make(chan string, 100), make(chan error, 1)
	go func() {
		defer close(seen)
		err <- s.Read(t.Context(), q, func(entries []logs.Entry) error {
			for _, e := range entries {
				seen <- e.Text
			}
			return nil
		})
	}()
	return seen, err
}

func rest(seen chan string) (all string) {
	for text := range seen {
		all += text
	}
	return all
}

func TestFollowEndsAfterTheLastOutput(t *testing.T) {
	s, w := newService(t)
	s.Open("ta-1", logs.Origin{AppID: "ap-1"})
	s.Open("ta-2", logs.Origin{AppID: "ap-1"})
	push(t, s, frame("ta-1", 1, false, "a"))
	seen, err := reading(t, s, logs.Query{Follow: true})
	if got := <-seen; got != "a" {
		t.Errorf("first = %q", got)
	}
	push(t, s, frame("ta-1", 2, true, "b"))
	close(w.done) // the app has stopped, but not all of its output has come
	if got := <-seen; got != "b" {
		t.Errorf("second = %q", got)
	}
	push(t, s, frame("ta-2", 1, true, "c"))
	if got := rest(seen); got != "c" {
		t.Errorf("rest = %q", got)
	}
	if err := <-err; err != nil {
		t.Error(err)
	}
	// Of an app that is over, a follower sees the past and then the end.
	seen, err = reading(t, s, logs.Query{Follow: true, Tail: 2})
	if got := rest(seen); got != "bc" || <-err != nil {
		t.Errorf("later = %q", got)
	}
	seen, err = reading(t, s, logs.Query{Follow: true, Selection: logs.Selection{ContainerID: "ta-9"}})
	if got := rest(seen); got != "" || <-err != nil {
		t.Errorf("of an unknown container = %q", got)
	}
}

func TestRepeatedFramesAreDropped(t *testing.T) {
	s, _ := newService(t)
	push(t, s, frame("ta-1", 1, false, "a"), frame("ta-1", 1, false, "a"), frame("ta-1", 2, false, "b"), frame("ta-1", 1, false, "a"))
	if err := s.Push(t.Context(), frame("xx-1", 1, false, "?")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("of an unknown container: %v", err)
	}
	seen, err := reading(t, s, logs.Query{})
	if got := rest(seen); got != "ab" || <-err != nil {
		t.Errorf("read %q", got)
	}
}

func TestSelection(t *testing.T) {
	s, _ := newService(t)
	push(t, s, frame("ta-1", 1, false, "one\n", "two\n", "three\n"))
	if err := s.Notice(t.Context(), logs.Origin{AppID: "ap-1"}, "", "no room"); err != nil {
		t.Fatal(err)
	}
	for want, q := range map[string]logs.Query{
		"two\nthree\n":       {Search: "t", Source: logs.Stdout},
		"no room\n":          {Source: logs.System},
		"three\nno room\n":   {Tail: 2},
		"":                   {Until: time.Now().Add(-time.Hour)},
		"one\ntwo\nthree\n":  {Selection: logs.Selection{ContainerID: "ta-1"}},
		"three\nno room\n\n": {Tail: logs.MaxTail + 1},
	} {
		seen, err := reading(t, s, q)
		got := rest(seen)
		if err := <-err; q.Tail > logs.MaxTail {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("too long a tail: %v", err)
			}
		} else if got != want || err != nil {
			t.Errorf("%+v: %q, %v; want %q", q, got, err, want)
		}
	}
}

func TestAContainerThatEndedWithoutEOF(t *testing.T) {
	s, w := newService(t)
	s.Open("ta-1", logs.Origin{AppID: "ap-1"})
	close(w.done)
	seen, err := reading(t, s, logs.Query{Follow: true})
	s.Ended("ta-1")
	if got := rest(seen); got != "" || <-err != nil {
		t.Errorf("read %q", got)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func (m *memory) count() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read++
}

// TestTailIsFoundWithoutReadingAll looks for the last entries from the end.
func TestTailIsFoundWithoutReadingAll(t *testing.T) {
	m := &memory{more: make(chan struct{})}
	w := world{make(chan struct{})}
	s := logs.New(logs.Deps{Stream: m, Containers: w, Apps: w, Calls: w, Log: slog.New(slog.DiscardHandler)})
	now := time.Now().Add(-time.Hour)
	var all []logs.Entry
	for i := range 10_000 {
		all = append(all, logs.Entry{
			Time: now.Add(time.Duration(i-10_000) * time.Second), Source: logs.Stdout, Text: fmt.Sprint(i, " "), Origin: logs.Origin{AppID: "ap-1"},
		})
	}
	if err := m.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	seen, err := reading(t, s, logs.Query{Tail: 3})
	if got := rest(seen); got != "9997 9998 9999 " || <-err != nil {
		t.Errorf("tail %q", got)
	}
	if m.read > 100 {
		t.Errorf("%d entries were read for the last 3 of 10,000", m.read)
	}
	until := now.Add(-5000 * time.Second)
	seen, err = reading(t, s, logs.Query{Tail: 2, Until: until})
	if got := rest(seen); got != "4998 4999 " || <-err != nil {
		t.Errorf("tail until %s: %q", until, got)
	}
	seen, err = reading(t, s, logs.Query{Tail: 2, Search: "12"})
	if got := rest(seen); got != "9812 9912 " || <-err != nil {
		t.Errorf("tail of a search: %q", got)
	}
	seen, err = reading(t, s, logs.Query{Tail: logs.MaxTail})
	if got := rest(seen); len(strings.Fields(got)) != 10_000 || <-err != nil {
		t.Errorf("a tail longer than all: %d entries", len(strings.Fields(got)))
	}
}

// TestRemovedOutputIsTold says that something may be missing, where it may.
func TestRemovedOutputIsTold(t *testing.T) {
	m := &memory{more: make(chan struct{}), removed: time.Now().Add(-time.Hour)}
	w := world{make(chan struct{})}
	s := logs.New(logs.Deps{Stream: m, Containers: w, Apps: w, Calls: w, Log: slog.New(slog.DiscardHandler)})
	push(t, s, frame("ta-1", 1, false, "a"))
	for name, c := range map[string]struct {
		q    logs.Query
		told bool
	}{
		"all":          {logs.Query{}, true},
		"since before": {logs.Query{Selection: logs.Selection{Since: time.Now().Add(-2 * time.Hour)}}, true},
		"since after":  {logs.Query{Selection: logs.Selection{Since: time.Now().Add(-time.Minute)}}, false},
		"tail":         {logs.Query{Tail: 1}, false},
	} {
		seen, err := reading(t, s, c.q)
		got := rest(seen)
		if told := strings.HasPrefix(got, "output from before "); told != c.told || !strings.HasSuffix(got, "a") || <-err != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func (w world) Began(context.Context, string) (string, time.Time, bool) {
	return "", time.Time{}, false
}

func (w world) AwaitEnd(context.Context, string) error { return nil }

// TestFramesAfterTheEnd are stored once each, and nobody waits for more of them.
func TestFramesAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newService(t)
		push(t, s, frame("ta-1", 1, false, "a\n"), frame("ta-1", 2, true, "b\n"))
		push(t, s, frame("ta-1", 2, true, "b\n")) // its acknowledgement was lost
		s.Open("ta-2", logs.Origin{AppID: "ap-1"})
		push(t, s, frame("ta-2", 1, false, "c\n"))
		s.Ended("ta-2")
		<-time.After(2 * logs.EOFGrace)
		push(t, s, frame("ta-2", 1, false, "c\n"), frame("ta-2", 2, false, "d\n"))
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		var got []string
		err := s.Read(t.Context(), logs.Query{Selection: logs.Selection{AppID: "ap-1"}}, func(entries []logs.Entry) error {
			for _, e := range entries {
				got = append(got, e.Text)
			}
			return nil
		})
		if want := []string{"a\n", "b\n", "c\n", "d\n"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("stored %q, %v; want %q", got, err, want)
		}
	})
}
