// Package sqlstore keeps the gateway's truth in SQL. It is the only package that speaks SQL, in the part of the language that SQLite
// and PostgreSQL share.
package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// DefaultBusyTimeout is how long a statement waits for a lock of another process, such as a backup.
const DefaultBusyTimeout = 10 * time.Second

// maxReaders bounds connections that read; each costs memory for its page cache.
const maxReaders = 8

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database. Reads go on beside the one writer. It is safe for concurrent use.
type DB struct {
	writer *sql.DB // one connection: SQLite has one writer, and waiting for it here is fairer than in its busy handler
	reader *sql.DB
}

// Open opens the database file, makes it if missing, and brings its schema up to date. A commit is on disk when it returns.
func Open(ctx context.Context, path string) (*DB, error) {
	q := url.Values{}
	for _, p := range []string{
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		fmt.Sprintf("busy_timeout(%d)", DefaultBusyTimeout.Milliseconds()),
	} {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	writer, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", path, err)
	}
	writer.SetMaxOpenConns(1)
	q.Add("_pragma", "query_only(ON)")
	q.Del("_txlock")
	reader, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %q: %w", path, err), writer.Close())
	}
	reader.SetMaxOpenConns(maxReaders)
	reader.SetMaxIdleConns(maxReaders)
	db := &DB{writer: writer, reader: reader}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("database %q: %w", path, err), db.Close())
	}
	return db, nil
}

// Close closes the database.
func (d *DB) Close() error { return errors.Join(d.reader.Close(), d.writer.Close()) }

// tx runs f in a transaction of the one writer and commits it if f returns nil.
func (d *DB) tx(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(tx); err != nil {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) {
			return errors.Join(err, rerr)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// migrate runs the scripts of migrations/ that the database has not seen, in the order of their numbers, each in a transaction.
func (d *DB) migrate(ctx context.Context) error {
	const table = `CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`
	if _, err := d.writer.ExecContext(ctx, table); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	var current int
	if err := d.writer.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`).Scan(&current); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	scripts, err := loadScripts()
	if err != nil {
		return err
	}
	if n := len(scripts); n > 0 && current > scripts[n-1].version {
		return fmt.Errorf("migrations: schema %d is of a newer release; start that one", current)
	}
	for _, s := range scripts {
		if s.version <= current {
			continue
		}
		err := d.tx(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, s.text); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`,
				s.version, s.name, time.Now().UnixMilli())
			return err
		})
		if err != nil {
			return fmt.Errorf("migration %q: %w", s.name, err)
		}
	}
	return nil
}

type script struct {
	version    int
	name, text string
}

func loadScripts() ([]script, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var scripts []script
	for _, name := range names {
		base := strings.TrimPrefix(name, "migrations/")
		number, _, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("migration %q: want NNNN_name.sql", base)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, script{version, base, string(text)})
	}
	sort.Slice(scripts, func(i, j int) bool { return scripts[i].version < scripts[j].version })
	return scripts, nil
}

// millis and fromMillis are how times are stored: both databases compare integers alike.
func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// missing names what a query was for: a fault.NotFound where there is no row.
func missing(err error, noun, key string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "%s %q: there is none", noun, key)
	}
	return fmt.Errorf("%s %q: %w", noun, key, err)
}
