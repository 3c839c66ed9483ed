// Package sqlstore keeps the gateway's truth in SQL, in a SQLite file or in PostgreSQL. It is the only package that speaks SQL: one schema and one
// set of queries, in the part of the language that both databases share.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// maxReaders bounds connections that read; each costs memory for its page cache, or a process of the server.
const maxReaders = 8

// DB is an open database. Reads go on beside writers. It is safe for concurrent use.
type DB struct {
	writer *writer
	// reader sees what was committed before each statement.
	reader *sql.DB
	// typed adapts the types of a migration to the database.
	typed func(script string) string
	// snapshot has all statements of a transaction of reader see the same moment.
	snapshot *sql.TxOptions
}

// Open opens a database and brings its schema up to date: PostgreSQL at a URL such as postgres://user@host/skerry, or the SQLite file of that
// path, which is made if missing. A commit is on disk when it returns.
func Open(ctx context.Context, where string) (*DB, error) {
	open := openSQLite
	if IsURL(where) {
		open = openPostgres
	}
	db, err := open(where)
	if err != nil {
		return nil, fmt.Errorf("database %q: %w", Redacted(where), err)
	}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("database %q: %w", Redacted(where), err), db.Close())
	}
	return db, nil
}

// IsURL says whether where names a PostgreSQL database, and not a file.
func IsURL(where string) bool {
	return strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://")
}

// Close closes the database.
func (d *DB) Close() error { return errors.Join(d.reader.Close(), d.writer.db.Close()) }

// tx runs f in a transaction and commits it if f returns nil. Transactions are serial: each sees the database as if it had it to itself.
// f may be run more than once, so it sets what it returns and adds to nothing outside. It uses tx alone, not d.
func (d *DB) tx(ctx context.Context, f func(tx *sql.Tx) error) error {
	return d.writer.run(ctx, func() error { return transact(ctx, d.writer.db, f) })
}

func transact(ctx context.Context, db beginner, f func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
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

// beginner is a database or one of its connections.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
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

// flag is how a truth is stored in a column of whole numbers.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
