// Package storetest has tests of stores run against every database: SQLite, and a PostgreSQL that they start.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver named "pgx"
)

// cluster is the PostgreSQL that the tests of this process use; nil: they use SQLite.
var cluster atomic.Pointer[Cluster]

// made counts schemas.
var made atomic.Int64

// Main runs the tests of a package twice, first with SQLite and then with PostgreSQL, and returns the exit code. It is for a TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
func Main(m *testing.M) int {
	if code := m.Run(); code != 0 {
		return code
	}
	if selected("test.list") || selected("test.bench") {
		return 0 // benchmarks compare what changes, not databases
	}
	c, err := Start(context.Background())
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "PostgreSQL:", err)
		return 1
	}
	cluster.Store(c)
	code := m.Run()
	if err := c.Close(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "PostgreSQL:", err)
		return 1
	}
	return code
}

// Where is a new, empty database for sqlstore.Open, which may be opened several times.
func Where(t testing.TB) string {
	t.Helper()
	c := cluster.Load()
	if c == nil {
		return filepath.Join(t.TempDir(), "skerry.db")
	}
	where, err := c.NewSchema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return where
}

// Driver is the database/sql driver of what Where returns, for tests that look at tables.
func Driver() string {
	if cluster.Load() == nil {
		return "sqlite"
	}
	return "pgx"
}

// NewSchema makes a schema of the cluster that is a database of its own to whoever opens the URL.
func (c *Cluster) NewSchema(ctx context.Context) (where string, err error) {
	db, err := sql.Open("pgx", c.URL)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	name := fmt.Sprintf("test_%d", made.Add(1))
	if _, err := db.ExecContext(ctx, "CREATE SCHEMA "+name); err != nil {
		return "", fmt.Errorf("schema %q: %w", name, err)
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
