package environment_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// run starts a service over a database; stop ends it as a crash would: nothing is finished.
func run(t *testing.T, where string, contents ...environment.Contents) (s *environment.Service, stop func()) {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	s = environment.New(environment.Deps{Store: db, Contents: contents, Log: slog.New(slog.DiscardHandler)})
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

func is(t *testing.T, what string, err error, kind *fault.Kind, says string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want %v that says %q", what, err, kind, says)
	}
}

func TestNamesAreOfIDs(t *testing.T) {
	where := storetest.Where(t)
	s, stop := run(t, where)
	for _, name := range []string{"", environment.Main} {
		if id, err := s.Resolve(name); err != nil || id != environment.Main {
			t.Errorf("Resolve(%q) = %q, %v", name, id, err)
		}
	}
	for _, name := range []string{"-x", "a b", "en-staging", strings.Repeat("x", 65), "a/b"} {
		_, err := s.Create(t.Context(), name, "me")
		is(t, name, err, fault.Invalid, "want 1 to 64")
	}
	_, err := s.Resolve("staging")
	is(t, "unknown", err, fault.NotFound, "skerry environment create staging")
	e, err := s.Create(t.Context(), "staging", "me")
	if err != nil || ident.Check(ident.Environment, e.ID) != nil || e.CreatedBy != "me" {
		t.Fatalf("Create = %+v, %v", e, err)
	}
	_, err = s.Create(t.Context(), "staging", "me")
	is(t, "twice", err, fault.Exists, "staging")
	_, err = s.Rename(t.Context(), environment.Main, "prod")
	is(t, "rename main", err, fault.Precondition, "main")
	is(t, "delete main", s.Delete(t.Context(), environment.Main), fault.Precondition, "main")
	_, err = s.Rename(t.Context(), "staging", environment.Main)
	is(t, "rename to a name that is taken", err, fault.Exists, "main")
	if r, err := s.Rename(t.Context(), "staging", "stage"); err != nil || r.ID != e.ID {
		t.Fatalf("Rename = %+v, %v", r, err)
	}
	stop()
	s, stop = run(t, where)
	defer stop()
	if id, err := s.Resolve("stage"); err != nil || id != e.ID || s.Name(e.ID) != "stage" {
		t.Errorf("after a start: %q, %v", id, err)
	}
	_, err = s.Resolve("staging")
	is(t, "the old name", err, fault.NotFound, "staging")
	if list := s.List(); len(list) != 2 || list[0].Name != "main" || list[1].CreatedAt.IsZero() {
		t.Errorf("List = %+v", list)
	}
}

// TestDeletionSurvivesCrashes: what a crash breaks off is gone on with, and meanwhile nothing comes into the environment.
func TestDeletionSurvivesCrashes(t *testing.T) {
	where := storetest.Where(t)
	begun := make(chan string, 1)
	s, stop := run(t, where, environment.Contents{Noun: "things", Empty: func(ctx context.Context, id string) error {
		begun <- id
		<-ctx.Done()
		return ctx.Err()
	}})
	e, err := s.Create(t.Context(), "old", "me")
	if err != nil {
		t.Fatal(err)
	}
	deleted := make(chan error, 1)
	go func() { deleted <- s.Delete(context.Background(), "old") }()
	if id := <-begun; id != e.ID {
		t.Errorf("emptied %q", id)
	}
	_, err = s.Resolve("old")
	is(t, "while it is deleted", err, fault.Precondition, "being deleted")
	_, err = s.Create(t.Context(), "old", "me")
	is(t, "its name", err, fault.Exists, "being deleted")
	_, err = s.Rename(t.Context(), "old", "older")
	is(t, "another name", err, fault.Precondition, "being deleted")
	stop()
	if err := <-deleted; err == nil {
		t.Error("a deletion that was broken off says that it is done")
	}

	fail := true
	var order []string
	s, stop = run(t, where, environment.Contents{Noun: "things", Empty: func(context.Context, string) error {
		order = append(order, "things")
		return nil
	}}, environment.Contents{Noun: "others", Empty: func(context.Context, string) error {
		if fail {
			fail = false
			return errors.New("disk full")
		}
		order = append(order, "others")
		return nil
	}})
	// The start goes on with it, and it fails; who asks again has it tried again.
	for err = s.Delete(t.Context(), "old"); err != nil && !errors.Is(err, fault.NotFound); err = s.Delete(t.Context(), "old") {
		if !strings.Contains(err.Error(), "its others: disk full") {
			t.Fatal(err)
		}
	}
	if fail || !slices.Contains(order, "others") || order[0] != "things" {
		t.Errorf("order %v", order)
	}
	again, err := s.Create(t.Context(), "old", "me")
	if err != nil || again.ID == e.ID {
		t.Errorf("the name again: %+v, %v", again, err)
	}
	stop()
	s, stop = run(t, where)
	defer stop()
	if id, err := s.Resolve("old"); err != nil || id != again.ID {
		t.Errorf("after a start: %q, %v", id, err)
	}
}

// TestNothingComesIntoAClosedEnvironment, whatever was resolved before.
func TestStoreKeepsClosedEnvironmentsClosed(t *testing.T) {
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := db.CreateEnvironment(t.Context(), environment.Environment{ID: "en-1", Name: "a"}); err != nil {
		t.Fatal(err)
	}
	is(t, "the name again", db.CreateEnvironment(t.Context(), environment.Environment{ID: "en-2", Name: "a"}), fault.Exists, "a")
	if err := db.CloseEnvironment(t.Context(), "en-1"); err != nil {
		t.Fatal(err)
	}
	is(t, "rename", db.RenameEnvironment(t.Context(), "en-1", "b"), fault.NotFound, "en-1")
	is(t, "close what there is not", db.CloseEnvironment(t.Context(), "en-3"), fault.NotFound, "en-3")
}
