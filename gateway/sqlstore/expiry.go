package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Bounds of one transaction of Expire: it holds up what else is to be written.
const (
	expiryCalls  = 500
	expiryInputs = 5000
)

// Expire implements call.Expiry.
func (d *DB) Expire(ctx context.Context, before time.Time) error {
	for {
		ids, large, err := d.ended(ctx, before)
		switch {
		case err != nil:
		case len(ids) == 0:
			return nil
		case large:
			err = d.expireLarge(ctx, ids[0], before)
		default:
			err = d.tx(ctx, func(tx *sql.Tx) error {
				for _, id := range ids {
					if _, err := expireSome(ctx, tx, id, before); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("expire calls: %w", err)
		}
	}
}

// ended returns calls to expire: some that make up a transaction, or one that is too large for that.
func (d *DB) ended(ctx context.Context, before time.Time) (ids []string, large bool, err error) {
	rows, err := d.reader.QueryContext(ctx, `
		SELECT id, num_inputs FROM calls WHERE ended_at < $1 AND ended_at IS NOT NULL AND expired = 0 ORDER BY ended_at LIMIT $2`,
		millis(before), expiryCalls)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close() // rows.Err tells what went wrong
	sum := 0
	for rows.Next() {
		var id string
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, false, err
		}
		if sum += n; sum >= expiryInputs {
			if len(ids) == 0 {
				return []string{id}, true, nil
			}
			break
		}
		ids = append(ids, id)
	}
	return ids, false, rows.Err()
}

// expireLarge expires a call step by step.
func (d *DB) expireLarge(ctx context.Context, id string, before time.Time) error {
	for more := true; more; {
		err := d.tx(ctx, func(tx *sql.Tx) (err error) {
			more, err = expireSome(ctx, tx, id, before)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// expireSome deletes inputs of a call, and marks it as expired once there are no more. One that was given new inputs meanwhile is left alone.
func expireSome(ctx context.Context, tx *sql.Tx, id string, before time.Time) (more bool, err error) {
	res, err := tx.ExecContext(ctx, `
		DELETE FROM call_inputs WHERE call_id = (SELECT id FROM calls WHERE id = $1 AND ended_at < $2)
			AND position IN (SELECT position FROM call_inputs WHERE call_id = $1 LIMIT $3)`, id, millis(before), expiryInputs)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	if err != nil || n == expiryInputs {
		return true, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE calls SET expired = 1 WHERE id = $1 AND ended_at < $2`, id, millis(before))
	return false, err
}
