package sqlstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/fault"
)

// atOnce runs f n times at the same time, half of them on a second handle as another process would have it, and returns the errors.
func atOnce(t *testing.T, n int, f func(db *sqlstore.DB, i int) error) []error {
	t.Helper()
	where := storetest.Where(t)
	handles := make([]*sqlstore.DB, 2)
	for i := range handles {
		db, err := sqlstore.Open(t.Context(), where)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		handles[i] = db
	}
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(handles[i%2], i) })
	}
	all.Wait()
	return errs
}

// TestWritersAreSerial: what is read in a transaction, and decides what it writes, is not changed by others meanwhile.
func TestWritersAreSerial(t *testing.T) {
	const writers = 40
	t.Run("a number of its own for each", func(t *testing.T) {
		name := image.Name{Environment: "main", Name: "n", Tag: "t"}
		var db *sqlstore.DB
		for i, err := range atOnce(t, writers, func(d *sqlstore.DB, i int) error {
			if i == 0 {
				db = d
			}
			return d.PutName(t.Context(), image.Named{Name: name, ImageID: fmt.Sprint("im-", i), UpdatedAt: time.UnixMilli(int64(i))})
		}) {
			if err != nil {
				t.Errorf("name %d: %v", i, err)
			}
		}
		if history, err := db.NameHistory(t.Context(), name); err != nil || len(history) != writers {
			t.Errorf("%d names, %v", len(history), err)
		}
	})
	t.Run("one owner of a name", func(t *testing.T) {
		won := 0
		for i, err := range atOnce(t, writers, func(d *sqlstore.DB, i int) error {
			return d.ClaimSandboxName(t.Context(), "ap-1", "name", fmt.Sprint("sb-", i))
		}) {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, fault.Exists):
				t.Errorf("claim %d: %v", i, err)
			}
		}
		if won != 1 {
			t.Errorf("%d have the name", won)
		}
	})
	t.Run("every finished input counts", func(t *testing.T) {
		var db *sqlstore.DB
		var accepted sync.Once
		for i, err := range atOnce(t, writers, func(d *sqlstore.DB, i int) (err error) {
			accepted.Do(func() {
				db = d
				indexes := make([]uint32, writers)
				for i := range indexes {
					indexes[i] = uint32(i)
				}
				err = d.Accept(t.Context(), []call.Accept{spawned("fc-a", indexes...)})
			})
			return errors.Join(err, d.Finish(t.Context(), time.Now(), []call.Output{returned("fc-a", uint32(i), "x"), returned("fc-a", uint32(i/2), "y")}))
		}) {
			if err != nil {
				t.Errorf("output %d: %v", i, err)
			}
		}
		if s, err := db.Get(t.Context(), "fc-a"); err != nil || s.NumFinished != writers || s.NumInputs != writers {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestDeploymentsAtOnce: each is a version of the same app.
func TestDeploymentsAtOnce(t *testing.T) {
	const writers = 12
	var db *sqlstore.DB
	for i, err := range atOnce(t, writers, func(d *sqlstore.DB, i int) error {
		if i == 0 {
			db = d
		}
		a := app.App{ID: fmt.Sprint("ap-", i), Environment: "main", State: app.Initializing, CreatedAt: time.Now()}
		if err := d.CreateApp(t.Context(), a); err != nil {
			return err
		}
		if err := d.PutSandboxes(t.Context(), []sandbox.Sandbox{{ID: fmt.Sprint("sb-", i), AppID: a.ID, CreatedAt: time.Now()}}); err != nil {
			return err
		}
		_, err := d.PublishApp(t.Context(), app.Publication{
			AppID: a.ID, Name: "app", Environment: "main", Again: true, Functions: []function.Definition{{Name: fmt.Sprint("f", i)}, {Name: "same"}},
		})
		return err
	}) {
		if err != nil {
			t.Errorf("deployment %d: %v", i, err)
		}
	}
	a, err := db.AppByName(t.Context(), "main", "app")
	if err != nil || a.Version != writers {
		t.Fatalf("%+v, %v", a, err)
	}
	if list, err := db.Deployments(t.Context(), a.ID); err != nil || len(list) != writers {
		t.Errorf("%d deployments, %v", len(list), err)
	}
	if list, err := db.AppFunctions(t.Context(), a.ID); err != nil || len(list) != 2 {
		t.Errorf("%d functions, %v", len(list), err)
	}
}

// TestOpenedAtOnce: one of several processes that start brings the schema up to date.
func TestOpenedAtOnce(t *testing.T) {
	where := storetest.Where(t)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			db, err := sqlstore.Open(t.Context(), where)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := db.Apps(t.Context(), "", time.Now()); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
