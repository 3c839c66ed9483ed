package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

var (
	_ object.Store = (*DB)(nil)
	_ object.Lives = (*DB)(nil)
)

const objectColumns = `SELECT id, kind, environment, name, created_at, created_by FROM objects WHERE doomed = 0 AND `

func scanObject(scan func(...any) error) (*object.Object, error) {
	o := &object.Object{}
	var name sql.NullString
	var created int64
	if err := scan(&o.ID, &o.Kind, &o.Environment, &name, &created, &o.CreatedBy); err != nil {
		return nil, err
	}
	o.Name, o.CreatedAt = name.String, fromMillis(created)
	return o, nil
}

// CreateObject implements object.Store.
func (d *DB) CreateObject(ctx context.Context, o *object.Object, seen time.Time) error {
	return d.tx(ctx, func(tx *sql.Tx) error { return insertObject(ctx, tx, o, seen) })
}

func insertObject(ctx context.Context, tx *sql.Tx, o *object.Object, seen time.Time) error {
	if err := enter(ctx, tx, o.Environment); err != nil {
		return err
	}
	if err := nameIsFree(ctx, tx, o.Kind, o.Environment, o.Name); err != nil {
		return err
	}
	// Pages of a list go on from a moment: no two may have the same.
	var newest sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT MAX(created_at) FROM objects WHERE kind = $1 AND environment = $2`,
		string(o.Kind), o.Environment).Scan(&newest)
	if err != nil {
		return fmt.Errorf("object %q: %w", o.ID, err)
	}
	created := max(millis(time.Now()), newest.Int64+1)
	o.CreatedAt = fromMillis(created)
	_, err = tx.ExecContext(ctx,
		`INSERT INTO objects (id, kind, environment, name, created_at, created_by, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		o.ID, string(o.Kind), o.Environment, sql.NullString{String: o.Name, Valid: o.Name != ""}, created, o.CreatedBy,
		sql.NullInt64{Int64: millis(seen), Valid: !seen.IsZero()})
	if err != nil {
		return fmt.Errorf("object %q: %w", o.ID, err)
	}
	return nil
}

// nameIsFree returns a fault.Exists where an object has a name. No name is free.
func nameIsFree(ctx context.Context, tx *sql.Tx, kind ident.Kind, environment, name string) error {
	var same int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM objects WHERE kind = $1 AND environment = $2 AND name = $3`,
		string(kind), environment, name).Scan(&same)
	if err != nil {
		return fmt.Errorf("object %q: %w", name, err)
	}
	if same > 0 && name != "" {
		return fault.New(fault.Exists, "object %q: is there already", name)
	}
	return nil
}

// RenameObject implements object.Store.
func (d *DB) RenameObject(ctx context.Context, id, name string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		o, err := scanObject(tx.QueryRowContext(ctx, objectColumns+`id = $1 AND name IS NOT NULL`, id).Scan)
		if err != nil {
			return missing(err, "object", id)
		}
		if o.Name == name {
			return nil
		}
		if err := nameIsFree(ctx, tx, o.Kind, o.Environment, name); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE objects SET name = $1 WHERE id = $2`, name, id); err != nil {
			return fmt.Errorf("object %q: %w", id, err)
		}
		return nil
	})
}

// Object implements object.Store.
func (d *DB) Object(ctx context.Context, ref object.Ref) (*object.Object, error) {
	var row *sql.Row
	key := ref.ID
	if ref.ID != "" {
		row = d.reader.QueryRowContext(ctx, objectColumns+`id = $1`, ref.ID)
	} else {
		key = ref.Name
		row = d.reader.QueryRowContext(ctx, objectColumns+`kind = $1 AND environment = $2 AND name = $3`, string(ref.Kind), ref.Environment, ref.Name)
	}
	o, err := scanObject(row.Scan)
	if err != nil {
		return nil, missing(err, "object", key)
	}
	return o, nil
}

// Objects implements object.Store.
func (d *DB) Objects(ctx context.Context, p object.Page) (found []object.Object, err error) {
	before := int64(math.MaxInt64)
	if !p.Before.IsZero() {
		before = millis(p.Before)
	}
	err = d.each(ctx, func(rows *sql.Rows) error {
		o, err := scanObject(rows.Scan)
		if err == nil {
			found = append(found, *o)
		}
		return err
	}, objectColumns+`kind = $1 AND environment = $2 AND name IS NOT NULL AND created_at < $3 ORDER BY created_at DESC LIMIT $4`,
		string(p.Kind), p.Environment, before, p.Limit)
	if err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	return found, nil
}

// KeepObject implements object.Lives.
func (d *DB) KeepObject(ctx context.Context, id string, at time.Time) error {
	return d.oneObject(ctx, id, `UPDATE objects SET seen_at = $2 WHERE id = $1 AND doomed = 0 AND seen_at IS NOT NULL`, id, millis(at))
}

// DoomObjects implements object.Lives.
func (d *DB) DoomObjects(ctx context.Context, ref object.Ref) error {
	const doom = `UPDATE objects SET doomed = 1, name = NULL WHERE doomed = 0 AND `
	if ref.ID != "" {
		return d.oneObject(ctx, ref.ID, doom+`id = $1`, ref.ID)
	}
	if _, err := d.writer.ExecContext(ctx, doom+`kind = $1 AND environment = $2`, string(ref.Kind), ref.Environment); err != nil {
		return fmt.Errorf("objects: %w", err)
	}
	return nil
}

func (d *DB) oneObject(ctx context.Context, id, statement string, args ...any) error {
	res, err := d.writer.ExecContext(ctx, statement, args...)
	if err != nil {
		return fmt.Errorf("object %q: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return missing(sql.ErrNoRows, "object", id)
	}
	return nil
}

// DoomedObjects implements object.Lives.
func (d *DB) DoomedObjects(ctx context.Context, kind ident.Kind, heardBefore time.Time) (ids []string, err error) {
	if !heardBefore.IsZero() {
		_, err = d.writer.ExecContext(ctx, `UPDATE objects SET doomed = 1 WHERE kind = $1 AND doomed = 0 AND seen_at < $2`, string(kind), millis(heardBefore))
		if err != nil {
			return nil, fmt.Errorf("objects: %w", err)
		}
	}
	err = d.each(ctx, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, `SELECT id FROM objects WHERE kind = $1 AND doomed = 1`, string(kind))
	if err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	return ids, nil
}

// ForgetObject implements object.Lives.
func (d *DB) ForgetObject(ctx context.Context, id string) error {
	if _, err := d.writer.ExecContext(ctx, `DELETE FROM objects WHERE id = $1 AND doomed = 1`, id); err != nil {
		return fmt.Errorf("object %q: %w", id, err)
	}
	return nil
}
