package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/environment"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ environment.Store = (*DB)(nil)

// enter is the first statement of every transaction that puts something into an environment. It returns a fault.NotFound where that is
// being deleted or gone. Transactions are serial, so the environment can't be closed before this one has ended.
func enter(ctx context.Context, tx *sql.Tx, id string) error {
	var open int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM environments WHERE id = $1 AND closed = 0`, id).Scan(&open)
	if err != nil {
		return fmt.Errorf("environment %q: %w", id, err)
	}
	if open == 0 {
		return fault.New(fault.NotFound, "environment %q: is deleted", id)
	}
	return nil
}

// environmentName returns what the environment of an id is called, for messages.
func (d *DB) environmentName(ctx context.Context, id string) string {
	name := id
	if err := d.reader.QueryRowContext(ctx, `SELECT name FROM environments WHERE id = $1`, id).Scan(&name); err != nil {
		return id // it is part of another error's text, which is worth more than this one
	}
	return name
}

// Environments implements environment.Store.
func (d *DB) Environments(ctx context.Context) ([]environment.Environment, error) {
	rows, err := d.reader.QueryContext(ctx, `SELECT id, name, created_at, created_by, closed FROM environments WHERE deleted_at IS NULL`)
	if err != nil {
		return nil, fmt.Errorf("environments: %w", err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var list []environment.Environment
	for rows.Next() {
		var e environment.Environment
		var created int64
		var closed int
		if err := rows.Scan(&e.ID, &e.Name, &created, &e.CreatedBy, &closed); err != nil {
			return nil, fmt.Errorf("environments: %w", err)
		}
		e.Deleting = closed != 0
		if created != 0 { // when main was made is not known
			e.CreatedAt = fromMillis(created)
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

// CreateEnvironment implements environment.Store.
func (d *DB) CreateEnvironment(ctx context.Context, e environment.Environment) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := unnamed(ctx, tx, e.Name); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO environments (id, name, created_at, created_by) VALUES ($1, $2, $3, $4)`,
			e.ID, e.Name, millis(e.CreatedAt), e.CreatedBy)
		if err != nil {
			return fmt.Errorf("environment %q: %w", e.Name, err)
		}
		return nil
	})
}

// unnamed returns a fault.Exists where an environment has the name.
func unnamed(ctx context.Context, tx *sql.Tx, name string) error {
	var there int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM environments WHERE name = $1 AND deleted_at IS NULL`, name).Scan(&there)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("environment %q: %w", name, err)
	}
	return fault.New(fault.Exists, "environment %q: there is one of that name already", name)
}

// RenameEnvironment implements environment.Store.
func (d *DB) RenameEnvironment(ctx context.Context, id, name string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := unnamed(ctx, tx, name); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE environments SET name = $1 WHERE id = $2 AND closed = 0`, name, id)
		return changed(res, err, "environment", id)
	})
}

// CloseEnvironment implements environment.Store.
func (d *DB) CloseEnvironment(ctx context.Context, id string) error {
	res, err := d.writer.ExecContext(ctx, `UPDATE environments SET closed = 1 WHERE id = $1 AND deleted_at IS NULL`, id)
	return changed(res, err, "environment", id)
}

// DeleteEnvironment implements environment.Store.
func (d *DB) DeleteEnvironment(ctx context.Context, id string, at time.Time) error {
	res, err := d.writer.ExecContext(ctx, `UPDATE environments SET deleted_at = $1 WHERE id = $2 AND closed = 1`, millis(at), id)
	return changed(res, err, "environment", id)
}

// changed returns a fault.NotFound where a statement changed no row.
func changed(res sql.Result, err error, noun, key string) error {
	if err != nil {
		return fmt.Errorf("%s %q: %w", noun, key, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return missing(errors.Join(err, sql.ErrNoRows), noun, key)
	}
	return nil
}

// DeleteImageNames takes the names away that images have and had in an environment.
func (d *DB) DeleteImageNames(ctx context.Context, environment string) error {
	if _, err := d.writer.ExecContext(ctx, `DELETE FROM image_names WHERE environment = $1`, environment); err != nil {
		return fmt.Errorf("image names of environment %q: %w", environment, err)
	}
	return nil
}
