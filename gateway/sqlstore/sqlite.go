package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"modernc.org/sqlite" // also the driver named "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/skerry-dev/skerry/internal/fault"
)

// DefaultBusyTimeout is how long a statement waits for a lock of another process, such as a backup.
const DefaultBusyTimeout = 10 * time.Second

func openSQLite(path string) (*DB, error) {
	q := url.Values{}
	for _, p := range []string{
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		fmt.Sprintf("busy_timeout(%d)", DefaultBusyTimeout.Milliseconds()),
	} {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?"
	db, err := sql.Open("sqlite", name+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	q.Add("_pragma", "query_only(ON)")
	q.Del("_txlock")
	reader, err := sql.Open("sqlite", name+q.Encode())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	reader.SetMaxOpenConns(maxReaders)
	reader.SetMaxIdleConns(maxReaders)
	w := &writer{db: db, named: namedSQLite, lock: func(context.Context, *sql.Conn) (func() error, error) {
		return func() error { return nil }, nil // each script is in a transaction that begins by waiting for others
	}}
	return &DB{writer: w, reader: reader, typed: func(script string) string { return script }}, nil
}

// namedSQLite gives errors of the disk their kind: what fails so was not stored, and may be tried again once there is room.
func namedSQLite(err error) error {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_WRITE) {
		return fault.New(fault.Exhausted, "the data folder's disk is full, so that nothing can be recorded; free some space: %w", err)
	}
	return err
}
