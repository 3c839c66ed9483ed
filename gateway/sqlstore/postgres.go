package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sync/semaphore"

	"github.com/skerry-dev/skerry/internal/fault"
)

// migrationLock is the advisory lock of the processes that bring a schema up to date.
const migrationLock = 0x736b65727279 // "skerry"

// connectTimeout bounds the opening of one connection, where the URL gives no connect_timeout.
const connectTimeout = 10 * time.Second

func openPostgres(where string) (*DB, error) {
	cfg, err := pgx.ParseConfig(where)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", &redacted{err})
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "skerry"
	}
	write := cfg.Copy()
	write.RuntimeParams["default_transaction_isolation"] = "serializable"
	read := cfg.Copy()
	read.RuntimeParams["default_transaction_read_only"] = "on"
	db := stdlib.OpenDB(*write)
	db.SetMaxOpenConns(maxWriters)
	db.SetMaxIdleConns(maxWriters)
	reader := stdlib.OpenDB(*read)
	reader.SetMaxOpenConns(maxReaders)
	reader.SetMaxIdleConns(maxReaders)
	w := &writer{db: db, turns: semaphore.NewWeighted(maxWriters), conflict: conflicts, named: namedPostgres, lock: lockPostgres}
	return &DB{writer: w, reader: reader, typed: binaryText, snapshot: &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}}, nil
}

// textType is the type in a migration.
var textType = regexp.MustCompile(`\bTEXT\b`)

// binaryText has texts compared byte by byte, as in SQLite, whatever the database's own locale is: pages of lists go by that order.
func binaryText(script string) string { return textType.ReplaceAllString(script, `TEXT COLLATE "C"`) }

// Classes and codes of PostgreSQL's errors.
const (
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeUnique        = "23505"
	codeDiskFull      = "53100"
	codeNotInText     = "22021" // a zero byte
	classConnection   = "08"
	classResources    = "53"
	classIntervention = "57" // the server is being shut down, or has crashed
)

// conflicts says whether a transaction may succeed if it is run again. Two that insert the same row at the same time may be told of that
// instead of a conflict: that is one unless it happens to a transaction that had the database to itself.
func conflicts(err error, first bool) bool {
	e := (*pgconn.PgError)(nil)
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == codeSerialization || e.Code == codeDeadlock || first && e.Code == codeUnique
}

// namedPostgres gives errors of the server, and of the way to it, their kinds.
func namedPostgres(err error) error {
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == codeDiskFull:
		return fault.New(fault.Exhausted, "the database's disk is full, so that nothing can be recorded: %w", err)
	case errors.As(err, &e) && e.Code == codeNotInText:
		return fault.New(fault.Invalid, "a text with a zero byte can't be stored: %w", err)
	case errors.As(err, &e):
		if class := e.Code[:min(2, len(e.Code))]; class == classConnection || class == classResources || class == classIntervention || e.Code == codeSerialization {
			return fault.New(fault.Unavailable, "the database: %w", err)
		}
	case errors.As(err, new(*pgconn.ConnectError)), errors.As(err, new(net.Error)):
		return fault.New(fault.Unavailable, "the database does not answer: %w", err)
	}
	return err
}

// lockPostgres holds the lock of migrations, which the server also gives back with the connection.
func lockPostgres(ctx context.Context, conn *sql.Conn) (unlock func() error, err error) {
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return nil, fmt.Errorf("lock: %w", namedPostgres(err))
	}
	return func() error {
		_, err := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock))
		return err
	}, nil
}

// Redacted is a database's URL, or path, without a password: for messages.
func Redacted(where string) string {
	if !IsURL(where) {
		return where
	}
	u, err := url.Parse(where)
	if err != nil {
		scheme, _, _ := strings.Cut(where, ":")
		return scheme + "://..."
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
		}
	}
	u.RawQuery = q.Encode()
	return u.Redacted()
}

// redacted is an error of a URL's parser, which quotes the URL; it is told without.
type redacted struct{ error }

func (r *redacted) Error() string {
	return "want a URL such as postgres://user@host:5432/skerry?sslmode=verify-full; its password belongs in PGPASSWORD or PGPASSFILE"
}
func (r *redacted) Unwrap() error { return r.error }
