package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/layer"
)

var _ layer.Store = (*DB)(nil)

// usedStep is how much later than its record a use has to be to change it.
const usedStep = time.Hour

// PutLayers implements layer.Store.
func (d *DB) PutLayers(ctx context.Context, e layer.Entry, names []string) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO layers (bundle, bytes, used_at) VALUES ($1, $2, $3)
			ON CONFLICT (bundle) DO UPDATE SET used_at = excluded.used_at`, e.Bundle, int64(e.Bytes), millis(e.UsedAt))
		if err != nil {
			return err
		}
		for _, name := range names {
			_, err := tx.ExecContext(ctx, `INSERT INTO layer_names (name, bundle) VALUES ($1, $2)
				ON CONFLICT (name) DO UPDATE SET bundle = excluded.bundle`, name, e.Bundle)
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM layers WHERE bundle NOT IN (SELECT bundle FROM layer_names)`)
		return err
	})
	if err != nil {
		return fmt.Errorf("shared results %q: %w", e.Bundle, err)
	}
	return nil
}

// FindLayers implements layer.Store.
func (d *DB) FindLayers(ctx context.Context, names []string, now time.Time) ([]string, error) {
	found := make([]string, len(names))
	for i, name := range names {
		var used int64
		err := d.reader.QueryRowContext(ctx, `SELECT l.bundle, l.used_at FROM layer_names n JOIN layers l ON l.bundle = n.bundle WHERE n.name = $1`, name).
			Scan(&found[i], &used)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err == nil && now.Sub(fromMillis(used)) > usedStep {
			_, err = d.writer.ExecContext(ctx, `UPDATE layers SET used_at = $1 WHERE bundle = $2`, millis(now), found[i])
		}
		if err != nil {
			return nil, fmt.Errorf("shared results: %w", err)
		}
	}
	return found, nil
}

// Layers implements layer.Store.
func (d *DB) Layers(ctx context.Context) (all []layer.Entry, err error) {
	err = d.each(ctx, func(rows *sql.Rows) error {
		var e layer.Entry
		var size, used int64
		if err := rows.Scan(&e.Bundle, &size, &used); err != nil {
			return err
		}
		e.Bytes, e.UsedAt = uint64(size), fromMillis(used) //nolint:gosec // not negative
		all = append(all, e)
		return nil
	}, `SELECT bundle, bytes, used_at FROM layers ORDER BY used_at DESC, bundle`)
	if err != nil {
		return nil, fmt.Errorf("shared results: %w", err)
	}
	return all, nil
}

// ForgetLayers implements layer.Store.
func (d *DB) ForgetLayers(ctx context.Context, bundle string) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM layer_names WHERE bundle = $1`, bundle); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM layers WHERE bundle = $1`, bundle)
		return err
	})
	if err != nil {
		return fmt.Errorf("shared results %q: %w", bundle, err)
	}
	return nil
}
