package sqlstore_test

import (
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/ident"
)

// TestExpireApp leaves an app alone that has been deployed since its window ran out.
func TestExpireApp(t *testing.T) {
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		name  string
		moved bool
		state app.State
	}{{"", true, app.Stopping}, {"deployed", false, app.Deployed}} {
		a := app.App{ID: ident.New(ident.App), Environment: "main", Description: "a", State: app.Ephemeral, CreatedAt: time.Now()}
		if err := db.CreateApp(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if c.name != "" {
			if _, err := db.PublishApp(t.Context(), app.Publication{AppID: a.ID, Name: c.name, Environment: "main"}); err != nil {
				t.Fatal(err)
			}
		}
		moved, err := db.ExpireApp(t.Context(), a.ID, app.Ephemeral, app.ClientLost)
		if err != nil || moved != c.moved {
			t.Errorf("%q: expired: %t, %v", c.name, moved, err)
		}
		if now, err := db.App(t.Context(), a.ID); err != nil || now.State != c.state {
			t.Errorf("%q: %+v, %v; want state %d", c.name, now, err, c.state)
		}
	}
}
