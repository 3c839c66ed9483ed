package sqlstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/cron"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func newApp(t *testing.T, db *sqlstore.DB) app.App {
	t.Helper()
	a := app.App{ID: ident.New(ident.App), Environment: "main", Description: "d", State: app.Initializing, CreatedAt: time.UnixMilli(5).UTC()}
	if err := db.CreateApp(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func deploy(t *testing.T, db *sqlstore.DB, appID string, functions ...function.Definition) *app.Published {
	t.Helper()
	done, err := db.PublishApp(t.Context(), app.Publication{
		AppID: appID, Name: "app", Environment: "main", Functions: functions, Tags: map[string]string{"k": "v"},
		Deployment: app.Deployment{DeployedAt: time.UnixMilli(7).UTC(), DeployedBy: "me"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// TestDeployments follows an app through versions, a merge with one that was prepared for it, and its end.
func TestDeployments(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	first := newApp(t, db)
	scheduled := function.Definition{Name: "f", Schedule: &function.Schedule{Cron: "* * * * *", Timezone: "UTC"}}
	ids, err := db.Reserve(ctx, first.ID, []string{"f", "g"})
	if err != nil || len(ids) != 2 {
		t.Fatal(ids, err)
	}
	if done := deploy(t, db, first.ID, scheduled, function.Definition{Name: "g"}); done.Functions[0].ID != ids[done.Functions[0].Definition.Name] {
		t.Errorf("ids that were reserved %v, are not those of %+v", ids, done.Functions)
	}
	if done := deploy(t, db, first.ID, scheduled, function.Definition{Name: "g"}); !done.Unchanged {
		t.Errorf("the same again is a new version: %+v", done)
	}
	second := newApp(t, db)
	sealed := secret.Record{ID: "st-1", AppID: second.ID, Sealed: secret.Sealed{KeyID: "k", Key: []byte{1}, Content: []byte{0, 1, 255}}, CreatedAt: time.UnixMilli(9).UTC()}
	if err := db.CreateSecret(ctx, &sealed); err != nil {
		t.Fatal(err)
	}
	merged := deploy(t, db, second.ID, scheduled, function.Definition{Name: "h"})
	if merged.App.ID != first.ID || merged.App.Version != 2 || len(merged.Removed) != 1 {
		t.Errorf("merged: %+v", merged)
	}
	if got, err := db.Secret(ctx, "st-1"); err != nil || got.AppID != first.ID || !cmp.Equal(got.Sealed, sealed.Sealed) {
		t.Errorf("secret %+v, %v", got, err)
	}
	if list, err := db.Deployments(ctx, first.ID); err != nil || len(list) != 2 || list[0].Version != 2 || list[0].DeployedBy != "me" {
		t.Errorf("deployments %+v, %v", list, err)
	}
	if old, err := db.Definitions(ctx, first.ID, 1); err != nil || len(old) != 2 || old[1].Name != "g" {
		t.Errorf("version 1: %+v, %v", old, err)
	}
	if apps, err := db.Apps(ctx, "main", time.UnixMilli(0)); err != nil || len(apps) != 1 || apps[0].Tags["k"] != "v" {
		t.Errorf("apps %+v, %v", apps, err)
	}
	if err := db.SetTags(ctx, first.ID, map[string]string{"n": "m"}); err != nil {
		t.Error(err)
	}
	if moved, err := db.SetAppState(ctx, first.ID, app.Stopped, app.ClientLost, time.UnixMilli(10)); err != nil || !moved {
		t.Errorf("stopped: %t, %v", moved, err)
	}
	if moved, err := db.SetAppState(ctx, first.ID, app.Stopping, app.ClientLost, time.UnixMilli(11)); err != nil || moved {
		t.Errorf("stopped again: %t, %v", moved, err)
	}
	if _, err := db.SetAppState(ctx, "ap-none", app.Stopped, app.ClientLost, time.Now()); !errors.Is(err, fault.NotFound) {
		t.Errorf("an app that is not there: %v", err)
	}
	if err := db.CreateSecret(ctx, &secret.Record{ID: "st-2", AppID: first.ID}); !errors.Is(err, fault.Precondition) {
		t.Errorf("a secret of a stopped app: %v", err)
	}
	if err := db.DeleteAppSecrets(ctx, first.ID); err != nil {
		t.Error(err)
	}
}

// TestFunctions finds functions by name and id, bound ones, and bounds that were set at run time.
func TestFunctions(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	valid := function.Definition{
		Name: "f", Module: "m", Qualname: "f", ImageID: ident.New(ident.Image), Timeout: time.Minute, StartupTimeout: time.Minute, PythonVersion: "3.12",
	}
	done := deploy(t, db, newApp(t, db).ID, valid, function.Definition{Name: "g"})
	f, err := db.FunctionByName(ctx, "main", "app", "f")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetAutoscaler(ctx, f.ID, f.Version, function.Autoscaler{MaxContainers: 3}); err != nil {
		t.Fatal(err)
	}
	if f, err = db.Function(ctx, f.ID); err != nil || f.Definition.Autoscaler.MaxContainers != 3 || f.AppName != "app" {
		t.Errorf("%+v, %v", f, err)
	}
	var bound string
	for _, version := range []uint32{0, 1, 0} {
		id, err := db.Bind(ctx, function.Binding{BaseID: f.ID, Version: version, Options: &function.Options{}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := db.Function(ctx, id); err != nil || got.ID != id || got.Definition.Name != "f" {
			t.Errorf("bound to version %d: %+v, %v", version, got, err)
		}
		if bound == "" {
			bound = id
		} else if (bound == id) != (version == 0) {
			t.Errorf("version %d is function %q", version, id)
		}
	}
	if list, err := db.AppFunctions(ctx, done.App.ID); err != nil || len(list) != 2 || list[0].Definition.Name != "f" {
		t.Errorf("functions %+v, %v", list, err)
	}
	if _, err := db.Function(ctx, "fu-none"); !errors.Is(err, fault.NotFound) {
		t.Errorf("none: %v", err)
	}
}

func TestSchedules(t *testing.T) {
	db, ctx := openCalls(t), t.Context()
	a := newApp(t, db)
	done := deploy(t, db, a.ID, function.Definition{Name: "f", Schedule: &function.Schedule{Cron: "* * * * *", Timezone: "UTC"}},
		function.Definition{Name: "g"})
	id := done.Functions[0].ID
	if done.Functions[0].Definition.Name != "f" {
		id = done.Functions[1].ID
	}
	state := cron.State{FunctionID: id, Spec: "s", Anchor: time.UnixMilli(1).UTC(), Done: time.UnixMilli(2).UTC()}
	for _, due := range []time.Time{{}, time.UnixMilli(3).UTC()} {
		state.LastDue = due
		if err := db.SaveSchedule(ctx, state); err != nil {
			t.Fatal(err)
		}
		for _, of := range []string{"", a.ID} {
			if list, err := db.Scheduled(ctx, of); err != nil || len(list) != 1 || !cmp.Equal(list[0].State, state) {
				t.Errorf("schedules of %q: %+v, %v", of, list, err)
			}
		}
	}
	deploy(t, db, a.ID, function.Definition{Name: "g"})
	if err := db.DropSchedules(ctx, a.ID); err != nil {
		t.Error(err)
	}
	if list, err := db.Scheduled(ctx, a.ID); err != nil || len(list) != 0 {
		t.Errorf("after it was dropped: %+v, %v", list, err)
	}
}
