package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ volume.Store = (*DB)(nil)

// CreateVolume implements volume.Store.
func (d *DB) CreateVolume(ctx context.Context, v *volume.Volume, first volume.Version) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := enter(ctx, tx, v.Environment); err != nil {
			return err
		}
		if v.Name != "" {
			if err := nameIsFree(ctx, tx, v.Environment, v.Name); err != nil {
				return err
			}
		}
		// Lists are paged by this time, so that no two are made at the same.
		var last int64
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(created_at), 0) FROM volumes`).Scan(&last); err != nil {
			return fmt.Errorf("volume %q: %w", v.Name, err)
		}
		v.CreatedAt = fromMillis(max(millis(v.CreatedAt), last+1))
		_, err := tx.ExecContext(ctx, `INSERT INTO volumes (id, environment, name, created_at, created_by, head) VALUES ($1, $2, $3, $4, $5, $6)`,
			v.ID, v.Environment, sql.NullString{String: v.Name, Valid: v.Name != ""}, millis(v.CreatedAt), v.CreatedBy, int64(first.Number))
		if err != nil {
			return fmt.Errorf("volume %q: %w", v.Name, err)
		}
		return insertVersion(ctx, tx, v.ID, first)
	})
}

// nameIsFree returns a fault.Exists where a volume has a name.
func nameIsFree(ctx context.Context, tx *sql.Tx, environment, name string) error {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM volumes WHERE environment = $1 AND name = $2`, environment, name).Scan(&n)
	if err == nil && n > 0 {
		return fault.New(fault.Exists, "volume %q: there is one in environment %q already", name, environment)
	}
	return err
}

const volumeColumns = `SELECT id, environment, name, created_at, created_by FROM volumes WHERE `

func scanVolume(scan func(...any) error) (*volume.Volume, error) {
	v := &volume.Volume{}
	var name sql.NullString
	var created int64
	if err := scan(&v.ID, &v.Environment, &name, &created, &v.CreatedBy); err != nil {
		return nil, err
	}
	v.Name, v.CreatedAt = name.String, fromMillis(created)
	return v, nil
}

// Volume implements volume.Store.
func (d *DB) Volume(ctx context.Context, id string) (*volume.Volume, error) {
	v, err := scanVolume(d.reader.QueryRowContext(ctx, volumeColumns+`id = $1`, id).Scan)
	if err != nil {
		return nil, missing(err, "volume", id)
	}
	return v, nil
}

// VolumeByName implements volume.Store.
func (d *DB) VolumeByName(ctx context.Context, environment, name string) (*volume.Volume, error) {
	v, err := scanVolume(d.reader.QueryRowContext(ctx, volumeColumns+`environment = $1 AND name = $2`, environment, name).Scan)
	if err != nil {
		return nil, missing(err, "volume", name)
	}
	return v, nil
}

// Volumes implements volume.Store.
func (d *DB) Volumes(ctx context.Context, environment string, before time.Time, limit int) ([]volume.Volume, error) {
	return d.volumes(ctx, `environment = $1 AND name IS NOT NULL AND created_at < $2 ORDER BY created_at DESC LIMIT $3`,
		environment, millis(before), limit)
}

// EphemeralVolumes implements volume.Store.
func (d *DB) EphemeralVolumes(ctx context.Context) ([]volume.Volume, error) {
	return d.volumes(ctx, `name IS NULL`)
}

func (d *DB) volumes(ctx context.Context, where string, args ...any) (out []volume.Volume, err error) {
	err = d.each(ctx, func(rows *sql.Rows) error {
		v, err := scanVolume(rows.Scan)
		if err == nil {
			out = append(out, *v)
		}
		return err
	}, volumeColumns+where, args...)
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	return out, nil
}

// RenameVolume implements volume.Store.
func (d *DB) RenameVolume(ctx context.Context, id, name string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		v, err := scanVolume(tx.QueryRowContext(ctx, volumeColumns+`id = $1`, id).Scan)
		if err != nil {
			return missing(err, "volume", id)
		}
		if v.Name == name {
			return nil
		}
		if err := nameIsFree(ctx, tx, v.Environment, name); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE volumes SET name = $1 WHERE id = $2`, name, id)
		return err
	})
}

// DeleteVolume implements volume.Store.
func (d *DB) DeleteVolume(ctx context.Context, id string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM volumes WHERE id = $1`, id)
		if err != nil {
			return fmt.Errorf("volume %q: %w", id, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return missing(sql.ErrNoRows, "volume", id)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM volume_versions WHERE volume_id = $1`, id); err != nil {
			return fmt.Errorf("volume %q: %w", id, err)
		}
		return nil
	})
}
