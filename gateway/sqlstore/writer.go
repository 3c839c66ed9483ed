package sqlstore

import (
	"context"
	"database/sql"

	"golang.org/x/sync/semaphore"
)

// writer is where changes go.
//
// SQLite has one writer: its pool has one connection, and waiting for that is fairer than in SQLite's busy handler. So transactions are serial,
// and the stores are written for that: they read and then write what follows from it, with no locks of their own.
//
// PostgreSQL runs them at the same time, at the level SERIALIZABLE: it has the same results as some serial order, or a transaction fails
// with a conflict. That holds for every transaction that there is and will be, those of one statement included, where explicit locks would
// have to be thought of in each of them. What has met a conflict is run again alone: of this process nothing else is written meanwhile, so
// it meets no conflict again unless another process writes, and nobody starves. One lock around everything would be simpler, but keeps each
// transaction waiting for the round trips and the sync of all before it.
type writer struct {
	db *sql.DB
	// turns has a share for each transaction that may run at the same time; what runs alone takes all. Nil: the pool has one connection.
	turns *semaphore.Weighted
	// conflict says whether an error means that another transaction was in the way; first, whether that may have been one of this process.
	conflict func(err error, first bool) bool
	// named gives errors that have a cause outside, such as a full disk, their kind.
	named func(error) error
	// lock has one process at a time use a connection until unlock is called.
	lock func(ctx context.Context, conn *sql.Conn) (unlock func() error, err error)
}

// maxWriters is how many transactions run at the same time in PostgreSQL.
const maxWriters = 8

// run runs f, again where it met a conflict.
func (w *writer) run(ctx context.Context, f func() error) error {
	if w.turns == nil {
		return w.named(f())
	}
	share := int64(1)
	for {
		if err := w.turns.Acquire(ctx, share); err != nil {
			return context.Cause(ctx)
		}
		err := f()
		w.turns.Release(share)
		if err == nil || ctx.Err() != nil || !w.conflict(err, share == 1) {
			return w.named(err)
		}
		share = maxWriters
	}
}

// ExecContext runs a statement that is a transaction of its own.
func (w *writer) ExecContext(ctx context.Context, query string, args ...any) (res sql.Result, err error) {
	err = w.run(ctx, func() (err error) {
		res, err = w.db.ExecContext(ctx, query, args...)
		return err
	})
	return res, err
}
